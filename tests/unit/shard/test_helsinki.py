"""Helsinki's inhabitants on the real map: they get along, keep out of walls, and do not cost calls by number."""

import importlib.util
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from bridges.places import load_place
from kernels.walk import fit_at
from protocol.place import Place
from shard.behaviours.api import Script
from shard.config import ShardConfig
from shard.region import RegionCore
from shard.world.checks import broken
from tests.counting import Work
from tests.unit.shard.worlds import attach, command, inputs

BEHAVIOURS = Path(__file__).parents[3] / "examples" / "helsinki" / "behaviours.py"


@pytest.fixture(scope="module")
def helsinki(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return load_place("helsinki", tmp_path_factory.mktemp("places"))


CALLS_OF_CHANGE, LINES_OF_CHANGE = 14, 24


def world(place: Place, inhabitants: int) -> RegionCore:
    spec = importlib.util.spec_from_file_location("example_helsinki", BEHAVIOURS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    script: Script = module.script
    options = {"inhabitants_count": inhabitants, "props_count": 30}
    return RegionCore(ShardConfig(), place, [script], options=options)


def test_inhabitants_get_along_and_keep_out_of_walls(helsinki: Place) -> None:
    core = world(helsinki, 200)
    table = core.state.table
    core.step(1, [attach(1, *range(1, 21))])
    core.step(2)
    rows = table.rows(core.state.registry.kind_number["inhabitant"])
    length = np.zeros(len(rows))
    last = table.pos[rows].copy()
    for tick in range(3, 603):
        assert core.step(tick).faults == []
        length += np.linalg.norm(table.pos[rows] - last, axis=1)
        last = table.pos[rows].copy()
    assert length.mean() > 20
    assert length.min() > 3
    fits = np.zeros(len(rows), np.uint8)
    fit_at(core.state.ground.walk, last, fits)
    assert fits.mean() > 0.99
    assert broken(core.state) == []


def work_of_steps(place: Place, inhabitants: int, people: int) -> tuple[Work, int]:
    """Of twenty steps: what ran, and how many bodies were given or taken in physics."""
    core = world(place, inhabitants)
    given = core.step(1, [attach(1, *range(1, people + 1))]).delta.attached
    work, changes = Work(), 0
    for tick in range(2, 42):
        changes = core.state.exchange.changes if tick == 22 else changes
        message = inputs(tick, given[0], [])
        message.input_row = np.array([body[3] for body in given], np.uint32)
        message.input_generation = np.array([body[4] for body in given], np.uint32)
        message.input_seq = np.full(people, tick, np.uint32)
        message.input_command = np.concatenate([command(127)] * people)
        with work.counting() if tick >= 22 else nullcontext():
            core.step(tick, [message])
    return work, core.state.exchange.changes - changes


def test_calls_in_a_step_do_not_depend_on_the_number_of_entities(helsinki: Place) -> None:
    """But for who comes near a thing that moves, or leaves it: at Helsinki's density one in fifty in a step."""
    few, few_changes = work_of_steps(helsinki, 100, 20)
    many, many_changes = work_of_steps(helsinki, 2000, 1000)
    more = many_changes - few_changes
    assert more < 20 * 3000 / 50
    assert few.calls <= many.calls <= 1.05 * few.calls + CALLS_OF_CHANGE * more
    assert few.lines <= many.lines <= 1.05 * few.lines + LINES_OF_CHANGE * more
