"""The embedded Bugsink: what an SDK sends is read back, a wrong key is refused, events survive a crash."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import sentry_sdk

from smos.observability.sentry import SentryError, SentryReader
from smos.provision.embedded.bugsink import EmbeddedBugsink, packages
from smos.provision.owner import Owner
from smos.wait import wait_for


@pytest.fixture(scope="module")
def bugsink() -> Iterator[EmbeddedBugsink]:
    with Owner("test-sentry") as owner:
        server = EmbeddedBugsink(owner)
        server.start()
        yield server
        server.stop()


def send(dsn: str, message: str) -> str:
    client = sentry_sdk.Client(dsn=dsn, default_integrations=False, auto_enabling_integrations=False)
    event = client.capture_event({"message": message, "level": "error", "tags": {"smos.run": "r1"}})
    client.close(timeout=60)
    assert event is not None
    return event


def test_an_event_is_read_back_by_its_id_also_after_a_crash(bugsink: EmbeddedBugsink) -> None:
    event = send(bugsink.endpoint.dsn, "the disk is full")
    with SentryReader(bugsink.endpoint) as reader:
        found = wait_for(lambda: reader.event(event), what="the event is stored", deadline_s=120)
        assert found["data"]["message"] == "the disk is full"
        assert ["smos.run", "r1"] in [list(pair) for pair in dict(found["data"]["tags"]).items()]
        assert reader.event("0" * 32) is None
    before = bugsink.endpoint
    bugsink.kill()
    bugsink.start()
    assert bugsink.endpoint == before
    with SentryReader(bugsink.endpoint) as reader:
        assert reader.event(event) is not None


def test_a_wrong_key_is_refused_and_nothing_is_stored(bugsink: EmbeddedBugsink) -> None:
    dsn = bugsink.endpoint.dsn
    key = dsn.split("//")[1].split("@")[0]
    event = send(dsn.replace(key, "0" * 32), "from a stranger")
    marker = send(dsn, "from a friend")
    with SentryReader(bugsink.endpoint) as reader:
        wait_for(lambda: reader.event(marker), what="the friend's event is stored", deadline_s=120)
        assert reader.event(event) is None
    url = f"{bugsink.endpoint.url}/api/{bugsink.endpoint.project_id}/envelope/"
    answer = httpx.post(url, params={"sentry_key": "0" * 32}, content=b"{}\n", trust_env=False)
    assert answer.status_code in {400, 401, 403, 404}


def test_its_packages_are_compiled_where_it_looks_for_them(bugsink: EmbeddedBugsink) -> None:
    """Whatever this process was told of its own bytecode: else every start compiles some nine hundred modules."""
    tag = sys.implementation.cache_tag
    sources = [packages() / name / "__init__.py" for name in ("django", "gunicorn", "sentry_sdk", "bugsink")]
    assert all((path.parent / "__pycache__" / f"__init__.{tag}.pyc").is_file() for path in sources)


def test_the_api_wants_its_token(bugsink: EmbeddedBugsink) -> None:
    stranger = replace(bugsink.endpoint, token="0" * 40)
    with SentryReader(stranger) as reader, pytest.raises(SentryError, match=r"40[13]"):
        reader.event("0" * 32)
    assert bugsink.endpoint.token not in repr(bugsink.endpoint)
    assert bugsink.endpoint.token not in bugsink.logs()


def test_two_servers_share_no_secret(bugsink: EmbeddedBugsink) -> None:
    with Owner("test-sentry-2") as owner:
        other = EmbeddedBugsink(owner)
        other.start()
        assert other.endpoint.token != bugsink.endpoint.token
        assert other.endpoint.dsn.split("@")[0] != bugsink.endpoint.dsn.split("@")[0]
        other.stop()
