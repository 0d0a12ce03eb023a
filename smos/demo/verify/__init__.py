"""Drivers of the demo's checks: they act and record facts; the judges (smos/checks/demo) say what the facts mean."""
