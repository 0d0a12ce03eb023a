"""The reports that people open, in a real headless Chromium with the network cut: what they say, what they ask for."""

import functools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests._browser_kit import CHROMIUM, Browser, browser
from tests.test_conftest import ROOT, TARGET, Runs

NODE = shutil.which("node")
RENDER = ROOT / "tools" / "report"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
needs_node = pytest.mark.skipif(
    NODE is None or not (RENDER / "node_modules" / "allure").is_dir(),
    reason="the report's Node packages are not here: make report installs them",
)
WAIVERS = """
schema: 1
waivers:
  - {check: DR-08, reason: storage is being migrated, approver: ana.perez, expires: 2099-01-31}
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what two runs about production leave: one of each verdict in the second."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        runs = Runs(tmp_path_factory.mktemp("runs"), monkeypatch)
        (runs.path / "target.yml").write_text(TARGET.replace("self-test", "production"), encoding="utf-8")
        (runs.path / "waivers.yml").write_text(WAIVERS, encoding="utf-8")
        monkeypatch.setenv("FAKE_SCOPE", "production")
        monkeypatch.setenv("FAKE_RUN_ID", "first0000001")
        runs.checks(DR_08="prove(failed())")
        assert runs.run("-m", "dr").ret == 0
        render(runs.reports)
        monkeypatch.setenv("FAKE_RUN_ID", "second000002")
        runs.checks(
            DR_03="prove(failed())",
            DR_04="raise RuntimeError('boom')",
            DR_05="prove(unproven())",
            DR_08="prove(failed())",
        )
        assert runs.run("-m", "dr", "--lang", "es").ret == 1
        return runs.reports


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give the browser in which the reports are opened one after the other."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def render(reports: Path, language: str = "en") -> None:
    """Render the Allure report, where Node.js is."""
    if NODE is not None and (RENDER / "node_modules" / "allure").is_dir():
        done = subprocess.run(
            [NODE, str(RENDER / "render.mjs"), str(reports), language],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def text_of(page: Browser) -> str:
    """Return what can be read on the page."""
    return str(page.value("document.body.innerText"))


@needs_browser
def test_the_page_of_a_run_asks_for_nothing_but_itself(reports: Path, page: Browser) -> None:
    address = (reports / "evidence.html").as_uri()
    page.begin()
    page.open(address, "document.querySelector('table')")
    text = text_of(page)
    colour = page.value("getComputedStyle(document.querySelector('header')).backgroundColor")
    assert page.requests == [address]
    assert page.errors == []
    assert colour == "rgb(180, 35, 24)"  # the policy lets the page's own style in
    for word in ("FALLIDO", "NO DEMOSTRADO", "ARNÉS AVERIADO", "EXCEPTUADO", "ana.perez", "Tendencia"):
        assert word in text


@needs_node
@needs_browser
def test_the_allure_report_asks_nobody_and_shows_our_verdicts(reports: Path, page: Browser) -> None:
    render(reports, "es")
    render(reports, "es")  # a run that is rendered again is not its own past
    history = (reports / "allure-history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [re.search(r"(first0+1|second0+2)", json.loads(line)["name"])[0] for line in history] == [  # type: ignore[index]
        "first0000001",
        "second000002",
    ]
    for name in ("allure.html", "allure/index.html"):
        assert "googletagmanager" not in (reports / name).read_text(encoding="utf-8")
    ready = "document.body.innerText.includes('DR-03')"
    page.begin()
    single = (reports / "allure.html").as_uri()
    page.open(single, ready)
    first = text_of(page)
    page.value(
        "[...document.querySelectorAll('*')].find(e => !e.children.length && e.textContent.startsWith('DR-03 ')).click()"
    )
    page.wait("document.body.innerText.includes('3 rows are gone')")
    detail = text_of(page)
    assert [url for url in page.requests if not url.startswith(single)] == []
    with served(reports / "allure") as address:
        page.requests.clear()
        page.open(address, ready)
        assert page.requests
        assert [url for url in page.requests if not url.startswith(address)] == []
    # Allure probes for optional files of its own folder; nothing was refused by our policy, nothing was unreachable.
    assert [text for text in page.errors if "404 (File not found)" not in text] == []
    assert "Fallido" in first
    for word in (
        "row-count",
        "restore an older set",
        "SOC 2",
        "NIST CP-10",
        "Categoría: Failed checks",
        "Historial",
    ):
        assert word in detail, word


@needs_node
def test_the_renderer_refuses_a_tag_that_it_does_not_know(tmp_path: Path) -> None:
    script = f"""
import {{ clean }} from {json.dumps((RENDER / "render.mjs").as_uri())};
const head = '<head><meta charset="utf-8"></head>';
const tag = '<script async src="https://www.googletagmanager.com/gtag/js?id=G-X"></script>\\n<script>function gtag(){{}} gtag("js")</script>';
if (clean(head + tag + "<p>kept</p>").includes("gtag")) process.exit(2);
if (!clean(head + tag + "<p>kept</p>").includes("<p>kept</p>")) process.exit(3);
if (!clean(head).includes("Content-Security-Policy")) process.exit(4);
for (const strange of [head + '<img src="https://www.google-analytics.com/x">', "<head></head>"]) {{
  try {{ clean(strange); process.exit(5); }} catch {{ }}
}}
"""
    (tmp_path / "try.mjs").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [str(NODE), str(tmp_path / "try.mjs")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_node
def test_without_results_the_renderer_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(NODE), str(RENDER / "render.mjs"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "holds no results; run a suite first" in done.stderr
