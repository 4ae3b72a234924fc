"""Bad lines, moves and the server's figures: what the shells are told, without sockets."""

from itertools import pairwise

import numpy as np

from client import ClientConfig, ClientCore
from loadtest.moves import Gathering, Oscillating, Standing, mover
from loadtest.scenario import Move, Trouble
from loadtest.scraping import Scraper, bound_of, member_of, samples_of
from loadtest.wire.trouble import Line


def line(trouble: Trouble, seed: int = 1) -> Line:
    return Line(trouble, np.random.default_rng(seed))


def test_loss_is_by_the_seed_and_as_much_as_asked_for() -> None:
    lost = [line(Trouble(loss=0.2), seed) for seed in (7, 7, 8)]
    a, b, c = ([each.loses() for _ in range(5000)] for each in lost)
    assert a == b
    assert a != c
    assert 900 < sum(a) < 1100
    assert lost[0].dropped == sum(a)
    assert not any(line(Trouble()).loses() for _ in range(100))


def test_stalls_come_as_often_as_asked_for_and_again_alike() -> None:
    def stalls(seed: int) -> list[float]:
        one = line(Trouble(stall_every_s=2.0, stall_s=0.5), seed)
        return [at_ms for at_ms in np.arange(0.0, 600_000.0, 50.0).tolist() if one.pause_s(at_ms, 100) == 0.5]

    assert stalls(3) == stalls(3)
    assert 180 < len(stalls(3)) < 300  # 600 s, one in 2.5


def test_a_slow_reader_reads_as_fast_as_it_may() -> None:
    assert line(Trouble(bytes_per_s=1000.0)).pause_s(0.0, 250) == 0.25
    assert line(Trouble()).pause_s(0.0, 10**6) == 0.0


class _Walker(ClientCore):
    """A core whose body is where a test says."""

    def __init__(self) -> None:
        super().__init__(ClientConfig(url="ws://nowhere"), lambda: 0.5)
        self.at = [0.0, 0.0]

    @property
    def position(self) -> tuple[float, float, float]:
        return self.at[0], 0.0, self.at[1]

    def go(self, metres: float) -> None:
        move_x, move_z = self._wish[:2]
        length = max(1.0, float(np.hypot(move_x, move_z)))
        self.at[0] += metres * move_x / length * bool(move_x or move_z)
        self.at[1] += metres * move_z / length * bool(move_x or move_z)


def test_a_crowd_gathers_and_stays_in_its_circle() -> None:
    move = Move(how="gather", centre_m=(100.0, -50.0), radius_m=60.0)
    core, steers = _Walker(), Gathering(move, np.random.default_rng(5))
    for k in range(4000):
        steers.steer(core, 250.0 * k)
        core.go(0.4)
        if k > 1000:
            assert np.hypot(core.at[0] - 100.0, core.at[1] + 50.0) <= 62.0


def test_oscillation_crosses_the_border_again_and_again() -> None:
    core, steers = _Walker(), Oscillating(Move(how="oscillate", radius_m=25.0), np.random.default_rng(5))
    sides = []
    for k in range(3000):
        steers.steer(core, 250.0 * k)
        core.go(0.8)
        sides.append(core.at[0] > 0)
    crossings = sum(a != b for a, b in pairwise(sides))
    assert crossings >= 40
    assert isinstance(mover(Move(how="stand"), np.random.default_rng(1)), Standing)


METRICS = """# HELP isthmus_ticks_total Ticks.
# TYPE isthmus_ticks counter
isthmus_ticks_total {ticks}
# TYPE isthmus_sessions gauge
isthmus_sessions{{state="live"}} 7.0
isthmus_sessions{{state="ended"}} 3.0
# TYPE isthmus_sent_bytes counter
isthmus_sent_bytes_total {sent}
# TYPE isthmus_tick_seconds histogram
isthmus_tick_seconds_bucket{{le="0.01"}} {quick}
isthmus_tick_seconds_bucket{{le="0.05"}} {ticks}
isthmus_tick_seconds_bucket{{le="+Inf"}} {ticks}
isthmus_tick_seconds_count {ticks}
isthmus_tick_seconds_sum {sum}
"""


def test_counters_become_rates_and_buckets_a_percentile() -> None:
    scraper = Scraper(None)
    before = samples_of(METRICS.format(ticks=100, sent=1000, quick=100, sum=0.5))
    after = samples_of(METRICS.format(ticks=140, sent=5000, quick=138, sum=1.3))
    status = {
        "members": [
            {"member": "shard-0", "kind": "shard", "load": 0.25, "regions": 4},
            {"member": "placer-0", "kind": "placer", "load": None, "regions": None},
        ]
    }
    scraper.heard("gateway", before, {}, 50.0)
    scraper.heard("gateway", after, status, 52.0)
    newest = {title: points[-1] for (title, _), points in scraper.series.items()}
    assert newest["ticks, 1/s"] == (52.0, 20.0)
    assert newest["sent, kB/s"] == (52.0, 2.0)
    assert newest["sessions"] == (52.0, 7.0)
    assert newest["tick, mean, ms"] == (52.0, 20.0)
    assert newest["tick, p99, ms at most"] == (52.0, 50.0)
    assert bound_of(before, after, "isthmus_tick_seconds", 0.9) == 0.01
    assert newest["load, of a core"] == (52.0, 0.25)
    assert ("regions", "shard-0") in scraper.series
    assert not any(who == "placer-0" for _, who in scraper.series)


def test_processes_of_a_cluster_have_their_members_names() -> None:
    assert member_of(["python", "-m", "isthmus", "shard", "w.toml", "--cluster-member", "shard-1"]) == "shard-1"
    assert member_of(["/usr/bin/etcd", "--name", "x"]) == "etcd"
    assert member_of([]) == "?"
