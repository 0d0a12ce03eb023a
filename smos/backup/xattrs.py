"""Extended attributes and POSIX ACLs: read, set, and translated to and from the headers of a tar.

GNU tar keeps an attribute as `SCHILY.xattr.<name>` (`%` and `=` of the name escaped), and an ACL as text in
`SCHILY.acl.access` and `SCHILY.acl.default`. Linux keeps ACLs as the attributes `system.posix_acl_*`.
Where the platform has no such calls (macOS in Python), there are none.
"""

import base64
import errno
import hashlib
import os
import struct

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"
XATTR_PREFIX = b"SCHILY.xattr."
ACL_KEYWORDS = {ACCESS_ACL: "SCHILY.acl.access", DEFAULT_ACL: "SCHILY.acl.default"}
"""GNU tar restores ACLs from these with `--acls`, and then disregards the attributes: both are written."""
HOST_LABELS = frozenset({"security.selinux", "security.ima", "security.evm"})
"""Made by the host's policy for each file, not part of the data: neither archived nor compared."""
SHORT_VALUE_BYTES = 256

SUPPORTED = hasattr(os, "setxattr")
_NONE_HERE = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_ACL_VERSION = 2
_NOBODY = 0xFFFFFFFF
_TAGS = {
    ("user", False): 0x01, ("user", True): 0x02, ("group", False): 0x04, ("group", True): 0x08,
    ("mask", False): 0x10, ("other", False): 0x20,
}  # fmt: skip
_KINDS = {number: key for key, number in _TAGS.items()}


def handle_path(handle: int, name: bytes) -> bytes:
    """Return a path of `name` in the directory `handle`, for calls that take no directory handle."""
    return b"/proc/self/fd/%d/%s" % (handle, name)


def read_xattrs(place: int | bytes) -> dict[str, bytes]:
    """Return the attributes of a handle or of a path (whose last component is not followed), sorted by name.

    Empty where the file system keeps none. Raises OSError for anything else.
    """
    if not SUPPORTED:
        return {}
    follow = isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NONE_HERE:
            return {}
        raise
    if not names:
        return {}
    values = {}
    for name in sorted(names):
        if name in HOST_LABELS:
            continue
        try:
            values[name] = os.getxattr(place, name, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.ENODATA:  # ENODATA: it was removed after it was listed
                raise
    return values


def set_xattr(place: int | bytes, name: str, value: bytes) -> str:
    """Set one attribute of a handle or of a path (last component not followed); return why not, or ""."""
    if not SUPPORTED:
        return "this platform has none"
    try:
        os.setxattr(place, name, value, follow_symlinks=isinstance(place, int))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "error")
    except ValueError:
        return "invalid name"
    return ""


def show_value(value: bytes) -> str:
    """Return a value as it stands in the list of entries: base64, or the digest of a long one."""
    if len(value) > SHORT_VALUE_BYTES:
        return "sha256:" + hashlib.sha256(value).hexdigest()
    return "base64:" + base64.b64encode(value).decode("ascii")


def header_name(name: str) -> str:
    """Return the pax keyword of an attribute."""
    return XATTR_PREFIX.decode() + name.replace("%", "%25").replace("=", "%3D")


def attribute_name(keyword: bytes) -> str:
    """Return the attribute's name of a pax keyword that begins with XATTR_PREFIX."""
    name = keyword[len(XATTR_PREFIX) :].replace(b"%3D", b"=").replace(b"%25", b"%")
    return os.fsdecode(name)


def acl_to_text(value: bytes) -> str | None:
    """Translate an ACL attribute to text with numeric users and groups; None where it is none we know."""
    if len(value) < 4 or (len(value) - 4) % 8 or struct.unpack_from("<I", value)[0] != _ACL_VERSION:
        return None
    lines = []
    for tag, bits, number in struct.iter_unpack("<HHI", value[4:]):
        kind, named = _KINDS.get(tag, ("", False))
        if not kind:
            return None
        rights = "".join(char if bits & bit else "-" for bit, char in ((4, "r"), (2, "w"), (1, "x")))
        lines.append(f"{kind}:{number if named else ''}:{rights}")
    return ",".join(lines)


def acl_mode(value: bytes) -> int:
    """Return the nine permission bits that an access ACL, an attribute's value, makes of a mode."""
    bits: dict[int, int] = {tag: bits for tag, bits, _ in struct.iter_unpack("<HHI", value[4:])}
    owner, group, other = (bits.get(_TAGS[kind, False], 0) for kind in ("user", "group", "other"))
    return owner << 6 | bits.get(_TAGS["mask", False], group) << 3 | other


def acl_from_text(text: bytes) -> bytes | None:
    """Translate an ACL in text (`user::rw-,user:1000:r--,…`) to Linux' attribute value.

    None where it names users or groups without their numbers, or is no ACL: names mean nothing on another
    host.
    """
    entries = []
    for raw in text.decode("utf-8", "replace").replace("\n", ",").split(","):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        fields = line.split(":")
        if len(fields) < 3:
            return None
        kind, who, rights = fields[0], fields[1], fields[2]
        if len(fields) > 3 and fields[3].isdigit():  # star appends the number
            who = fields[3]
        tag = _TAGS.get((kind, bool(who)))
        if tag is None or (who and not who.isdigit()) or len(rights) != 3:
            return None
        bits = sum(bit for bit, char in zip((4, 2, 1), rights, strict=True) if char != "-")
        number = int(who) if who else _NOBODY
        if number > _NOBODY:
            return None
        entries.append((tag, bits, number))
    if not entries:
        return None
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
