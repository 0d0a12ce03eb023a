"""Gives restored entries their owner, attributes, mode and times, and notes what could not be given."""

import os
import stat
from collections import Counter

from smos.backup.ledger import Attributes, Ledger
from smos.backup.safepath import Parts
from smos.backup.tarread import Member
from smos.backup.xattrs import ACCESS_ACL, DEFAULT_ACL, HOST_LABELS, set_xattr

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID
_SHOWN_NAMES = frozenset({ACCESS_ACL, DEFAULT_ACL, "security.capability"})
"""Named in the facts; of any other attribute only its class is, as a name can say too much."""


class AttributeSetter:
    """Sets attributes on handles, or on paths whose last component is never followed.

    What this user or this file system can't hold goes to the ledger, so that it can still be compared as the
    archive has it. gaps: (attribute, reason) and how often.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._root = os.geteuid() == 0
        self.owners_missed = 0
        self.modes_missed = 0
        self.times_missed = 0
        self.gaps: Counter[tuple[str, str]] = Counter()

    def apply(
        self,
        place: int | bytes,
        wanted: Member | Attributes,
        parts: Parts,
        *,
        chmod: bool = True,
        directory: bool = False,
    ) -> None:
        """Set everything, in an order in which nothing undoes what was set before.

        A change of owner drops setuid bits and capabilities, so it comes first; the times come last.

        Raises OSError where the entry's mode can't be set at all.
        """
        owner = self._owner(place, wanted.uid, wanted.gid)
        xattrs_missed = self._xattrs(place, wanted.xattrs)
        for name, text in wanted.texts.items():
            self.gaps[name, "its text is not understood" if text else "it has no text"] += 1
        mode_missed = chmod and self._mode(place, wanted.mode, directory=directory)
        try:
            os.utime(place, ns=(wanted.mtime_ns, wanted.mtime_ns), follow_symlinks=isinstance(place, int))
        except (OverflowError, OSError):
            self.times_missed += 1
        if not owner or xattrs_missed or mode_missed or wanted.texts:
            self._ledger.overlay(
                b"/".join(parts),
                owner=None if owner else (wanted.uid, wanted.gid),
                mode=wanted.mode if mode_missed else None,
                xattrs={**wanted.xattrs, **wanted.texts} if xattrs_missed or wanted.texts else None,
            )

    def _owner(self, place: int | bytes, uid: int, gid: int) -> bool:
        """Set the owner; tell whether the disk has it now."""
        follow = isinstance(place, int)
        if self._root:
            try:
                os.chown(place, uid, gid, follow_symlinks=follow)
            except (OSError, OverflowError):  # a container without the right, or a number that none can have
                self.owners_missed += 1
                return False
            return True
        status = os.stat(place, follow_symlinks=follow)  # noqa: PTH116  (a handle, mostly)
        if (status.st_uid, status.st_gid) == (uid, gid):
            return True
        self.owners_missed += 1
        return False

    def _xattrs(self, place: int | bytes, xattrs: dict[str, bytes]) -> bool:
        """Set extended attributes; tell whether any could not be."""
        missed = False
        for name, value in xattrs.items():
            if name in HOST_LABELS:
                continue
            if reason := set_xattr(place, name, value):
                missed = True
                shown = name if name in _SHOWN_NAMES else name.split(".", 1)[0][:20] + ".*"
                self.gaps[shown, reason] += 1
        return missed

    def _mode(self, place: int | bytes, mode: int, *, directory: bool) -> bool:
        """Set the mode; tell whether the disk has another one now."""
        wanted = mode
        if not self._root:
            wanted |= 0o700 if directory else 0o400  # without these, who restored it could not read it back
        os.chmod(place, wanted)  # noqa: PTH101  (a handle, mostly)
        if wanted == mode and not mode & _SPECIAL_BITS:
            return False
        if stat.S_IMODE(os.stat(place).st_mode) == mode:  # noqa: PTH116  (a handle, mostly)
            return False
        self.modes_missed += 1
        return True
