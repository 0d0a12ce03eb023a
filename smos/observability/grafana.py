"""Validates a dashboard's JSON against Grafana's own schema, as its maker publishes it for Python.

grafana-foundation-sdk is generated from the schema in Grafana's source: one class for each object, with a type for
each field. What comes out of these classes must be what went in (a key that they don't know is a key that Grafana
ignores), and every value must be of its field's type. Options of panels are checked by the panel's own classes;
queries of the ClickHouse plugin have no schema there, so nothing is known of their fields.
"""

import enum
import json
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

with warnings.catch_warnings():
    # It prefers the new layout of dashboards; what Grafana reads from files is this one.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as models

plugins.register_default_plugins()


def problems(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what Grafana's schema does not allow in this dashboard, each with its place; empty: valid."""
    try:
        read = models.Dashboard.from_json(json.loads(json.dumps(given)))
        back = json.loads(json.dumps(read, cls=JSONEncoder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return (f"it can't be read as a dashboard: {type(error).__name__}: {error}",)
    return (*_lost(given, back, ""), *_wrong(read, models.Dashboard, ""))


def _lost(given: Any, back: Any, place: str) -> Iterator[str]:
    """Tell what did not come back."""
    if isinstance(given, dict) and isinstance(back, dict):
        for key, value in given.items():
            here = f"{place}.{key}".lstrip(".")
            if key in back:
                yield from _lost(value, back[key], here)
            else:
                yield f"{here}: Grafana knows no such key"
    elif isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        for number, (one, other) in enumerate(zip(given, back, strict=True)):
            yield from _lost(one, other, f"{place}[{number}]")
    elif given != back:
        yield f"{place}: Grafana reads something else"


def _wrong(value: Any, wanted: Any, place: str) -> Iterator[str]:
    """Tell where a value is not of its field's type."""
    if isinstance(wanted, type) and hasattr(value, "from_json") and isinstance(value, wanted):
        for name, kind in typing.get_type_hints(type(value)).items():
            yield from _wrong(getattr(value, name, None), kind, f"{place}.{name}".lstrip("."))
        return
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is list and isinstance(value, list):
        for number, one in enumerate(value):
            yield from _wrong(one, inside[0], f"{place}[{number}]")
    elif origin is dict and isinstance(value, dict):
        for key, one in value.items():
            yield from _wrong(one, inside[1], f"{place}.{key}")
    elif origin in {typing.Union, types.UnionType}:
        found = [list(_wrong(value, one, place)) for one in inside]
        if all(found):  # the alternative that fitted furthest names the place
            yield from max(found, key=lambda these: these[0].count(".") + these[0].count("["))
    elif not _is(value, wanted, origin, inside):
        yield f"{place}: {_said(value)} is not {getattr(wanted, '__name__', wanted)}"


def _is(value: Any, wanted: Any, origin: Any, inside: tuple[Any, ...]) -> bool:
    if wanted in {Any, object} or (wanted in {None, type(None)} and value is None):
        return True
    if origin is typing.Literal:
        return value in inside
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return isinstance(value, wanted) or value in {one.value for one in wanted}
    return isinstance(value, origin or wanted)


def _said(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text[:60]
