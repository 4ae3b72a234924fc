"""A real server, a real Chromium. A machine without a browser fails here, with the remedy: nothing is skipped."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Playwright, ViewportSize, sync_playwright

from tests.e2e.cable import Cable
from tests.e2e.headset import Headset, emulator
from tests.e2e.served import ROOT, STUDIO, Served
from tests.e2e.visitor import Visitor

BROWSER = "ISTHMUS_CHROMIUM"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
SMALL: ViewportSize = {"width": 640, "height": 400}
"""A page drawn in software pays for each pixel."""
PATIENCE_MS = 90_000
"""For what Playwright itself waits for: loading a page, a button to be there."""
Visit = Callable[..., Visitor]
Wear = Callable[[str], Headset]


def _chromium() -> str:
    named = os.environ.get(BROWSER)
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None or not Path(found).exists():
        pytest.fail(
            f"no Chromium found{f' at {named}' if named else ''}: install the package chromium, "
            f"or name one in {BROWSER}",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="session")
def _playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(_playwright: Playwright) -> Iterator[Browser]:
    path = _chromium()
    try:
        browser = _playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
    except Error as error:
        pytest.fail(f"{path} does not start: {error}", pytrace=False)
    yield browser
    browser.close()


def _must_be_built() -> None:
    if not (ROOT / "server/static/index.html").exists():
        pytest.fail("the page is not built: run `make web`", pytrace=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    _must_be_built()
    served = Served(tmp_path_factory.mktemp("server") / "log")
    yield served
    served.end()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The world of headsets and televisions."""
    _must_be_built()
    served = Served(tmp_path_factory.mktemp("studio") / "log", world=STUDIO)
    yield served
    served.end()


@pytest.fixture
def visitors(browser: Browser) -> Iterator[Visit]:
    """``visitors(url, name=None, script="")`` opens a page of its own browser profile and, with a name, goes in.
    ``script`` runs before the page's own."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def visit(url: str, name: str | None = None, script: str = "") -> Visitor:
        context = browser.new_context(viewport=SMALL)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        visitor = Visitor(context.new_page())
        visitors.append(visitor)
        if script:
            visitor.page.add_init_script(script)
        visitor.open(url)
        if name is not None:
            visitor.enter(name)
        return visitor

    yield visit
    for visitor in visitors:
        has_body = visitor.page.locator("#leave").count() > 0  # a television has none
        if has_body and visitor.page.evaluate("window.isthmus.state") == "welcomed":
            visitor.leave()
    for context in contexts:
        context.close()


@pytest.fixture
def visit(visitors: Visit, served: Served) -> Visit:
    """``visit(name=None, url=None)``: a visitor of Helsinki."""
    return lambda name=None, url=None: visitors(url or served.url, name)


@pytest.fixture
def wear(visitors: Visit, studio: Served) -> Iterator[Wear]:
    """``wear(name)``: somebody in the studio who has a headset on."""
    worn: list[Headset] = []

    def wear(name: str) -> Headset:
        headset = Headset(visitors(studio.url, name, emulator()))
        worn.append(headset)
        headset.put_on()
        return headset

    yield wear
    for headset in worn:
        headset.leave()


@pytest.fixture
def cable(served: Served) -> Iterator[Cable]:
    cable = Cable(served.port)
    yield cable
    cable.close()
