"""Hypothesis without its clocks: that a busy machine took its time says nothing of what is tested."""

from hypothesis import HealthCheck, settings

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
