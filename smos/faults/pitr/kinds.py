"""Which of the built-in source's physical backups a copy holds."""

from enum import StrEnum


class Kind(StrEnum):
    """A plain directory, tars, an incremental chain upon the directory, or tars and the directory."""

    DIRECTORY = "directory"
    TAR = "tar"
    CHAIN = "incremental"
    BOTH = "tar-and-directory"
