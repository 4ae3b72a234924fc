"""Trajectories: seamless, repeatable, of the density and restlessness that they claim."""

from pathlib import Path

import numpy as np
import pytest

from bench.trajectory import COLUMNS, RATE_HZ, Motion, ensure, generate, load, mean_visible

CLIENTS, ENTITIES = 20, 200


@pytest.mark.parametrize("motion", ["restless", "waypoint"])
def test_same_parameters_give_the_same_motion(motion: Motion) -> None:
    first, second = generate(motion, 30, 200.0, 7), generate(motion, 30, 200.0, 7)
    assert all(np.array_equal(first[name], second[name]) for name in COLUMNS)
    assert not np.array_equal(first["x"], generate(motion, 30, 200.0, 8)["x"])


@pytest.mark.parametrize("motion", ["restless", "waypoint"])
def test_the_loop_has_no_seam(motion: Motion) -> None:
    c = generate(motion, 100, 300.0, 3)
    steps = np.hypot(np.diff(c["x"], axis=0), np.diff(c["z"], axis=0))
    seam = np.hypot(c["x"][0] - c["x"][-1], c["z"][0] - c["z"][-1])
    assert seam.max() <= steps.max() + 1e-9


def test_restless_motion_is_as_restless_as_it_claims() -> None:
    c = generate("restless", 300, 300.0, 3)
    ax, az = (np.diff(c[name], axis=0) * RATE_HZ for name in ("vx", "vz"))
    assert np.sqrt(np.mean(ax**2 + az**2)) == pytest.approx(1.0, rel=0.01)
    # The position is the integral of a velocity that is linear within a tick.
    np.testing.assert_allclose(np.diff(c["x"], axis=0), (c["vx"][1:] + c["vx"][:-1]) / (2 * RATE_HZ), atol=1e-9)


def test_waypoint_legs_are_straight_and_keep_their_speed() -> None:
    c = generate("waypoint", 200, 300.0, 3)
    speed = np.hypot(c["vx"], c["vz"])
    assert 1.49 < speed.min() < speed.max() < 5.01
    turns = np.abs(np.diff(c["vx"], axis=0)) > 1e-9
    assert turns.mean() < 0.01


def test_density_is_calibrated_and_files_are_reused(tmp_path: Path) -> None:
    made = ensure(tmp_path, "restless", CLIENTS, ENTITIES, 12)
    assert made.header.mean_visible == pytest.approx(12, rel=0.03)
    seen = mean_visible(made.x.astype(np.float64), made.z.astype(np.float64), CLIENTS, 50.0)
    assert seen == pytest.approx(made.header.mean_visible, rel=0.001)
    assert ensure(tmp_path, "restless", CLIENTS, ENTITIES, 12).header == made.header
    assert made.x.dtype == np.float32
    assert made.row(made.header.ticks + 3) == 3


def test_another_version_is_refused(tmp_path: Path) -> None:
    made = ensure(tmp_path, "waypoint", 2, 20, 5)
    header = made.path / "header.json"
    header.write_text(header.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(ValueError, match="make it anew"):
        load(made.path)
