"""Scenario files: ours are right, wrong ones are told with all their mistakes, any text is a scenario or an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ramp import aim, scaled, users_at
from loadtest.reading import ScenarioError, find, known, parse, read
from loadtest.scenario import Ramp

PATH = Path("/worlds/mine/fair.toml")
GOOD = """
title = "Fair"
world = "fair_world.toml"
[ramp]
points = [[0, 0], [10, 20], [30, 20]]
judged_from_s = 10
[[storms]]
at_s = 20
[users.visitor]
kind = "desktop"
share = 3
transport = "datagrams"
move = { how = "gather", centre_m = [10, -20.5], radius_m = 30 }
trouble = { loss = 0.05 }
acts = [{ name = "buy", every_s = 5, payload = { goods = "duck", number = "$count" } }]
budgets = { act_p99_ms = 400 }
[users.screen]
kind = "tv"
share = 1
channel = "live"
[budgets]
input_delay_p99_ms = 200
"""


def mistakes(text: str) -> str:
    with pytest.raises(ScenarioError) as found:
        parse(text, PATH)
    return str(found.value)


def test_a_scenario_says_what_it_says() -> None:
    scenario = parse(GOOD, PATH)
    assert scenario.world == Path("/worlds/mine/fair_world.toml")
    visitor = scenario.users["visitor"]
    assert (visitor.share, visitor.move.centre_m, visitor.trouble.loss) == (3.0, (10.0, -20.5), 0.05)
    assert visitor.acts[0].payload == {"goods": "duck", "number": "$count"}
    assert visitor.budgets == {"act_p99_ms": 400.0}
    assert (scenario.duration_s, scenario.users_most, scenario.needs_datagrams) == (30.0, 20, True)
    assert [storm.at_s for storm in scenario.storms] == [20.0]


@pytest.mark.parametrize("name", known())
def test_ours_are_right_and_are_judged(name: str) -> None:
    scenario = read(name)
    assert scenario.description
    assert scenario.budgets["errors"] == 0
    assert scenario.path == find(name)


def test_all_mistakes_are_told_at_once_with_remedies() -> None:
    text = GOOD.replace("title", "titel").replace('"gather"', '"gathr"').replace("act_p99_ms", "act_p98_ms")
    told = mistakes(text.replace("share = 3", "share = 0").replace("at_s = 20", "at_s = 90"))
    for part in (
        "6 mistakes",
        "did you mean title?",
        "title: is missing",
        "gather",
        "did you mean act_p99_ms?",
        "users.visitor.share",
        "storms[0].at_s",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('kind = "desktop"', 'kind = "destkop"', "did you mean desktop?"),
        ("[[0, 0], [10, 20], [30, 20]]", "[[0, 0]]", "at least two points"),
        ("[[0, 0], [10, 20], [30, 20]]", "[[0, 0], [30, 20], [10, 20]]", "ascending"),
        ("[[0, 0], [10, 20], [30, 20]]", "[[0, 0], [30, 0]]", "more than 0"),
        ("judged_from_s = 10", "judged_from_s = 30", "must be before"),
        ('transport = "datagrams"', 'transport = "websocket"', "only datagrams can be lost"),
        ('channel = "live"', 'channel = "live"\nmove = { how = "stand" }', "a TV has no body"),
        ('channel = "live"', 'transport = "datagrams"', "televisions stay on WebSocket"),
        ("share = 3", "share = 3\nbehind_s = 3", "only a TV"),
        ("[users.visitor]", "[users.Visitor]", "small letters"),
        ('world = "fair_world.toml"', "", "the path of a world's file is missing"),
        ("trouble = { loss = 0.05 }", "trouble = { loss = 1.5 }", "users.visitor.trouble.loss"),
        ("trouble = { loss = 0.05 }", 'trouble = "much"', "must be a table"),
        ("every_s = 5", "evry_s = 5", "did you mean every_s?"),
        ("[[storms]]", "[storms]", "list of tables"),
        ("title", "path = 3\ntitle", "path: there is no such key"),
        ("[ramp]", "[ramp", "this is not TOML"),
    ],
)
def test_a_mistake_is_told_where_it_is(before: str, after: str, told: str) -> None:
    assert before in GOOD
    assert told in mistakes(GOOD.replace(before, after, 1))


def test_a_scenario_without_users_is_none() -> None:
    assert "[users.<name>]" in mistakes('title = "x"\nworld = "w.toml"\n[ramp]\npoints = [[0, 0], [1, 1]]')


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"there is no scenario stadum.*stadium"):
        read("stadum")
    (tmp_path / "mine.toml").write_text(GOOD)
    with pytest.raises(ScenarioError, match="world: there is no file"):
        read(str(tmp_path / "mine.toml"))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def toml(value: object) -> str:
    """A value in TOML, which has no null: an empty list stands for it."""
    match value:
        case None:
            return "[]"
        case bool():
            return str(value).lower()
        case int():
            return str(max(-(2**63), min(2**63 - 1, value)))
        case float():
            return repr(value) if value == value and abs(value) < 1e308 else "nan"
        case str():
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    raise AssertionError(value)


LINES = [line for line in GOOD.splitlines() if "=" in line]


@given(st.sampled_from(LINES), PLAIN)
def test_any_value_anywhere_is_taken_or_told(line: str, value: object) -> None:
    key = line.partition("=")[0]
    text = GOOD.replace(line, f"{key} = {toml(value)}", 1)
    try:
        scenario = parse(text, PATH)
    except ScenarioError:
        return  # nothing else may be raised
    assert scenario.users_most > 0


@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_an_error(text: str) -> None:
    with pytest.raises(ScenarioError):
        parse(text, PATH)


# ----------------------------------------------------------------------------------------------------------------- ramp


def test_the_ramp_is_straight_lines() -> None:
    ramp = Ramp(points=((0.0, 0), (10.0, 20), (20.0, 20), (30.0, 5)))
    assert [users_at(ramp, second) for second in (0, 5, 10, 15, 25, 29.99, 30)] == [0, 10, 20, 20, 12, 5, None]
    assert aim(ramp, 0.0, 0) == (2, 2.0)
    assert aim(ramp, 12.0, 20) == (20, 1.0)
    assert aim(ramp, 20.0, 20) == (18, 2.0)
    assert aim(ramp, 29.5, 6) == (5, 1.0)
    assert aim(ramp, 30.0, 5) is None


def test_a_scenario_is_scaled() -> None:
    scenario = parse(GOOD, PATH)
    assert scaled(scenario, 2.5).users_most == 50
    with pytest.raises(ValueError, match="above 0"):
        scaled(scenario, 0.0)
