"""The catalog finds every backup set, and what it can't understand it names."""

import bz2
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter

from smos.backup.catalog import read_catalog
from smos.backup.model import ArtifactKind, Catalog
from smos.backup.names import find_stamp, parse_hash_list, stem
from tests._backup_kit import (
    DATABASES,
    NOW,
    VOLUMES,
    dumps,
    flat_set,
    gz,
    own_set,
    tar_of,
    vault_snapshot,
    volume_tar,
    write,
    zst,
)

ZONE = "America/Santiago"


def catalog(directory: Path, **options: Any) -> Catalog:
    found = read_catalog(directory, timezone=ZONE, **options)
    adapter = TypeAdapter(Catalog)
    assert adapter.validate_json(adapter.dump_json(found)) == found
    return found


def codes(found: Catalog) -> list[str]:
    return sorted(problem.code for problem in found.problems)


@contextmanager
def without_root() -> Iterator[None]:
    """Permissions don't hold root back: look as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_missing_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    assert not catalog(tmp_path / "nowhere").exists
    assert catalog(tmp_path).exists
    (tmp_path / "file").write_text("x")
    assert not catalog(tmp_path / "file").exists


def test_the_old_scripts_files_of_one_night_are_one_set(tmp_path: Path) -> None:
    text = flat_set(tmp_path, NOW)
    (only,) = catalog(tmp_path).sets
    assert only.id == text
    assert only.stamp == NOW
    assert only.stamp_source == "name"
    assert set(DATABASES) <= set(only.databases)
    assert set(only.volumes) == set(VOLUMES)
    assert [item.kind for item in only.artifacts] == [ArtifactKind.PG_DUMPALL, ArtifactKind.VOLUME_ARCHIVE]
    assert all(item.declared_hash.startswith("sha256:") for item in only.artifacts)
    assert not only.problems


def test_a_set_of_our_own_is_read_with_its_manifest(tmp_path: Path) -> None:
    root = own_set(tmp_path, NOW)
    (only,) = catalog(tmp_path).sets
    assert only.id == root.name
    assert (only.stamp, only.stamp_source, only.manifested, only.signed) == (NOW, "manifest", True, False)
    assert set(only.databases) == set(DATABASES)
    assert set(only.volumes) == set(VOLUMES)
    assert only.vault
    assert not only.problems
    assert sorted(item.kind for item in only.artifacts).count(ArtifactKind.VOLUME_ENTRIES) == len(VOLUMES)
    assert sum(item.stored_bytes for item in only.artifacts) == sum(
        path.stat().st_size for path in root.rglob("*") if path.is_file()
    )


def test_sets_are_ordered_oldest_first_and_mixed_kinds_live_together(tmp_path: Path) -> None:
    for day in (2, 0, 1):
        (flat_set if day % 2 else own_set)(tmp_path, NOW - timedelta(days=day))
    assert [item.stamp for item in catalog(tmp_path).sets] == [NOW - timedelta(days=day) for day in (2, 1, 0)]


@pytest.mark.parametrize(("minutes", "sets"), [(0, 1), (29, 1), (31, 2)])
def test_files_within_thirty_minutes_are_one_set(tmp_path: Path, minutes: int, sets: int) -> None:
    write(tmp_path / "postgres-20261123_020000.sql.gz", gz(dumps().all))
    at = datetime(2026, 11, 23, 2, 0) + timedelta(minutes=minutes)  # noqa: DTZ001
    write(tmp_path / f"volumes-{at:%Y%m%d_%H%M%S}.tar.gz", gz(volume_tar("n8n_data")))
    assert len(catalog(tmp_path).sets) == sets


def test_two_dumps_of_one_series_are_two_runs_however_close(tmp_path: Path) -> None:
    write(tmp_path / "postgres-20261123_020000.sql.gz", gz(dumps().all))
    write(tmp_path / "postgres-20261123_021000.sql.gz", gz(dumps().all))
    assert len(catalog(tmp_path).sets) == 2


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize(
    ("name", "kind", "databases"),
    [
        ("plain", ArtifactKind.PG_DUMP_PLAIN, ("mydb",)),
        ("created", ArtifactKind.PG_DUMP_PLAIN, ("n 8n",)),
        ("all", ArtifactKind.PG_DUMPALL, ("n 8n", "postgres", "smarteros")),
        ("globals", ArtifactKind.GLOBALS, ()),
        ("custom", ArtifactKind.PG_DUMP_CUSTOM, ("smarteros",)),
        ("tar", ArtifactKind.PG_DUMP_TAR, ("smarteros",)),
    ],
)
def test_formats_are_told_by_their_bytes_whatever_the_name(
    tmp_path: Path, name: str, kind: str, databases: tuple[str, ...], compression: str
) -> None:
    pack = {"none": bytes, "gzip": gz, "zstd": zst, "bzip2": bz2.compress, "xz": lzma.compress}[compression]
    write(tmp_path / "mydb-20261123_020000.dump", pack(getattr(dumps(), name)), sidecar=False)
    (artifact,) = catalog(tmp_path).sets[0].artifacts
    assert (artifact.kind, artifact.compression, artifact.databases) == (kind, compression, databases)
    assert artifact.names_complete


@pytest.mark.parametrize(
    "packer", [gz, zst, bz2.compress, lzma.compress], ids=["gzip", "zstd", "bzip2", "xz"]
)
def test_large_blocks_do_not_hide_what_a_file_is(tmp_path: Path, packer: Callable[[bytes], bytes]) -> None:
    members = {"n8n_data/big": os.urandom(1_200_000), "odoo-web-data/small": b"x"}
    write(tmp_path / "volumes-20261123_020000.tar.x", packer(tar_of(members)), sidecar=False)
    (artifact,) = catalog(tmp_path).sets[0].artifacts
    assert artifact.kind is ArtifactKind.VOLUME_ARCHIVE
    assert artifact.volumes[:1] == ("n8n_data",)


def test_lz4_is_recognised_even_where_it_cannot_be_decoded(tmp_path: Path) -> None:
    if not shutil.which("lz4"):
        data = b"\x04\x22\x4d\x18" + bytes(100)
    else:
        data = subprocess.run(["lz4", "-c"], input=dumps().plain, capture_output=True, check=True).stdout
    write(tmp_path / "mydb-20261123_020000.sql.lz4", data)
    (artifact,) = catalog(tmp_path).sets[0].artifacts
    assert artifact.compression == "lz4"


def test_a_directory_dump_is_one_artifact(tmp_path: Path) -> None:
    for name, data in dumps().directory.items():
        write(tmp_path / "mydb-20261123_020000" / name, data, sidecar=False)
    (only,) = catalog(tmp_path).sets
    assert only.artifacts[0].kind is ArtifactKind.PG_DUMP_DIRECTORY
    assert only.databases == ("smarteros",)
    assert only.stored_bytes == sum(map(len, dumps().directory.values()))


def test_a_vault_snapshot_is_recognised(tmp_path: Path) -> None:
    write(tmp_path / "vault-20261123_020000.snap", vault_snapshot())
    assert catalog(tmp_path).sets[0].vault


@pytest.mark.parametrize(
    ("name", "members", "declared", "volumes"),
    [
        ("volumes", {"n8n_data/a": b"1", "./b/c": b"2"}, (), ("n8n_data", "b")),
        ("volumes", {"var/lib/docker/volumes/n8n_data/_data/a": b"1"}, (), ("n8n_data",)),
        ("n8n_data", {"n8n_data/a": b"1"}, (), ("n8n_data",)),
        ("n8n_data", {"a": b"1", "x/b": b"2"}, ("n8n_data",), ("n8n_data",)),
        ("all", {"n8n_data/a": b"1"}, ("n8n_data", "other"), ("n8n_data",)),
        ("config", {"etc/passwd": b"1"}, ("n8n_data",), ()),
    ],
)
def test_volumes_are_named_from_the_archive(
    tmp_path: Path, name: str, members: dict[str, bytes], declared: tuple[str, ...], volumes: tuple[str, ...]
) -> None:
    write(tmp_path / f"{name}-20261123_020000.tar.gz", gz(tar_of(members)))
    only = catalog(tmp_path, volumes=declared).sets[0]
    assert only.volumes == tuple(sorted(volumes))
    expected = ArtifactKind.VOLUME_ARCHIVE if volumes else ArtifactKind.OTHER_ARCHIVE
    assert only.artifacts[0].kind is expected


def test_an_archive_of_the_root_is_the_volume_that_it_is_called_after(tmp_path: Path) -> None:
    write(tmp_path / "n8n_data-20261123_020000.tar.gz", gz(tar_of({"./a": b"1"}, dot=True)))
    assert catalog(tmp_path).sets[0].volumes == ("n8n_data",)


def test_names_are_not_complete_while_the_archive_was_not_read_to_its_end(tmp_path: Path) -> None:
    data = tar_of({"n8n_data/big": os.urandom(2 << 20), "odoo-web-data/small": b"x"})
    write(tmp_path / "volumes-20261123_020000.tar", data)
    (artifact,) = catalog(tmp_path).sets[0].artifacts
    assert (artifact.volumes, artifact.names_complete) == (("n8n_data",), False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db_2026-11-01.dump", "2026-11-01 03:00"),
        ("mydb-20261101.sql.zst", "2026-11-01 03:00"),
        ("x-20261101_020000.sql", "2026-11-01 05:00"),
        ("x-2026-11-01T02:00:00.sql", "2026-11-01 05:00"),
        ("x-2026-11-01T02-00.sql", "2026-11-01 05:00"),
        ("x-2026-11-01T02:00:00Z.sql", "2026-11-01 02:00"),
        ("x-20261101T020000+0200.sql", "2026-11-01 00:00"),
        ("20261101020000-x.sql", "2026-11-01 05:00"),
        ("x-20260701_020000.sql", "2026-07-01 06:00"),
        ("port5432-20261101_995959.sql", "2026-11-01 03:00"),
        ("x-20261301_020000.sql", None),
        ("x-12345678.sql", None),
        ("latest.sql.gz", None),
    ],
)
def test_stamps_are_read_from_names_in_the_hosts_own_zone(name: str, expected: Any) -> None:
    found = find_stamp(name, ZoneInfo(ZONE))
    assert (found and found.at.strftime("%Y-%m-%d %H:%M")) == expected


def test_stamps_are_right_on_both_sides_of_chiles_clock_changes() -> None:
    # Summer time began on 2026-09-06 at 00:00 (04:00 UTC) and had ended on 2026-04-05 at 00:00 (03:00 UTC).
    def utc(text: str) -> datetime:
        return find_stamp(f"x-{text}.sql", ZoneInfo(ZONE)).at

    assert utc("20260906_020000") - utc("20260905_020000") == timedelta(hours=23)
    assert utc("20260405_020000") - utc("20260404_020000") == timedelta(hours=25)


def test_the_stem_is_what_remains_without_stamp_and_suffixes() -> None:
    found = find_stamp("my.db-20261101.sql.zst", ZoneInfo(ZONE))
    assert stem("my.db-20261101.sql.zst", found) == "my.db"


def test_a_date_alone_joins_the_only_run_of_that_day(tmp_path: Path) -> None:
    write(tmp_path / "postgres-20261123_020000.sql.gz", gz(dumps().all))
    write(tmp_path / "volumes-2026-11-23.tar.gz", gz(volume_tar(*VOLUMES)))
    (only,) = catalog(tmp_path).sets
    assert only.id == "20261123_020000"
    assert set(only.volumes) == set(VOLUMES)


def test_a_name_without_a_stamp_is_a_problem_and_its_time_comes_from_nowhere_else(tmp_path: Path) -> None:
    write(tmp_path / "postgres.sql.gz", gz(dumps().all))
    (only,) = catalog(tmp_path).sets
    assert only.stamp is None
    assert [problem.code for problem in only.problems] == ["no-stamp"]


def test_a_custom_dump_without_a_stamp_gives_the_time_of_its_own_header(tmp_path: Path) -> None:
    write(tmp_path / "mydb.dump", dumps().custom)
    (only,) = catalog(tmp_path).sets
    assert only.stamp_source == "dump header"
    assert only.stamp is not None


def test_an_old_custom_dump_under_a_new_name_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "mydb-20990101_020000.dump", dumps().custom)
    assert [problem.code for problem in catalog(tmp_path).sets[0].problems] == ["stamp-mismatch"]


def test_a_set_of_ours_under_another_name_is_noticed(tmp_path: Path) -> None:
    own_set(tmp_path, NOW).rename(tmp_path / "smos-20261124_113000")
    (only,) = catalog(tmp_path).sets
    assert only.stamp == NOW
    assert "stamp-mismatch" in [problem.code for problem in only.problems]


def test_a_set_without_or_with_a_broken_manifest_says_so(tmp_path: Path) -> None:
    for day, text in ((0, None), (1, b"{}"), (2, b"\xff\x00")):
        root = own_set(tmp_path, NOW - timedelta(days=day))
        (root / "manifest.json").unlink()
        if text is not None:
            (root / "manifest.json").write_bytes(text)
    found = catalog(tmp_path)
    assert not any(item.manifested for item in found.sets)
    assert [item.problems[0].code for item in found.sets] == [
        "manifest-unreadable",
        "manifest-unreadable",
        "manifest-missing",
    ]


def test_an_unfinished_backup_is_reported_and_never_a_set(tmp_path: Path) -> None:
    own_set(tmp_path, NOW).rename(tmp_path / ".partial-smos-20261123_113000-17")
    write(tmp_path / "postgres-20261123_020000.sql.gz.part", gz(dumps().all), sidecar=False)
    found = catalog(tmp_path)
    assert not found.sets
    assert codes(found) == ["unfinished-backup", "unfinished-backup"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = tmp_path / "b"
    directory.mkdir(mode=0o755)
    write(directory / "postgres-20261123_020000.sql.gz", gz(dumps().all)).chmod(0)
    own_set(directory, NOW)
    (directory / "smos-20261123_113000" / "volumes").chmod(0)
    parents = [parent for parent in tmp_path.parents if parent.stat().st_uid == os.geteuid()]
    modes = [(parent, parent.stat().st_mode) for parent in parents]
    for parent, mode in modes:
        parent.chmod(mode | 0o555)
    try:
        with without_root():
            found = catalog(directory)
    finally:
        for parent, mode in modes:
            parent.chmod(mode)
        (directory / "smos-20261123_113000" / "volumes").chmod(0o755)
    details = [
        problem.detail for item in found.sets for problem in item.problems if problem.code == "unreadable"
    ]
    assert len(details) == 2
    assert "postgres-20261123_020000.sql.gz: Permission denied" in details


def test_an_unreadable_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = tmp_path / "b"
    directory.mkdir(mode=0)
    with without_root():
        problem = read_catalog(directory, timezone=ZONE)
    assert problem.exists
    assert codes(problem) == ["unreadable"]


def test_other_things_in_the_directory_are_named_and_no_set(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    (tmp_path / "script.sh").write_text("#!/bin/sh\n")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.sql")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "out.sql").symlink_to("/etc/passwd")
    (tmp_path / "latest").symlink_to("README.md")
    with (tmp_path / os.fsdecode(b"caf\xe9\n.sql")).open("w") as file:
        file.write("x")
    found = catalog(tmp_path)
    assert not found.sets
    assert codes(found) == [
        "ignored-file",
        "ignored-file",
        "ignored-file",
        "symlink-broken",
        "symlink-outside",
        "unknown-directory",
        "unknown-file",
        "unknown-file",
        "unknown-file",
        "unknown-file",
    ]
    assert not any("root:" in problem.detail for problem in found.problems)


@pytest.mark.parametrize(
    "data", [b"", gz(b""), zst(b"")], ids=["zero bytes", "gzip of nothing", "zstd of nothing"]
)
def test_an_empty_dump_stays_in_its_set_with_a_problem(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / "postgres-20261123_020000.sql.gz", data)
    (only,) = catalog(tmp_path).sets
    assert only.problems[0].code in {"empty-file", "empty-content"}
    assert not only.databases


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.sql.sha256", "{h}", {"a.sql": "sha256:{h}"}),
        ("a.sql.sha256", "{h}  a.sql\n", {"a.sql": "sha256:{h}"}),
        ("a.sql.sha256", "{h} */backups/a.sql\n", {"a.sql": "sha256:{h}"}),
        (
            "SHA256SUMS",
            "{h}  ./a b.sql\n\n# note\n{h}  c.sql\n",
            {"a b.sql": "sha256:{h}", "c.sql": "sha256:{h}"},
        ),
        ("SHA256SUMS", "SHA256 (a.sql) = {h}\n", {"a.sql": "sha256:{h}"}),
        ("a.sql.sha256", "hello", None),
        ("a.sql.sha256", "", None),
        ("a.sql.md5", "{h}  a.sql", None),
    ],
)
def test_hash_lists_are_read_in_every_usual_form(name: str, text: str, expected: Any) -> None:
    digest = "ab" * 32
    wanted = expected and {key: value.format(h=digest) for key, value in expected.items()}
    assert parse_hash_list(name, text.format(h=digest)) == wanted


def test_the_strongest_declared_hash_counts_and_bad_lists_are_problems(tmp_path: Path) -> None:
    write(tmp_path / "a-20261123_020000.sql", dumps().plain)
    (tmp_path / "a-20261123_020000.sql.md5").write_text("0" * 32)
    (tmp_path / "SHA256SUMS").write_text("garbage")
    (tmp_path / "gone-20261122_020000.sql.sha256").write_text("0" * 64)
    found = catalog(tmp_path)
    assert found.sets[0].artifacts[0].declared_hash.startswith("sha256:")
    assert codes(found) == ["hash-list-invalid", "hash-without-file"]


def test_encrypted_files_keep_their_place_and_name_nothing(tmp_path: Path) -> None:
    write(
        tmp_path / "postgres-20261123_020000.sql.gz.age",
        b"age-encryption.org/v1\n-> X25519 x\n" + os.urandom(500),
    )
    (only,) = catalog(tmp_path).sets
    (artifact,) = only.artifacts
    assert (artifact.encryption, artifact.names_complete, only.databases) == ("age", False, ())
    assert only.stamp == datetime(2026, 11, 23, 5, tzinfo=UTC)


def test_listing_changes_nothing(tmp_path: Path) -> None:
    from smos.backup.state import directory_state, state_changes

    own_set(tmp_path, NOW)
    flat_set(tmp_path, NOW)
    before = directory_state(tmp_path, with_content=True)
    catalog(tmp_path)
    assert state_changes(before, directory_state(tmp_path, with_content=True)) == ()
