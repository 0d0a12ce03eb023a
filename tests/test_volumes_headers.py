"""Headers of a tar that tools read differently: what GNU tar restores counts, and what no two restore alike is damage."""

import tarfile
from pathlib import Path

import pytest

from smos.backup.entries import DifferenceKind
from smos.backup.tarheaders import TarFault
from smos.backup.tarread import SYMLINK, Member, TarReader
from smos.backup.volumes import create_volume_archive, restore_archive
from smos.backup.xattrs import ACCESS_ACL, acl_to_text
from smos.target import Limits
from tests._volume_kit import acl, keeps

END = bytes(1024)
ACL = acl((1234, 4))
TEXT = (acl_to_text(ACL) or "").encode()


def _record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body) + len(str(len(body)))
    size += len(str(size)) - len(str(len(body)))
    return str(size).encode() + body


def _block(kind: bytes, data: bytes = b"", name: str = "./file", **fields: int | str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def _pax(*records: tuple[str, bytes], kind: bytes = b"x") -> bytes:
    return _block(kind, b"".join(_record(*item) for item in records))


def _long(name: bytes) -> bytes:
    return _block(b"L", name + b"\0", "././@LongLink")


def _read(data: bytes) -> Member:
    member = TarReader(iter([data + END])).next()
    assert member is not None
    return member


FILE = _block(b"0", mode=0o640)


def test_an_acls_text_counts_before_the_attribute_and_makes_the_mode() -> None:
    other = (acl_to_text(acl((7, 6))) or "").encode()
    attribute = ("SCHILY.xattr." + ACCESS_ACL, ACL)
    assert _read(_pax(attribute, ("SCHILY.acl.access", other)) + FILE).xattrs == {ACCESS_ACL: acl((7, 6))}
    member = _read(_pax(attribute, ("SCHILY.acl.access", b"user::rwx,group::r-x,other::-wx")) + FILE)
    assert (member.mode, member.xattrs, member.texts) == (0o753, {}, {})
    wide = TEXT.replace(b"mask::r--", b"mask::rwx")
    assert _read(_pax(("SCHILY.acl.access", wide)) + FILE).mode == 0o670


@pytest.mark.parametrize(
    "text", [b"", b"user::rw-,user:daemon:rwx,group::r--,mask::rwx,other::---", b"u::rw-", None]
)
def test_an_acl_without_a_text_that_is_understood_is_told(text: bytes | None) -> None:
    records = [("SCHILY.xattr." + ACCESS_ACL, ACL)]
    if text is not None:
        records.append(("SCHILY.acl.access", text))
    member = _read(_pax(*records) + FILE)
    assert (member.xattrs, member.texts) == ({ACCESS_ACL: ACL}, {ACCESS_ACL: text or b""})


def test_a_lost_or_odd_text_of_an_acl_is_a_difference_of_files_and_directories(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"")
    if not all(keeps(root / name, ACCESS_ACL, ACL) for name in ("file", "folder")):
        pytest.skip("this file system keeps no ACLs")
    create_volume_archive(root, "v", tmp_path / "v.tar.zst", tmp_path / "v.jsonl.zst")
    attribute = ("SCHILY.xattr." + ACCESS_ACL, ACL)

    def differing(text: bytes) -> set[DifferenceKind]:
        records = [attribute, ("SCHILY.acl.access", text)]
        status = root.stat()
        everybody = {"uid": status.st_uid, "gid": status.st_gid}
        data = _block(b"5", name=".", mode=status.st_mode & 0o7777, **everybody)
        for kind, name in ((b"0", "file"), (b"5", "folder")):
            mode = (root / name).stat().st_mode & 0o7777
            data += _pax(*records) + _block(kind, name=name, mode=mode, **everybody)
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        place.write_bytes(data + END)
        (facts,) = restore_archive(
            place,
            place.with_suffix(""),
            volumes=("v",),
            limits=Limits(),
            entries={"v": tmp_path / "v.jsonl.zst"},
        )
        found = {item.kind: item.count for item in facts.differences if item.kind is not DifferenceKind.MTIME}
        assert set(found.values()) <= {2}, found
        return set(found)

    assert differing(TEXT) == set()
    assert differing(b"") == {DifferenceKind.XATTR}
    assert differing(TEXT.replace(b"1234", b"daemon")) == {DifferenceKind.XATTR}
    assert differing(TEXT.replace(b"1234", b"1235")) == {DifferenceKind.XATTR}
    assert differing(TEXT.replace(b"mask::r--", b"mask::rw-")) == {DifferenceKind.MODE, DifferenceKind.XATTR}


def test_a_pax_header_counts_before_a_long_name_whatever_stands_first() -> None:
    pax, long = _pax(("path", b"./pax")), _long(b"./long")
    assert _read(pax + long + FILE).name == _read(long + pax + FILE).name == b"./pax"
    assert _read(long + FILE).name == b"./long"


def test_the_label_of_an_archive_is_no_entry() -> None:
    assert _read(_block(b"V", name="nightly") + FILE).name == b"./file"
    with pytest.raises(TarFault):
        _read(_long(b"./long") + _block(b"V", name="nightly") + FILE)


def test_a_time_is_read_as_far_as_it_is_one() -> None:
    assert _read(_pax(("mtime", b"1e5")) + FILE).mtime_ns == 10**9
    assert _read(_pax(("mtime", b"-1.5")) + FILE).mtime_ns == -1_500_000_000
    with pytest.raises(TarFault, match="a time"):
        _read(_pax(("mtime", b"x")) + FILE)


SPARSE = (
    ("GNU.sparse.size", b"1024"),
    ("GNU.sparse.numblocks", b"1"),
    ("GNU.sparse.offset", b"0"),
    ("GNU.sparse.numbytes", b"512"),
)
SPARSE_FILE = _block(b"0", bytes(512))


def test_a_sparse_map_as_gnu_tar_writes_it_is_read() -> None:
    assert _read(_pax(*SPARSE) + SPARSE_FILE).segments == [(0, 512)]


def _blank(start: int, size: int) -> bytes:
    header = bytearray(FILE)
    header[start : start + size] = b" " * size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_pax(("path", b"")) + FILE, id="empty path"),
        pytest.param(_pax(("path", b""), kind=b"g") + FILE, id="empty path for all"),
        pytest.param(_pax(("linkpath", b"")) + _block(b"1", linkname="a"), id="empty target"),
        pytest.param(_pax(("uid", b"1")) + _pax(("uid", b"2")) + FILE, id="two pax headers"),
        pytest.param(_long(b"./a") + _long(b"./b") + FILE, id="two long names"),
        pytest.param(_pax(SPARSE[0], *SPARSE[2:]) + SPARSE_FILE, id="map without its length"),
        pytest.param(_pax(*SPARSE, SPARSE[1]) + SPARSE_FILE, id="map that begins twice"),
        pytest.param(_pax(SPARSE[0], ("GNU.sparse.numblocks", b"0"), *SPARSE[2:]) + SPARSE_FILE, id="short map"),
        pytest.param(_pax(("GNU.sparse.name", b"./x")) + _block(b"5"), id="sparse directory"),
        pytest.param(_pax(*SPARSE, ("GNU.sparse.name", b"")) + SPARSE_FILE, id="sparse file without a name"),
        pytest.param(_blank(124, 12), id="blank size"),
        pytest.param(_blank(100, 8), id="blank mode"),
    ],
)  # fmt: skip
def test_what_no_two_tools_read_alike_is_damage(data: bytes) -> None:
    with pytest.raises(TarFault) as caught:
        _read(data)
    assert caught.value.code == "tar-corrupt"


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (_pax(("linkpath", b"a\0b")) + _block(SYMLINK.encode(), linkname="a"), "name-invalid"),
        (_block(b"1", name="./twin", linkname="./file/"), "hard-link-target-missing"),
    ],
)
def test_a_link_that_no_system_makes_is_refused(tmp_path: Path, member: bytes, code: str) -> None:
    (tmp_path / "v.tar").write_bytes(FILE + member + END)
    (facts,) = restore_archive(tmp_path / "v.tar", tmp_path / "out", volumes=("v",), limits=Limits())
    assert [problem.code for problem in facts.problems] == [code]
