"""The own body: what is predicted is what the server decides, also at walls and late."""

from math import hypot

import numpy as np
import pytest

from client import ClientConfig, Corrected
from client.walk import Ground
from protocol.layouts import BUTTON_JUMP, BUTTON_RUN
from tests.unit.client.one_body import OneBody, Wire

YARD = (-30.0, -30.0, 30.0, 30.0)


def yard() -> Ground:
    """A yard with houses at odd angles, a low step and a narrow gap."""
    ground = Ground(YARD)
    ground.add(1, 0.0, 8.0, [[(4.0, -6.0), (12.0, -3.0), (10.0, 4.0), (3.0, 2.0)]])
    ground.add(2, 0.0, 8.0, [[(-9.0, -9.0), (-2.0, -9.5), (-3.0, -2.0), (-6.0, -4.0), (-8.5, -1.0)]])
    ground.add(3, 0.0, 8.0, [[(-6.0, 3.0), (-1.0, 4.0), (-2.0, 9.0), (-7.0, 8.0)]])
    ground.add(4, 0.0, 0.25, [[(-1.0, 4.5), (2.5, 3.0), (3.0, 8.0), (-0.5, 9.0)]])
    return ground


@pytest.mark.parametrize(("input_hz", "buttons"), [(20.0, 0), (10.0, BUTTON_RUN), (37.0, BUTTON_RUN)])
def test_scraping_along_walls_at_100_ms_is_never_corrected_by_more_than_5_cm(input_hz: float, buttons: int) -> None:
    rng = np.random.default_rng(7)
    ground = yard()
    wire = Wire(OneBody(ground), ClientConfig(url="ws://a/ws", input_hz=input_hz))
    wire.core.set_ground(ground)
    wire.run(500.0)
    touched = 0

    def wander() -> None:
        nonlocal touched
        touched += hypot(*wire.core.velocity[::2]) < 2.0
        if rng.random() < 0.02:
            wire.core.steer_towards(float(rng.uniform(0, 7)), 1.0, buttons | (BUTTON_JUMP if rng.random() < 0.1 else 0))

    wire.run(60_000.0, wander)
    assert touched > 200, "the walk must meet walls"
    assert wire.core.stats.correction_m_max <= 0.05
    assert wire.core.stats.corrections == 0
    wire.core.steer(0.0, 0.0)
    wire.run(1000.0)
    b = wire.server.body
    assert wire.core.position == pytest.approx((b.x, b.y, b.z), abs=0.015)


def test_what_the_server_moves_is_taken_over_and_reported() -> None:
    wire = Wire(OneBody(Ground(YARD)))
    wire.core.set_ground(wire.server.ground)
    wire.run(300.0)
    wire.core.steer(1.0, 0.0)
    wire.run(500.0)
    wire.server.body.z += 0.4
    wire.server.moved = True
    wire.run(500.0)
    corrected = [e for e in wire.events if isinstance(e, Corrected)]
    assert len(corrected) == 1
    assert corrected[0].by_server
    assert corrected[0].distance_m == pytest.approx(0.4, abs=0.01)
    assert wire.core.stats.corrections == 0
    assert wire.core.stats.pushes == 1
    assert wire.core.position is not None
    assert wire.core.position[2] == pytest.approx(0.4, abs=0.01)


def test_an_unknown_wall_is_corrected_once_for_each_command_at_most_and_ends_where_the_server_says() -> None:
    ground = yard()
    wire = Wire(OneBody(ground))
    wire.core.set_ground(Ground(YARD))
    wire.run(300.0)
    wire.core.steer(1.0, 0.0)
    wire.run(3000.0)
    wire.core.steer(0.0, 0.0)
    wire.run(1000.0)
    b = wire.server.body
    assert wire.core.stats.corrections > 0
    assert wire.core.position == pytest.approx((b.x, b.y, b.z), abs=0.015)


def test_without_prediction_the_body_is_where_the_server_says() -> None:
    wire = Wire(OneBody(Ground(YARD)), ClientConfig(url="ws://a/ws", predict=False))
    wire.run(300.0)
    wire.core.steer(0.0, -1.0)
    wire.run(1000.0)
    assert wire.core.stats.corrections == 0
    wire.core.steer(0.0, 0.0)
    wire.run(1000.0)
    assert wire.core.position is not None
    assert wire.core.position[2] == pytest.approx(wire.server.body.z, abs=0.005)
    assert wire.server.body.z < -2.0


def test_a_body_at_rest_says_no_more_than_acks() -> None:
    wire = Wire(OneBody(Ground(YARD)))
    wire.core.set_ground(wire.server.ground)
    wire.run(1000.0)
    before = wire.core.stats.inputs
    said = len(wire.server.heard)
    wire.run(2000.0)
    assert wire.core.stats.inputs == before
    assert 9 <= len(wire.server.heard) - said <= 11


def test_walked_time_never_exceeds_real_time() -> None:
    wire = Wire(OneBody(Ground(YARD)))
    wire.core.set_ground(wire.server.ground)
    wire.run(500.0)
    x0 = wire.server.body.x
    wire.core.steer(1.0, 0.0)
    for _ in range(20):
        wire.run(100.0)
        wire.now_ms += 400.0  # the program is held up
    wire.run(200.0)
    # 20 × 0.5 s walked at 3 m/s is the most; held-up time beyond 30 steps of a command is lost.
    assert wire.server.body.x - x0 <= 3.0 * 10.4
