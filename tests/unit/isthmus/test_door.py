"""The door: its names exist, are resolved when used, and others are refused with the list of what there is."""

import io
import json

import pytest
import structlog
from rich.console import Console

import isthmus
from isthmus.config import Logging
from isthmus.logging import configure
from isthmus.warmup import warm_up


def test_every_public_name_resolves() -> None:
    assert set(isthmus._HOMES) == set(isthmus.__all__)
    for name in isthmus.__all__:
        assert getattr(isthmus, name) is not None
    assert set(isthmus.__all__) <= set(dir(isthmus))


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="it has"):
        isthmus.__getattr__("nonsense")


def test_warm_up_runs_every_step_in_order() -> None:
    seen: list[str] = []
    output = io.StringIO()
    warm_up([("one", lambda: seen.append("one")), ("two", lambda: seen.append("two"))], Console(file=output))
    assert seen == ["one", "two"]


def test_warm_up_lets_a_failure_through() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        warm_up([("broken", broken)], Console(file=io.StringIO()))


def test_logs_are_json_lines_where_nobody_looks() -> None:
    stream = io.StringIO()
    configure(Logging(level="info"), stream)
    try:
        log = structlog.get_logger()
        log.debug("too small")
        log.info("joined", session=7)
    finally:
        structlog.reset_defaults()
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["event"], entry["session"]) == ("info", "joined", 7)
    assert entry["time"].endswith("Z")
