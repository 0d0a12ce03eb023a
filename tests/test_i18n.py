"""One catalogue of messages: complete, compiled, with the same values in either language; and a quick start."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smos import i18n
from smos.i18n.messages import all_messages

SMOS = Path(sys.executable).with_name("smos")
PLACE = re.compile(r"\{\w*(?:![rs])?\}")
CATALOGUE = i18n.DIRECTORY / "es" / "LC_MESSAGES" / "smos.mo"


def run(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SMOS_", "LC_", "LANG"))
    }
    return subprocess.run(
        [SMOS, *words], env=kept | {"SMOS_HOME": str(home), "SMOS_KEYRING": "off"} | env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def spanish() -> "object":
    i18n.use("es")
    yield
    i18n.use("en")


def test_every_message_of_the_command_line_is_translated() -> None:
    known = i18n.catalogue("es")._catalog  # type: ignore[attr-defined]
    texts = {text for text in known if text}
    assert all_messages() - texts == set(), "python -m smos.i18n, then translate what it names"
    assert texts - all_messages() == set(), "python -m smos.i18n takes out what nobody says any more"


def test_a_translation_has_the_same_values_and_commands() -> None:
    for source, target in i18n.catalogue("es")._catalog.items():  # type: ignore[attr-defined]
        if source:
            assert sorted(PLACE.findall(source)) == sorted(PLACE.findall(target)), source
            assert re.findall(r"(?<![\w-])--[a-z-]+", source) == re.findall(r"(?<![\w-])--[a-z-]+", target), (
                source
            )


def test_what_is_compiled_is_what_can_be_read() -> None:
    pytest.importorskip("babel", reason="needs the extra `dev`")
    from smos.i18n.__main__ import compiled, read

    assert CATALOGUE.read_bytes() == compiled(read("es"))


@pytest.mark.parametrize(
    ("arguments", "environ", "wanted"),
    [
        (["--lang", "es", "health"], {"SMOS_LANG": "en"}, "es"),
        (["--lang=en"], {"LANG": "es_CL.UTF-8"}, "en"),
        (["evidence", "page", "--lang", "es"], {}, "en"),
        ([], {"LANG": "es_CL.UTF-8"}, "es"),
        ([], {"LANG": "es_CL.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ([], {"SMOS_LANG": "es", "LC_ALL": "C.UTF-8"}, "es"),
        ([], {}, "en"),
    ],
)
def test_the_flag_wins_then_the_environment_then_the_locale(
    arguments: list[str], environ: dict[str, str], wanted: str, tmp_path: Path
) -> None:
    assert i18n.choose_language(arguments, {"SMOS_HOME": str(tmp_path)} | environ) == wanted


def test_the_configuration_wins_over_the_locale(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("# mine\nlang: es  # Chile\n")
    assert i18n.choose_language([], {"SMOS_HOME": str(tmp_path), "LANG": "en_US.UTF-8"}) == "es"


def test_values_and_sentences_in_sentences_are_found(spanish: object) -> None:
    assert i18n.translate("n8n is removed") == "Se eliminó n8n"
    inner = "The deployment does not work: web: ended with 3. Nothing ran before, and what was started is removed."
    assert i18n.translate(inner).startswith("El despliegue no funciona: web: terminó con 3.")
    assert i18n.translate("What to do: see its log") == "Qué hacer: mira su registro"
    for text in ("", "\n", "smarteros", "nobody says this", "a {1} b"):
        assert i18n.translate(text) == text


def test_people_read_their_language_and_programs_always_the_same(tmp_path: Path) -> None:
    words = ("config", "get", "vault.adress")
    said = run(tmp_path, *words, LANG="es_CL.UTF-8").stderr
    assert "No existe la clave" in said
    assert "¿quisiste decir vault.address" in said
    as_json = run(tmp_path, *words, "--json", LANG="es_CL.UTF-8").stdout
    assert as_json == run(tmp_path, *words, "--json").stdout
    assert json.loads(as_json)["error"]["code"] == "usage"
    assert "Muestra el plan y no cambia nada" in " ".join(
        run(tmp_path, "--lang", "es", "backup", "prune", "--help").stdout.split()
    )
    assert run(tmp_path, "--lang", "fr", "version").returncode == 2


def test_every_command_can_answer_in_json_and_explains_every_option() -> None:
    from typer.main import get_command

    from smos.cli.app import app

    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", {})
        for word, child in children.items():
            yield from leaves(child, f"{name} {word}")
        if not children:
            yield name, command

    for name, command in leaves(get_command(app), "smos"):
        assert any("--json" in parameter.opts for parameter in command.params), name
        assert command.help, name


def test_the_plain_version_loads_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys\nfrom smos.cli.app import main\nsys.argv = ['smos', 'version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import json; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("smarteros-verify ")
    modules = json.loads(done.stderr)
    heavy = {
        "pydantic",
        "psycopg",
        "rich",
        "httpx",
        "hvac",
        "requests",
        "docker",
        "cryptography",
        "pytest",
        "ruamel",
    }
    assert not heavy & {name.partition(".")[0] for name in modules}
    assert len(modules) < 400


def test_the_full_version_names_what_is_talked_to(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "version", "--all", "--json").stdout)["versions"]
    assert {item["kind"] for item in found} == {"self", "server", "tool", "library"}
    assert all(bool(item["version"]) != bool(item["problem"]) for item in found), found
