"""The operators' console in a real browser, on a real cluster of two shards and two gateways."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import PATIENCE_MS
from tests.e2e.served import ROOT
from tests.integration.cluster.running import Running, bots, start, until
from tests.integration.server import CROWD

PEOPLE, DUCKS = 6, 60
LOOK_MS = 100
OPERATOR = "ada"


@pytest.fixture(scope="module")
def ducks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A cluster with people in it, and the operator's secret."""
    folder = tmp_path_factory.mktemp("console")
    secret = secrets.token_hex(32)
    (folder / "operators").write_text(f"{OPERATOR} {secret}\n")
    (folder / "operators").chmod(0o600)
    (folder / "behaviours.py").write_text(CROWD.replace("COUNT", str(DUCKS)))
    world = '[world]\nname = "Ducks"\nbehaviours = "behaviours.py"\nextent_m = 256.0\n'
    world += '[console]\nsecrets_path = "operators"\n'
    (folder / "world.toml").write_text(world)
    running = start(folder, "memory:")
    walkers = bots(running.urls[0], 7, PEOPLE)
    try:
        until("everybody to be in", lambda: running.status(0)["sessions"] + running.status(1)["sessions"] >= PEOPLE)
        yield running, secret
    finally:
        walkers.terminate()
        walkers.wait(20)
        running.process.terminate()
        assert running.process.stdout is not None
        running.process.stdout.close()
        assert running.process.wait(60) == 0


class Console:
    """The page of one gateway."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if "Content Security" in said.text else None)
        page.goto(f"{url}/console")

    def sign_in(self, secret: str) -> None:
        self.page.get_by_label("Your secret").fill(secret)
        self.page.get_by_role("button", name="Sign in").click()

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()

    def confirm(self, verb: str, **fields: str) -> None:
        """The dialog: what is asked is filled in, then said yes to."""
        dialog = self.page.get_by_role("dialog")
        for label, value in fields.items():
            dialog.get_by_label(label).fill(value)
        dialog.get_by_role("button", name=verb, exact=True).click()

    def outcome(self, text: str) -> None:
        """Wait until the page says how an act has ended."""
        self.page.locator("#outcome", has_text=text).wait_for()

    def get(self, expression: str) -> Any:
        """Of what the page has been told."""
        return self.page.evaluate(f"window.isthmusConsole.{expression}")

    def until(self, what: str, holds: Callable[[], Any]) -> None:
        """Wait for the page, which goes on meanwhile."""

        def look() -> Any:
            self.page.wait_for_timeout(LOOK_MS)
            return holds()

        until(what, look)

    def owner(self, region: int) -> str:
        told = self.get("overview()")
        owner = told["regions"]["owner"][told["regions"]["region"].index(region)]
        return str(told["shards"][owner]["name"])


@pytest.fixture
def console(browser: Browser, ducks: tuple[Running, str]) -> Iterator[Console]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield Console(context.new_page(), ducks[0].urls[0])
    context.close()


def test_a_wrong_secret_shows_nothing(console: Console) -> None:
    console.sign_in("x" * 40)
    console.page.get_by_text("this is no operator's secret").wait_for()
    assert not console.page.locator("#desk").is_visible()
    assert "x" * 40 not in console.page.url


def test_an_operator_sees_moves_kicks_and_finds_it_written_down(
    console: Console, ducks: tuple[Running, str], tmp_path: Path
) -> None:
    running, secret = ducks
    page = console.page
    console.sign_in(secret)
    page.get_by_text("2 shards").first.wait_for()
    assert page.locator("#members tbody tr").count() >= 5, "two shards, two gateways, a placer"
    console.until("all entities of all shards", lambda: console.get("overview().entities") > DUCKS)
    console.until("samples for the charts", lambda: console.get("samples()") > 0)

    # With the keyboard: a region is chosen on the map, moved to the other shard, and is there.
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    region = console.get("chosen()")
    before = console.owner(region)
    target = page.locator("#to").input_value()
    assert target != before
    page.get_by_role("button", name=f"Move region {region}").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert console.owner(region) == before, "who cancels has done nothing"
    page.get_by_role("button", name=f"Move region {region}").click()
    console.confirm("Move")
    console.outcome(f"region {region} is at {target}")
    console.until("the region to be there", lambda: console.owner(region) == target)

    # Somebody is kicked: gone from the list, and from the world.
    console.open("Sessions")
    page.get_by_text(f"{PEOPLE} sessions").last.wait_for()
    row = page.locator("#people tbody tr").filter(has=page.get_by_role("button", name="What ")).first
    name = row.locator(".who").inner_text().split("\n")[0]
    page.get_by_label("Find by name").fill(name)
    page.get_by_text("1 sessions").wait_for()
    page.get_by_role("button", name=f"What {name} is told").click()
    page.get_by_text(f"What {name} is told (desktop)").wait_for()
    page.locator("#interest tbody tr", has_text="exact enough").first.wait_for()
    assert "its own body" in page.locator("#interest").inner_text()
    page.get_by_label("Why, or why not, entity").fill("1152921504606846976")
    page.get_by_role("button", name="Ask").click()
    page.locator("#interest .answer", has_text="no region that this gateway mirrors").wait_for()
    page.get_by_role("button", name="Close the interest debugger").click()

    page.get_by_role("button", name=f"Kick {name}").click()
    console.confirm("Kick", Reason="for a test")
    console.outcome(f"the session of {name} has ended")
    page.get_by_text("0 sessions").wait_for()
    assert running.status(0)["rejected"].get("kicked", 0) + running.status(1)["rejected"].get("kicked", 0) == 1

    console.open("Log")
    log = page.locator("#log tbody tr")
    log.filter(has_text="kick session").first.wait_for()
    assert log.filter(has_text=f"move region {region}").count() == 2, "asked, and done"
    assert all(OPERATOR in row for row in log.all_inner_texts())
    audit = [sys.executable, "-m", "isthmus", "audit", str(_log(running))]
    told = subprocess.run(audit, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "none altered" in told
    assert console.errors == []


def test_orders_reach_all_gateways_and_are_shown(console: Console, ducks: tuple[Running, str]) -> None:
    running, secret = ducks
    page = console.page
    console.sign_in(secret)
    page.get_by_text("2 shards").first.wait_for()
    page.get_by_role("button", name="Say to all").click()
    console.confirm("Say it", **{"What everybody reads": "back at noon"})
    console.outcome("said to ")

    console.open("Profiles and bans")
    page.get_by_role("button", name="Change profile device").click()
    console.confirm("Change", **{"Bytes a second": "4000"})
    console.outcome("profile device: bytes_per_s = 4000")
    page.locator("#orders tr", has_text="4.0 kB/s").wait_for()
    page.get_by_role("button", name="Change profile device").click()
    console.confirm("Change", **{"Radius, metres": "100000"})
    console.outcome("Not done")

    console.open("Sessions")
    page.locator("#people tbody tr").first.wait_for()
    name = page.locator("#people .who").first.inner_text().split("\n")[0]
    page.get_by_role("button", name=f"Ban {name}").first.click()
    console.confirm("Ban", Reason="for a test")
    console.outcome(f"{name} is banned for 24 h")
    console.open("Profiles and bans")
    page.locator("#orders tr", has_text=name).wait_for()
    page.get_by_role("button", name=f"Unban {name}").click()
    console.confirm("Take back")
    console.outcome("the ban counts no more")
    page.get_by_text("Bans: none").wait_for()
    entries = [json.loads(line) for line in _log(running).read_text().splitlines()]
    assert {entry["what"]["do"] for entry in entries} >= {"broadcast", "profile", "ban", "unban"}
    assert console.errors == []


def _log(running: Running) -> Path:
    return next((running.folder / ".isthmus").glob("*gateway-0.operators.jsonl"))
