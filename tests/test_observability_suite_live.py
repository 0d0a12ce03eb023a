"""Somebody's own stack: asked and sent to within a run's id, never broken; what needs more is not proven."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.observability.exercise import exercise
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.lab import RUN_PREFIX, ObservabilityLab
from smos.observability.verify.live import live_subject
from smos.observability.verify.stand import Stand
from smos.provision.owner import Owner
from smos.target import ObservabilityTarget
from smos.verdict import Judgement, Verdict


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-observability-live") as made:
        yield made


@pytest.fixture(scope="module")
def stand(owner: Owner) -> Iterator[Stand]:
    made = Stand(owner, name="live")
    yield made
    made.close()


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.write_text(text)
    return path


def target(stand: Stand, folder: Path, **more: object) -> ObservabilityTarget:
    endpoint, collector = stand.subject.clickhouse, stand.subject.collector
    text = json.dumps({"user": endpoint.user, "password": endpoint.password})
    given = {
        "otlp_grpc": collector.grpc,
        "otlp_http": collector.http,
        "collector_metrics": collector.metrics,
        "clickhouse": endpoint.url,
        "clickhouse_credentials": private(folder / "clickhouse.json", text),
    }
    return ObservabilityTarget(**(given | more))


def lab(owner: Owner, declared: ObservabilityTarget) -> ObservabilityLab:
    return ObservabilityLab(find=lambda: live_subject(declared), owner=lambda: owner, target=declared)


def codes(judgement: Judgement) -> set[str]:
    return {item.code for item in judgement.findings if item.verdict is not Verdict.PASS}


@pytest.mark.parametrize("check_id", ["OBS-01", "OBS-02"])
def test_what_breaks_nothing_is_proven_on_a_live_stack(
    check_id: str, owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    judgement = exercise(check_id, lab(owner, target(stand, tmp_path)))
    assert judgement.verdict is Verdict.PASS, judgement.findings


def test_without_the_collectors_metrics_delivery_is_not_proven(
    owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    judgement = exercise("OBS-01", lab(owner, target(stand, tmp_path, collector_metrics=None)))
    assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {"telemetry-not-counted"})


@pytest.mark.parametrize("check_id", ["OBS-03", "OBS-04"])
def test_a_live_stack_is_never_broken(check_id: str, owner: Owner, stand: Stand, tmp_path: Path) -> None:
    before = stand.collector.pid, stand.clickhouse.pid
    judgement = exercise(check_id, lab(owner, target(stand, tmp_path)))
    assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {"observability-live"})
    assert (stand.collector.pid, stand.clickhouse.pid) == before


def test_a_live_retention_is_read_and_nothing_is_put_in(owner: Owner, stand: Stand, tmp_path: Path) -> None:
    with ClickHouse(stand.subject.clickhouse) as client:
        before = client.value("SELECT sum(total_rows) FROM system.tables WHERE database = 'otel'")
        judgement = exercise("OBS-05", lab(owner, target(stand, tmp_path)))
        assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {"observability-live"})
        judgement = exercise("OBS-05", lab(owner, target(stand, tmp_path, retention_hours=24)))
        assert (judgement.verdict, codes(judgement)) == (
            Verdict.FAIL,
            {"observability-live", "retention-wrong"},
        )
        assert client.value("SELECT sum(total_rows) FROM system.tables WHERE database = 'otel'") == before


def test_every_row_that_a_live_run_leaves_carries_its_id_and_expires(
    owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    exercise("OBS-01", lab(owner, target(stand, tmp_path)))  # whatever ran before on this worker
    with ClickHouse(stand.subject.clickhouse) as client:
        for table in ("otel_traces", "otel_logs", "otel_metrics_sum"):
            assert client.value(f"SELECT count() FROM {table}") > 0
            strange = f"SELECT count() FROM {table} WHERE NOT startsWith(ResourceAttributes['smos.run'], {{p:String}})"
            assert client.value(strange, p=RUN_PREFIX) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"clickhouse": None}, "observability-no-address"),
        ({"otlp_http": None}, "observability-no-address"),
        ({"clickhouse": "http://clickhouse.example.cl:8123"}, "observability-no-tls"),
        ({"clickhouse_credentials": None}, "observability-no-credentials"),
        ({"clickhouse_credentials": Path("/nonexistent")}, "observability-no-credentials"),
    ],
)
def test_a_stack_that_is_not_named_rightly_is_not_proven(
    changes: dict, code: str, owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    judgement = exercise("OBS-01", lab(owner, target(stand, tmp_path, **changes)))
    assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {code})


def test_credentials_that_others_can_read_are_refused_and_never_shown(
    owner: Owner, stand: Stand, tmp_path: Path
) -> None:
    given = target(stand, tmp_path)
    assert given.clickhouse_credentials is not None
    given.clickhouse_credentials.chmod(0o644)
    judgement = exercise("OBS-01", lab(owner, given))
    assert codes(judgement) == {"observability-no-credentials"}
    wrong = private(tmp_path / "other.json", '{"user": "otel", "password": "s3cret-wrong"}')
    judgement = exercise("OBS-01", lab(owner, given.model_copy(update={"clickhouse_credentials": wrong})))
    assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {"observability-stopped"})
    assert "s3cret-wrong" not in str(judgement)


def test_a_stack_that_does_not_answer_is_not_proven(owner: Owner, stand: Stand, tmp_path: Path) -> None:
    nobody = {"collector_metrics": None, "otlp_grpc": "127.0.0.1:9", "otlp_http": "http://127.0.0.1:9"}
    judgement = exercise("OBS-01", lab(owner, target(stand, tmp_path, **nobody)))
    assert judgement.verdict is Verdict.NOT_PROVEN, judgement.findings
    judgement = exercise("OBS-01", lab(owner, target(stand, tmp_path, clickhouse="http://127.0.0.1:9")))
    assert (judgement.verdict, codes(judgement)) == (Verdict.NOT_PROVEN, {"observability-stopped"})
