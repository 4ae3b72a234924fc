"""A real server, a real Chromium. A machine without a browser fails here, with the remedy: nothing is skipped."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Playwright, ViewportSize, sync_playwright

from tests.e2e.cable import Cable
from tests.e2e.served import ROOT, Served
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
Visit = Callable[..., Visitor]


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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not (ROOT / "server/static/index.html").exists():
        pytest.fail("the page is not built: run `make web`", pytrace=False)
    served = Served(tmp_path_factory.mktemp("server") / "log")
    yield served
    served.end()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    """``visit(name=None, url=None)`` opens a page of its own browser profile and, with a name, goes in."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def visit(name: str | None = None, url: str | None = None) -> Visitor:
        context = browser.new_context(viewport=SMALL)
        contexts.append(context)
        visitor = Visitor(context.new_page())
        visitors.append(visitor)
        visitor.open(url or served.url)
        if name is not None:
            visitor.enter(name)
        return visitor

    yield visit
    for visitor in visitors:
        if visitor.page.evaluate("window.isthmus.state") == "welcomed":
            visitor.leave()
    for context in contexts:
        context.close()


@pytest.fixture
def cable(served: Served) -> Iterator[Cable]:
    cable = Cable(served.port)
    yield cable
    cable.close()
