"""Inspection reads every artifact to its end and records what is wrong with it."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import TypeAdapter

from smos.backup.catalog import read_catalog
from smos.backup.content import find_restore_tool
from smos.backup.facts import ArtifactFacts, SetFacts
from smos.backup.inspect import complete_names, inspect_artifact, inspect_set
from smos.backup.model import ArtifactKind
from smos.backup.state import directory_state, state_changes
from smos.checks.dr.backup_rules import INTEGRITY
from smos.target import Limits
from smos.verdict import Problem, Verdict
from tests._backup_kit import (
    DATABASES,
    NOW,
    VOLUMES,
    dumps,
    flat_set,
    gz,
    keys,
    make_target,
    own_set,
    tar_of,
    vault_snapshot,
    volume_tar,
    write,
    zst,
)

NAME = "smarteros-20261123_020000"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"
# The same in every run: of what is drawn anew, one in 4,000 begins as an OpenPGP packet does.
NOISE = random.Random(5).randbytes(60_000)  # noqa: S311  (reproducible, not secret)
# Made once: making one takes longer than its work.
ARTIFACT, SET = TypeAdapter(ArtifactFacts), TypeAdapter(SetFacts)


def inspect(
    directory: Path, data: bytes, *, name: str = f"{NAME}.sql", sidecar: bool = False, **options: Any
) -> ArtifactFacts:
    """Write `data` as the only file of a directory and inspect it."""
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write(directory / name, data, sidecar=sidecar)
    return inspect_only(directory, **options)


def inspect_only(directory: Path, **options: Any) -> ArtifactFacts:
    (only,) = read_catalog(directory, timezone="UTC").sets
    (artifact,) = only.artifacts
    values = {"declared_sha256": None, "encrypted_expected": False, "limits": Limits(), **options}
    facts = inspect_artifact(directory, artifact, **values)
    assert ARTIFACT.validate_json(ARTIFACT.dump_json(facts)) == facts
    return facts


def codes(facts: ArtifactFacts) -> list[str]:
    return [problem.code for problem in facts.problems]


def failed(facts: ArtifactFacts) -> bool:
    return any(INTEGRITY[problem.code].verdict is Verdict.FAIL for problem in facts.problems)


FORMATS = {
    "plain": lambda: dumps().plain,
    "created": lambda: dumps().created,
    "all": lambda: dumps().all,
    "globals": lambda: dumps().globals,
    "custom": lambda: dumps().custom,
    "tar": lambda: dumps().tar,
    "volumes": lambda: volume_tar(*VOLUMES),
}
PACKERS = {"none": bytes, "gzip": gz, "zstd": zst, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_pristine_format_is_read_to_its_end_without_a_problem(
    tmp_path: Path, form: str, packer: str
) -> None:
    content = FORMATS[form]()
    data = PACKERS[packer](content)
    name = f"volumes-{NAME[-15:]}.tar" if form == "volumes" else f"{NAME}.sql"
    facts = inspect(tmp_path, data, name=name)
    assert facts.problems == ()
    assert facts.read_by
    assert facts.compression == packer
    assert (facts.stored_bytes, facts.content_bytes) == (len(data), len(content))
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    if form not in {"globals", "volumes"}:
        assert facts.server_version.startswith("18.")
        assert facts.dump_version.startswith("18.")
        assert facts.has_objects
        assert facts.has_rows
    if form == "volumes":
        assert set(facts.volumes) == set(VOLUMES)


def cuts(size: int, step: int) -> list[int]:
    return sorted({*range(0, size, step), *range(max(size - 40, 0), size)})


@pytest.mark.parametrize("packer", ["none", "gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("form", ["plain", "created", "all", "volumes"])
def test_every_truncation_is_a_failure(tmp_path: Path, form: str, packer: str) -> None:
    data = PACKERS[packer](FORMATS[form]())
    end = len(data)
    if form == "volumes" and packer == "none":
        # What follows after the two end-of-archive blocks is padding: losing whole blocks of it loses nothing.
        end = len(data.rstrip(b"\0"))
        end = -(-end // 512) * 512 + 1024
    name = f"volumes-{NAME[-15:]}.tar" if form == "volumes" else f"{NAME}.sql"
    missed = [
        cut for cut in cuts(end, max(end // 150, 1)) if not failed(inspect(tmp_path, data[:cut], name=name))
    ]
    assert missed == []


@pytest.mark.parametrize("packer", ["none", "gzip"])
@pytest.mark.parametrize("form", ["custom", "tar"])
def test_every_truncation_of_an_archive_format_is_a_failure(tmp_path: Path, form: str, packer: str) -> None:
    data = PACKERS[packer](FORMATS[form]())
    places = cuts(len(data), max(len(data) // 50, 1))
    missed = [cut for cut in places if not failed(inspect(tmp_path, data[:cut], name=f"{NAME}.dump"))]
    assert missed == []


def test_the_listing_that_the_full_read_replaces_would_have_missed_a_cut(tmp_path: Path) -> None:
    data = dumps().custom
    tool = find_restore_tool("none")
    cut = tmp_path / "cut.dump"
    cut.write_bytes(data[: len(data) - 200])
    assert subprocess.run([tool, "--list", cut], capture_output=True, check=False).returncode == 0
    assert "dump-unreadable" in codes(inspect(tmp_path, data[: len(data) - 200], name=f"{NAME}.dump"))


def directory_dump(root: Path, pack: Callable[[bytes], bytes]) -> Path:
    folder = root / NAME
    for file, data in dumps().directory.items():
        packed = file.endswith(".dat") and file != "toc.dat" and pack is not bytes
        suffix = {gz: ".gz", zst: ".zst"}.get(pack, "")
        write(folder / (file + suffix if packed else file), pack(data) if packed else data, sidecar=False)
    return folder


@pytest.mark.parametrize("pack", [bytes, gz, zst], ids=["plain", "gzip", "zstd"])
def test_a_pristine_directory_dump_is_read_to_its_end(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    directory_dump(tmp_path, pack)
    facts = inspect_only(tmp_path)
    assert facts.problems == ()
    assert (facts.databases, facts.has_rows, facts.has_objects) == (("smarteros",), True, True)
    assert len(facts.files) == len(dumps().directory)
    assert facts.content_bytes == sum(map(len, dumps().directory.values()))


@pytest.mark.parametrize("pack", [bytes, gz, zst], ids=["plain", "gzip", "zstd"])
def test_a_directory_dump_with_a_file_cut_or_missing_fails(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    folder = directory_dump(tmp_path, pack)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        path.unlink()
        if path.name != "toc.dat":
            assert failed(inspect_only(tmp_path)), path
        # A large object that is stored without compression has no end mark: only a hash tells that it was cut.
        if not (pack is bytes and path.name.startswith("blob_")):
            for cut in (0, 1, len(data) // 2, len(data) - 1):
                path.write_bytes(data[:cut])
                assert failed(inspect_only(tmp_path)), (path, cut)
        path.write_bytes(data)
    assert inspect_only(tmp_path).problems == ()


def test_a_stray_file_in_a_directory_dump_is_named(tmp_path: Path) -> None:
    folder = directory_dump(tmp_path, bytes)
    (folder / "9999.dat").write_bytes(b"x")
    os.mkfifo(folder / "1.dat")
    assert codes(inspect_only(tmp_path)) == ["unknown-file", "unknown-file"]


@pytest.mark.parametrize("form", ["plain", "custom", "volumes"])
def test_every_flipped_bit_is_found_by_the_declared_hash(tmp_path: Path, form: str) -> None:
    data = FORMATS[form]()
    digest = hashlib.sha256(data).hexdigest()
    chosen = random.Random(7).sample(range(len(data) * 8), 60)  # noqa: S311  (reproducible, not secret)
    for bit in chosen:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        facts = inspect(tmp_path, bytes(changed), declared_sha256=digest)
        assert facts.hash_fits is False, bit
        assert "hash-mismatch" in codes(facts)
    assert inspect(tmp_path, data, declared_sha256=digest).hash_fits is True


@pytest.mark.parametrize("packer", ["gzip", "zstd", "bzip2", "xz"])
def test_a_flipped_bit_in_compressed_data_is_found_without_any_hash(tmp_path: Path, packer: str) -> None:
    data = PACKERS[packer](dumps().plain)
    for bit in random.Random(11).sample(range(len(data) * 4, len(data) * 8 - 200), 60):  # noqa: S311  (reproducible, not secret)
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert failed(inspect(tmp_path, bytes(changed))), bit


def test_a_hash_list_beside_the_file_is_compared_and_md5_is_called_weak(tmp_path: Path) -> None:
    assert inspect(tmp_path, dumps().plain, sidecar=True).declared_by == "hash list"
    data = dumps().plain
    for text, fits in ((hashlib.md5(data, usedforsecurity=False).hexdigest(), True), ("0" * 32, False)):
        inspect(tmp_path, data)
        (tmp_path / f"{NAME}.sql.md5").write_text(text)
        facts = inspect_only(tmp_path)
        assert facts.hash_fits is fits
        assert codes(facts) == (["weak-hash"] if fits else ["hash-mismatch"])


@pytest.mark.parametrize("packer", ["gzip", "zstd", "bzip2", "xz"])
def test_several_members_are_one_stream_and_stray_bytes_after_them_are_not(
    tmp_path: Path, packer: str
) -> None:
    data, pack = dumps().plain, PACKERS[packer]
    both = pack(data[:5000]) + pack(data[5000:])
    assert inspect(tmp_path, both).problems == ()
    for stray in (b"x", b"trailing garbage", pack(b"x")[:-1]):
        assert failed(inspect(tmp_path, both + stray)), stray
    assert inspect(tmp_path, both + bytes(512)).problems == ()


def test_statements_after_the_trailer_are_not_a_complete_dump(tmp_path: Path) -> None:
    for form in ("plain", "all", "globals", "created"):
        facts = inspect(tmp_path, FORMATS[form]() + b"DROP TABLE orders;\n\n")
        assert codes(facts) == ["dump-truncated"], form
        assert "statements follow" in facts.problems[0].detail


@pytest.mark.parametrize("header", ["", "\\restrict abc\n\n"], ids=["before August 2025", "since"])
def test_the_trailers_of_older_and_newer_releases_are_known(tmp_path: Path, header: str) -> None:
    closing = "\\unrestrict abc\n\n" if header else ""
    text = (
        f"--\n-- PostgreSQL database dump\n--\n\n{header}-- Dumped from database version 15.4\n"
        f"-- Dumped by pg_dump version 15.4 (Debian 15.4-1)\n\nCREATE TABLE a (i int);\n\n{TRAILER.decode()}{closing}"
    )
    facts = inspect(tmp_path, text.encode())
    assert facts.problems == ()
    assert (facts.server_version, facts.dump_version) == ("15.4", "15.4 (Debian 15.4-1)")
    assert failed(inspect(tmp_path, text.replace(closing or TRAILER.decode(), "").encode()))
    if header:
        assert failed(inspect(tmp_path, text.replace("unrestrict abc", "unrestrict abd").encode()))


def test_a_pg_dumpall_that_ends_with_only_the_last_databases_trailer_is_cut(tmp_path: Path) -> None:
    data = dumps().all
    end = data.rindex(b"-- PostgreSQL database cluster dump complete")
    assert codes(inspect(tmp_path, data[: end - 3])) == ["dump-truncated"]


def test_databases_are_named_wherever_they_stand_in_a_large_dump(tmp_path: Path) -> None:
    filler = b"-- " + b"x" * 97 + b"\n"
    text = dumps().all.replace(b"\\connect smarteros", filler * 20_000 + b"\\connect smarteros")
    found = inspect(tmp_path, text, name=f"postgres-{NAME[-15:]}.sql")
    assert set(found.databases) == {"postgres", *DATABASES}
    catalog = read_catalog(tmp_path, timezone="UTC")
    assert "smarteros" not in catalog.sets[0].databases
    sets = (inspect_set(tmp_path, catalog.sets[0], target=make_target(tmp_path)),)
    completed = complete_names(catalog, sets).sets[0]
    assert set(DATABASES) <= set(completed.databases)
    assert completed.artifacts[0].names_complete


def test_dumps_without_rows_or_tables_say_so(tmp_path: Path) -> None:
    schema = inspect(tmp_path, dumps().schema_only)
    assert (schema.has_objects, schema.has_rows) == (True, False)
    empty = inspect(tmp_path, dumps().empty)
    assert (empty.has_objects, empty.has_rows) == (False, False)
    inserts = dumps().schema_only.replace(
        TRAILER, b"INSERT INTO public.orders VALUES (1, 'x');\n\n" + TRAILER
    )
    assert inspect(tmp_path, inserts).has_rows


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-file"),
        (gzip.compress(b""), "empty-content"),
        (zst(b""), "empty-content"),
        (NOISE, "high-entropy"),
        (gz(NOISE), "high-entropy"),
        (b"hello " * 5000, "unknown-content"),
        (b"-- MySQL dump 10.13\n" * 100, "unknown-content"),
    ],
    ids=[
        "zero",
        "gzip of nothing",
        "zstd of nothing",
        "random",
        "gzip of random",
        "text",
        "another database",
    ],
)
def test_what_is_no_backup_fails_with_its_own_code(tmp_path: Path, data: bytes, code: str) -> None:
    assert codes(inspect(tmp_path, data)) == [code]


def test_a_dump_that_is_encrypted_in_the_middle_is_found_by_its_entropy(tmp_path: Path) -> None:
    text = dumps().plain
    row = text.index(b"\n\\.\n", text.index(b"COPY public.orders"))
    facts = inspect(tmp_path, text[:row] + NOISE[:16_000].replace(b"\n", b"x") + text[row:])
    assert "high-entropy" in codes(facts)
    assert facts.entropy_peak > 7.5


def test_text_in_other_scripts_is_not_taken_for_encrypted(tmp_path: Path) -> None:
    chooser = random.Random(3)  # noqa: S311  (reproducible, not secret)
    rows = "\n".join(
        "".join(chr(chooser.randrange(0x4E00, 0x9FFF)) for _ in range(40)) for _ in range(2000)
    ).encode()
    text = dumps().plain
    row = text.index(b"\n\\.\n", text.index(b"COPY public.orders"))
    assert inspect(tmp_path, text[:row] + b"\n" + rows + text[row:]).problems == ()


def openssl(data: bytes) -> bytes:
    command = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:x"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def gpg(data: bytes, *options: str) -> bytes:
    # Its socket's path must be short; its agent takes its sockets away by itself, when it likes.
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        command = [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "x",
            *options,
        ]
        try:
            return subprocess.run(
                [*command, "--symmetric"], input=data, capture_output=True, check=True
            ).stdout
        finally:
            ended = ["gpgconf", "--homedir", home, "--kill", "all"]
            subprocess.run(ended, capture_output=True, check=False)


def age(data: bytes) -> bytes:
    return b"age-encryption.org/v1\n-> scrypt x 18\n" + os.urandom(len(data))


ENCRYPTORS = {
    "age": age,
    "openssl": openssl,
    "pgp": gpg,
    "pgp armoured": lambda data: gpg(data, "--armor"),
}


@pytest.mark.parametrize("tool", ENCRYPTORS)
def test_encryption_is_told_from_its_header(tmp_path: Path, tool: str) -> None:
    if tool != "age" and not shutil.which({"openssl": "openssl"}.get(tool, "gpg")):
        pytest.skip("the tool is not here")
    data = ENCRYPTORS[tool](dumps().plain)
    facts = inspect(tmp_path, data, name=f"{NAME}.sql.gz.enc")
    assert facts.encryption == tool.split(maxsplit=1)[0]
    assert codes(facts) == ["unexpected-encryption"]
    assert codes(inspect(tmp_path, data, encrypted_expected=True)) == ["encrypted-not-read"]


def test_plain_text_where_encryption_is_required_fails(tmp_path: Path) -> None:
    for form, make in FORMATS.items():
        name = f"volumes-{NAME[-15:]}.tar" if form == "volumes" else f"{NAME}.sql"
        assert codes(inspect(tmp_path, make(), name=name, encrypted_expected=True)) == ["not-encrypted"]


def test_no_dump_is_taken_for_encrypted(tmp_path: Path) -> None:
    for form, pack in ((form, pack) for form in FORMATS for pack in PACKERS.values()):
        assert inspect(tmp_path, pack(FORMATS[form]())).encryption == ""


def test_an_archive_newer_than_every_tool_is_not_proven_and_not_blamed(tmp_path: Path) -> None:
    data = bytearray(dumps().custom)
    data[6] = 99
    facts = inspect(tmp_path, bytes(data), name=f"{NAME}.dump")
    assert set(codes(facts)) == {"version-gap"}
    assert not failed(facts)
    folder = directory_dump(tmp_path, bytes)
    (tmp_path / f"{NAME}.dump").unlink()
    toc = bytearray((folder / "toc.dat").read_bytes())
    toc[6] = 99
    (folder / "toc.dat").write_bytes(toc)
    assert "version-gap" in {problem.code for problem in inspect_set_codes(tmp_path)}


def inspect_set_codes(directory: Path) -> list[Problem]:
    (only,) = read_catalog(directory, timezone="UTC").sets
    facts = inspect_set(directory, only, target=make_target(directory))
    return [*facts.problems, *(problem for artifact in facts.artifacts for problem in artifact.problems)]


def test_without_any_pg_restore_nothing_is_proven(tmp_path: Path) -> None:
    for find_tool in (lambda _: None, lambda _: tmp_path / "no-such-tool"):
        facts = inspect(tmp_path, dumps().custom, name=f"{NAME}.dump", find_tool=find_tool)
        assert codes(facts) == ["version-gap"]
        assert not facts.read_by


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (
            'echo "pg_restore: error: this build does not support compression with zstd" >&2; exit 1',
            "tool-lacks-compression",
        ),
        ('echo "pg_restore: error: unsupported version (1.17) in file header" >&2; exit 1', "version-gap"),
        ("exec sleep 60", "limit-reached"),
        ("kill -SEGV $$", "dump-unreadable"),
    ],
    ids=["compression", "version", "hangs", "crashes"],
)
def test_what_the_tool_says_is_told_apart(tmp_path: Path, script: str, code: str) -> None:
    tool = tmp_path.parent / f"{tmp_path.name}-pg_restore"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    for data in (dumps().custom, gz(dumps().custom)):
        facts = inspect(
            tmp_path,
            data,
            name=f"{NAME}.dump",
            find_tool=lambda _: tool,
            limits=Limits(restore_seconds=0.3 if code == "limit-reached" else 120),
        )
        assert codes(facts) == [code]


def test_a_hostile_archive_is_described_and_nothing_is_written(tmp_path: Path) -> None:
    directory = tmp_path / "b"
    directory.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, link in (
            ("n8n_data/../../escape", tarfile.REGTYPE, ""),
            ("/etc/cron.d/x", tarfile.REGTYPE, ""),
            ("n8n_data/link", tarfile.SYMTYPE, "/etc/passwd"),
            ("n8n_data/up", tarfile.SYMTYPE, "../../x"),
            ("n8n_data/inside", tarfile.SYMTYPE, "../n8n_data/a"),
            ("n8n_data/hard", tarfile.LNKTYPE, "../../etc/shadow"),
            ("n8n_data/line\nbreak\x1b[2J", tarfile.REGTYPE, ""),
            ("n8n_data/" + "long" * 100, tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
    facts = inspect(directory, gz(buffer.getvalue()), name=f"volumes-{NAME[-15:]}.tar.gz")
    assert (facts.unsafe, facts.outward, facts.members) == (2, 3, 8)
    assert facts.problems == ()
    assert not any("\n" in example or "\x1b" in example for example in facts.examples)
    assert [path.name for path in directory.iterdir()] == [f"volumes-{NAME[-15:]}.tar.gz"]


def test_the_tar_reader_agrees_with_gnu_tar_about_every_format(tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "n8n_data"
    tree.mkdir(parents=True)
    (tree / ("ñ" * 60)).write_bytes(b"x" * 1000)
    (tree / "deep" / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (tree / "deep" / ("d" * 90) / ("e" * 90) / "f").write_bytes(b"y")
    (tree / "link").symlink_to("a" * 150)
    os.link(tree / "deep" / ("d" * 90) / ("e" * 90) / "f", tree / "hard")
    with (tree / "sparse").open("wb") as file:
        for hole in range(30):
            file.seek(hole << 16)
            file.write(b"data")
    members = len(list((tmp_path / "tree").rglob("*"))) + 1
    for form in ("gnu", "oldgnu", "pax", "posix"):
        for options in ((), ("--sparse",)):
            (tmp_path / "b").mkdir(exist_ok=True)
            command = ["tar", f"--format={form}", *options, "-cf", "-", "-C", tmp_path / "tree", "."]
            data = subprocess.run(command, capture_output=True, check=True).stdout
            facts = inspect(tmp_path / "b", data, name=f"volumes-{NAME[-15:]}.tar")
            assert (facts.problems, facts.members, facts.volumes) == ((), members, ("n8n_data",)), (
                form,
                options,
            )


def test_a_damaged_header_in_the_middle_of_a_tar_is_found(tmp_path: Path) -> None:
    data = bytearray(tar_of({f"n8n_data/{i}": b"x" * 700 for i in range(20)}))
    data[512 * 31] ^= 0xFF
    assert "tar-damaged" in codes(inspect(tmp_path, bytes(data), name=f"volumes-{NAME[-15:]}.tar"))


def test_a_vault_snapshot_is_compared_with_its_own_hashes(tmp_path: Path) -> None:
    name = f"vault-{NAME[-15:]}.snap"
    assert inspect(tmp_path, vault_snapshot(), name=name).problems == ()
    raw = bytearray(gzip.decompress(vault_snapshot()))
    raw[raw.index(b"state.bin") + 512 + 100] ^= 1
    assert codes(inspect(tmp_path, gz(bytes(raw)), name=name)) == ["vault-snapshot-damaged"]


def test_limits_stop_what_expands_without_bound(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(200 << 20))
    name = f"volumes-{NAME[-15:]}.tar.zst"
    assert (
        codes(inspect(tmp_path, bomb, name=f"{NAME}.sql.zst", limits=Limits(ratio=1000)))[0] == "archive-bomb"
    )
    many = tar_of({f"n8n_data/{i}": b"" for i in range(50)})
    assert codes(inspect(tmp_path, zst(many), name=name, limits=Limits(files=20))) == ["limit-reached"]
    assert codes(inspect(tmp_path, zst(many), name=name, limits=Limits(bytes=5000))) == ["limit-reached"]
    assert inspect(tmp_path, zst(many), name=name, limits=Limits(files=60)).problems == ()


def test_a_window_beyond_the_memory_limit_is_not_proven(tmp_path: Path) -> None:
    params = zstandard.ZstdCompressionParameters(window_log=29)
    compressor = zstandard.ZstdCompressor(compression_params=params).compressobj()
    data = compressor.compress(dumps().plain) + compressor.flush()
    assert codes(inspect(tmp_path, data))[0] == "memory-limit"


def test_memory_stays_constant_for_streams_larger_than_it(tmp_path: Path) -> None:
    """400 MiB of rows in gzip, 2 GiB of zeros in zstd (a bomb): the process stays below 300 MB."""
    row = b"".join(b"%d\t%032x\tsome note that is not unusual\n" % (i, i * 7919) for i in range(20_000))
    text = dumps().plain
    place = text.index(b"\n\\.\n", text.index(b"COPY public.orders")) + 1
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with (tmp_path / f"a-{NAME[-15:]}.sql.gz").open("wb") as file:
        file.write(packer.compress(text[:place]))
        for _ in range((400 << 20) // len(row)):
            file.write(packer.compress(row))
        file.write(packer.compress(text[place:]) + packer.flush())
    bomb = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    with (tmp_path / f"b-{NAME[-15:]}.sql.zst").open("wb") as file:
        for _ in range(2048):
            file.write(bomb.compress(bytes(1 << 20)))
        file.write(bomb.flush())
    program = textwrap.dedent("""
        import re, sys
        from pathlib import Path
        from smos.backup.catalog import read_catalog
        from smos.backup.inspect import inspect_set
        from smos.target import Target
        directory = Path(sys.argv[1])
        (only,) = read_catalog(directory, timezone="UTC").sets
        facts = inspect_set(directory, only, target=Target(schema=1, name="x"))
        for artifact in facts.artifacts:
            print([problem.code for problem in artifact.problems], artifact.content_bytes)
        # Not ru_maxrss: a new process starts with its parent's there.
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    first, second, peak_kib = done.stdout.splitlines()
    assert first.startswith("[] ")
    assert int(first.rpartition(" ")[2]) > 395 << 20
    assert second.startswith("['archive-bomb'")
    assert int(peak_kib) < 300 * 1000


def test_a_set_is_compared_with_its_manifest_file_by_file(tmp_path: Path) -> None:
    root = own_set(tmp_path, NOW)
    target = make_target(tmp_path)

    def look() -> SetFacts:
        (only,) = read_catalog(tmp_path, timezone="UTC").sets
        facts = inspect_set(tmp_path, only, target=target)
        assert SET.validate_json(SET.dump_json(facts)) == facts
        return facts

    whole = look()
    assert (whole.problems, whole.missing, whole.extra, whole.signature) == ((), (), (), "not-required")
    assert all(
        a.declared_by == "manifest" and a.hash_fits
        for a in whole.artifacts
        if a.kind is not ArtifactKind.MANIFEST
    )
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.name == "manifest.json":
            continue
        data = path.read_bytes()
        changed = bytearray(data)
        changed[len(changed) // 2] ^= 1
        path.write_bytes(changed)
        found = {problem.code for artifact in look().artifacts for problem in artifact.problems}
        assert "hash-mismatch" in found, path
        path.write_bytes(data + b"\0")
        found = {problem.code for artifact in look().artifacts for problem in artifact.problems}
        assert "size-mismatch" in found, path
        path.unlink()
        assert look().missing == (path.relative_to(tmp_path).as_posix(),)
        path.write_bytes(data)
    (root / "databases" / "n 8n" / "more.dat").write_bytes(b"x")
    (root / "note.txt").write_bytes(b"x")
    assert look().extra == (f"{root.name}/databases/n 8n/more.dat", f"{root.name}/note.txt")


def test_a_manifest_that_names_files_outside_opens_none(tmp_path: Path) -> None:
    root = own_set(tmp_path, NOW)
    text = (root / "manifest.json").read_text().replace("globals.sql.zst", "../../../../etc/passwd")
    (root / "manifest.json").write_text(text)
    (only,) = read_catalog(tmp_path, timezone="UTC").sets
    facts = inspect_set(tmp_path, only, target=make_target(tmp_path))
    assert facts.missing == (f"{root.name}/../../../../etc/passwd",)
    assert facts.extra == (f"{root.name}/globals.sql.zst",)


def test_signatures_are_told_apart(tmp_path: Path) -> None:
    private, public = keys(tmp_path / "keys")
    other, _ = keys(tmp_path / "other")
    for name, key, pinned, expected in (
        ("a", private, public, "valid"),
        ("b", other, public, "invalid"),
        ("c", None, public, "missing"),
        ("d", private, None, "not-required"),
        ("e", private, tmp_path / "nowhere.pub", "unverifiable"),
    ):
        directory = tmp_path / name
        own_set(directory, NOW, key)
        (only,) = read_catalog(directory, timezone="UTC").sets
        target = make_target(directory, manifest_public_key=pinned)
        assert inspect_set(directory, only, target=target).signature == expected


def test_a_public_key_that_lies_with_the_backups_is_no_proof(tmp_path: Path) -> None:
    private, public = keys(tmp_path / "keys")
    own_set(tmp_path / "b", NOW, private)
    inside = Path(shutil.copy(public, tmp_path / "b" / "backup.pub.txt"))
    (only,) = read_catalog(tmp_path / "b", timezone="UTC").sets
    facts = inspect_set(tmp_path / "b", only, target=make_target(tmp_path / "b", manifest_public_key=inside))
    assert [problem.code for problem in facts.problems] == ["key-beside-backups"]


def test_what_vanishes_between_listing_and_reading_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    flat_set(tmp_path, NOW)
    (only,) = read_catalog(tmp_path, timezone="UTC").sets
    (tmp_path / only.artifacts[0].path).unlink()
    facts = inspect_set(tmp_path, only, target=make_target(tmp_path))
    assert codes(facts.artifacts[0]) == ["unreadable"]
    assert codes(facts.artifacts[1]) == []


def test_an_artifact_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    flat_set(tmp_path, NOW)
    (only,) = read_catalog(tmp_path, timezone="UTC").sets
    path = tmp_path / only.artifacts[0].path
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert codes(inspect_set(tmp_path, only, target=make_target(tmp_path)).artifacts[0]) == ["unreadable"]


def test_inspection_changes_nothing_and_any_change_is_seen(tmp_path: Path) -> None:
    directory = tmp_path / "b"
    own_set(directory, NOW)
    flat_set(directory, NOW)
    before = directory_state(directory)
    for item in read_catalog(directory, timezone="UTC").sets:
        inspect_set(directory, item, target=make_target(directory))
    assert state_changes(before, directory_state(directory)) == ()
    file = directory / "smos-20261123_113000" / "globals.sql.zst"
    status = file.stat()
    data = file.read_bytes()
    file.write_bytes(data[::-1])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    (directory / "new").write_text("x")
    (directory / "postgres-20261123_083000.sql.gz").unlink()
    changes = state_changes(before, directory_state(directory))
    assert changes[:2] == ("vanished: postgres-20261123_083000.sql.gz", "appeared: new")
    assert "changed: smos-20261123_113000/globals.sql.zst" in changes
