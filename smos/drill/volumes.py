"""Stub."""
from dataclasses import dataclass
@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFacts:
    name: str
    bytes: int = 0
    restored: bool = True
def restore_volumes(sources, base, limits, report): return tuple(VolumeFacts(name=s.name) for s in sources)
def check_file_references(target, endpoint, volumes): return volumes
