"""A reports directory of a run as the controller leaves it, without the run: for tests of what is signed."""

from datetime import UTC, date, datetime
from pathlib import Path

from smos.backup.facts import ArtifactFacts, FileFacts, SetFacts
from smos.backup.model import ArtifactKind
from smos.backup.signing import generate_keypair
from smos.clock import SystemClock
from smos.evidence import ci, origin, reports
from smos.evidence.bundle import seal
from smos.evidence.run import RunInfo
from smos.evidence.signers import load_signer
from smos.target import Target
from smos.verdict import Verdict
from tests.test_evidence import ALL, WAIVER, info, outcome, timing

DAY = date(2026, 11, 23)


def artifact(path: str, *files: str) -> ArtifactFacts:
    """Make what inspection records of an artifact."""
    return ArtifactFacts(
        path=path,
        kind=ArtifactKind.PG_DUMP_CUSTOM,
        compression="none",
        encryption="",
        stored_bytes=10,
        content_bytes=10,
        files=tuple(FileFacts(path=name, bytes=10, sha256="ab" * 32) for name in files),
        sha256="cd" * 32,
        declared_by="manifest",
        hash_fits=True,
        entropy=1.0,
        entropy_peak=1.0,
        databases=("app",),
        volumes=(),
        server_version="",
        dump_version="",
        has_objects=True,
        has_rows=True,
        members=0,
        unsafe=0,
        outward=0,
        examples=(),
        read_by="",
        seconds=0.1,
        problems=(),
    )


SETS = (
    SetFacts(
        set_id="s1",
        stamp=None,
        manifested=True,
        signature="valid",
        artifacts=(
            artifact("s1/app.dump", "s1/app.dump"),
            artifact("s1/big", "s1/big/1.dat", "s1/big/toc.dat"),
        ),
    ),
)


def run_into(
    folder: Path,
    run_id: str = "run1",
    scope: str = "production",
    verdicts: dict[str, Verdict] | None = None,
    minute: int = 5,
) -> Path:
    """Leave in `folder` what a run leaves; DR-08 fails under a waiver."""
    head = RunInfo(**{name: getattr(info(scope), name) for name in RunInfo.__slots__} | {"run_id": run_id})
    results = folder / "allure-results"
    results.mkdir(parents=True, exist_ok=True)
    for old in results.iterdir():
        old.unlink()
    (results / f"{run_id}-result.json").write_text('{"status": "passed"}\n', encoding="utf-8")
    document = origin.run_json(
        head,
        finished=datetime(2026, 11, 23, 6, minute, tzinfo=UTC),
        target=Target(name="one"),
        required=ALL,
        sets=SETS,
        approver="ana.perez",
        ci=ci.read_ci({}),
        reports=folder,
    )
    reports.finish(
        folder,
        results,
        info=head,
        outcome=outcome({"DR-08": Verdict.FAIL} | (verdicts or {}), waivers=(WAIVER,)),
        timing=timing(),
        ci=ci.read_ci({}),
        run=document,
    )
    return folder


def keys(folder: Path) -> tuple[Path, Path]:
    """Make a key pair; return the paths of the private and the public key."""
    private, public = folder / "evidence.pem", folder / "evidence.pub"
    generate_keypair(private, public)
    return private, public


def sealed(folder: Path, private: Path, **run: object) -> Path:
    """Leave a run in `folder` and seal it; return the bundle."""
    run_into(folder, **run)  # type: ignore[arg-type]
    return seal(folder, load_signer(str(private)), clock=SystemClock())
