"""Where backups can lie, besides a local directory."""

from pathlib import Path

from smos.live.declared import HostSource, RcloneSource, S3Source
from smos.live.host import Host
from smos.live.sources.base import Remote
from smos.provision.owner import Owner

__all__ = ["Remote", "open_source"]


def open_source(
    source: HostSource | S3Source | RcloneSource, host: Host | None, owner: Owner, *, stall_s: float
) -> Remote:
    """Return the place that the target names. Raises LiveError; of the host: that it has to be open."""
    if isinstance(source, HostSource):
        from smos.live.errors import live_error
        from smos.live.sources.host import HostDirectory

        if host is None:
            raise live_error(
                "backup-directory-unreadable", "backups.source is on the host, and no host is named"
            )
        return HostDirectory(host, source.path)
    if isinstance(source, S3Source):
        from smos.live.sources.s3 import Bucket

        return Bucket(source, stall_s=stall_s)
    from smos.live.sources.rclone import RcloneRemote

    return RcloneRemote(source, owner)


def local_parts(path: str) -> Path | None:
    """Return an untrusted relative path as one that stays below where it is put; None where it would not."""
    parts = path.split("/")
    if not path or "\0" in path or len(parts) > 64:
        return None
    if any(part in {"", ".", ".."} or len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        return None
    return Path(*parts)
