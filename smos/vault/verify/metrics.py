"""Vault's metrics in Prometheus' text format, read with the format's own parser."""

from collections.abc import Mapping

import hvac
from prometheus_client.parser import text_string_to_metric_families

from smos.vault.model import REQUEST_LIMIT_S

PATH = "/v1/sys/metrics?format=prometheus"


def read_metrics(client: hvac.Client) -> str:
    """Return the exposition as text. hvac's errors pass through."""
    adapter = hvac.adapters.RawAdapter.from_adapter(client.adapter)
    return str(adapter.get(PATH, timeout=REQUEST_LIMIT_S).text)


def samples(text: str) -> Mapping[str, float]:
    """Return sample names (labels left out) with the sum of their values, quantiles apart.

    Raises ValueError where the text is not of the format.
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "quantile" not in sample.labels:
                name = sample.name.removesuffix("_total")  # which the parser adds to counters
                found[name] = found.get(name, 0.0) + sample.value
    return found
