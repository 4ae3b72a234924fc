"""The documentation's site in a real Chromium: it asks no other host for anything, is found by search, fits a phone."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from tests.e2e.served import ROOT

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 800}
PAGES = ("/", "/tutorials/client/", "/tutorials/operator/", "/reference/configuration/", "/reference/behaviours/",
         "/protocol/STANDARD/", "/CLUSTER/", "/capacity/")  # fmt: skip


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site, built just now."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False)
    assert built.returncode == 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    yield context.new_page()
    context.close()


@pytest.fixture
def troubles(page: Page, site: str) -> list[str]:
    """What a page asked other hosts for, what was not there, and what its scripts complained of."""
    found: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((site, "data:", "blob:")) else found.append(r.url))
    page.on("response", lambda r: found.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("console", lambda m: found.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: found.append(str(e)))
    return found


def test_pages_ask_nobody_else_and_fit_a_phone(page: Page, site: str, troubles: list[str]) -> None:
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        for path in PAGES:
            page.goto(site + path, wait_until="networkidle")
            assert page.locator("h1").first.is_visible()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], f"{path} is {width} wide on {size['width']}"
    assert troubles == []


def test_search_finds_an_option_without_another_host(page: Page, site: str, troubles: list[str]) -> None:
    page.goto(site, wait_until="networkidle")
    page.locator(".md-search__input").click()
    page.keyboard.type("webtransport_sessions_max")
    page.locator(".md-search-result__link").first.wait_for()
    results = page.locator(".md-search-result__link").all_inner_texts()
    assert any("[gateway]" in text for text in results), results
    assert troubles == []


def test_a_link_to_a_section_lands_there(page: Page, site: str) -> None:
    page.goto(f"{site}/tutorials/client/")
    page.get_by_role("link", name="§8").first.click()
    page.wait_for_url("**/protocol/STANDARD/#8-acting")
    assert page.locator("[id='8-acting']").is_visible()
