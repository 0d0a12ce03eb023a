"""Extended headers of a tar: pax records, GNU's long names, and the attributes and ACLs that they hold."""

from collections.abc import Iterator

from smos.backup.xattrs import ACCESS_ACL, ACL_KEYWORDS, XATTR_PREFIX, acl_from_text, attribute_name

_ACLS = {keyword.encode(): name for name, keyword in ACL_KEYWORDS.items()}
_PLAIN_ACL_BYTES = 4 + 3 * 8
"""An ACL of three entries says no more than the mode."""


class TarFault(Exception):  # noqa: N818  (a fault of the data, not an error of ours)
    """The tar is damaged or not understood. `offset`: byte of the decompressed tar where that shows.

    code: tar-truncated, tar-corrupt, tar-no-end, tar-unsupported, header-too-large or trailing-bytes.
    """

    def __init__(self, code: str, offset: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.offset = offset
        self.detail = f"{detail} (at byte {offset} of the tar)"


class Extended:
    """The extended headers before one member. met: of which types there were some, that concern it alone."""

    def __init__(self, everywhere: dict[bytes, bytes]) -> None:
        self._everywhere = everywhere
        self._own: dict[bytes, bytes] = {}
        self._long: dict[bytes, bytes] = {}
        self.pairs: list[bytes] = []
        self.met: set[bytes] = set()

    def take(self, kind: bytes, data: bytes, at: int) -> None:
        """Read one. Raises TarFault for damage, and for a second one of its type: tools differ in which counts."""
        if kind == b"V" and not self.met:
            return  # the label of the whole archive (`tar --label`) is no entry
        if kind in self.met or kind == b"V":
            raise TarFault("tar-corrupt", at, "an extended header is followed by no member")
        if kind == b"g":
            self._everywhere.update(_pax_records(data, at))
            return
        self.met.add(kind)
        if kind in b"LK":
            self._long[b"path" if kind == b"L" else b"linkpath"] = _long_name(data, at)
            return
        for key, value in _pax_records(data, at):
            if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
                self.pairs.append(value)
            elif key == b"GNU.sparse.numblocks" and (self.pairs or b"GNU.sparse.map" in self._own):
                raise TarFault("tar-corrupt", at, "a sparse map that begins twice")
            self._own[key] = value

    def all(self) -> dict[bytes, bytes]:
        """Return what counts: the member's own pax header first, GNU's long names last, as GNU tar has it."""
        if self._long or self._everywhere:
            return {**self._long, **self._everywhere, **self._own}
        return self._own


def attributes(
    pax: dict[bytes, bytes],
) -> tuple[dict[str, bytes], dict[str, bytes], bytes | None]:
    """Return the attributes, the texts of ACLs that are not understood or missing, and the access ACL.

    GNU tar restores an ACL from its text and disregards the attribute, which counts here only where the text is
    none that can be understood without the source's users.
    """
    xattrs: dict[str, bytes] = {}
    texts: dict[str, bytes] = {}
    access = None
    for key, value in pax.items():
        if key.startswith(XATTR_PREFIX):
            xattrs[attribute_name(key)] = value
    for key, attribute in _ACLS.items():
        text = pax.get(key, b"")
        translated = acl_from_text(text) if text else None
        if translated is not None:
            xattrs.pop(attribute, None)
            if attribute == ACCESS_ACL:
                access = translated
            if len(translated) > _PLAIN_ACL_BYTES or attribute != ACCESS_ACL:
                xattrs[attribute] = translated
        elif text or attribute in xattrs:
            texts[attribute] = text
    return xattrs, texts, access


def _long_name(data: bytes, at: int) -> bytes:
    """Return the name in GNU's own extended header. Tools differ in what an empty one means: it is damage."""
    name = cut(data)
    if not name:
        raise TarFault("tar-corrupt", at, "a long name that is empty")
    return name


def cut(field: bytes) -> bytes:
    """Return a field of a header up to its first NUL."""
    return field.split(b"\0", 1)[0]


def _pax_records(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        if space < 0 or not data[position:space].isdigit():
            raise TarFault("tar-corrupt", at, "an extended header is damaged")
        end = position + int(data[position:space])
        equals = data.find(b"=", space, end)
        if end > len(data) or equals < 0 or data[end - 1] != 0x0A:
            raise TarFault("tar-corrupt", at, "an extended header is damaged")
        yield data[space + 1 : equals], data[equals + 1 : end - 1]
        position = end
