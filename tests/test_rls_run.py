"""What a run of RLS-01 speaks about: the database that --dsn names, never the harness, never with a credential."""

from pathlib import Path

import pytest

from smos.drill.asked import effective_target
from smos.evidence.run import database_name, subject_of
from smos.target import Provision, Scope, resolve_settings


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("postgresql://dba@db.example/shop?sslmode=require", "db.example/shop"),
        ("host=/var/run/postgresql dbname=shop user=dba", "localhost/shop"),
        ("service=shop", "service shop"),
        ("postgresql://", "localhost/default database"),
        ("host=10.0.0.7 dbname='tienda de ropa'", "10.0.0.7/tienda de ropa"),
        ("dbname='postgresql://dba:hunter2@db/shop'", "localhost/…"),
    ],
)
def test_a_database_is_named_by_host_and_name_alone(dsn: str, name: str) -> None:
    assert database_name(dsn) == name


def test_a_run_with_only_a_database_speaks_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve_settings(dsn="postgresql://dba@db/shop", environ={})
    target = effective_target(settings)
    assert subject_of(target, settings, {"rls"}) == ("db/shop", Scope.PRODUCTION)
    # A drill of the built-in source beside it has one verdict with it: a self-test.
    assert subject_of(target, settings, {"rls", "dr"}) == (target.name, Scope.SELF_TEST)
    assert subject_of(target, resolve_settings(environ={}), {"rls"}) == (target.name, Scope.SELF_TEST)


def test_a_declared_target_keeps_its_own_name_and_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smos.yml").write_text("schema: 1\nname: staging\nscope: self-test\n", encoding="utf-8")
    settings = resolve_settings(dsn="service=shop", environ={})
    assert settings.provision is Provision.AUTO
    assert subject_of(effective_target(settings), settings, {"rls"}) == ("staging", Scope.SELF_TEST)
