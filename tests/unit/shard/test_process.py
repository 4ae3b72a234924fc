"""A shard process towards its gateways: which deltas may take each other's place, and who is told nothing any more."""

from cluster.records import SHARD, MemberRecord
from cluster.regions import Layout
from protocol import moving as moving_words
from protocol.border import Border
from protocol.carried import Kind
from protocol.link import RegionDelta, Upward
from shard.config import ShardConfig
from shard.core import ShardCore
from shard.process import BORDERS_MAX, ShardOut, ShardProcess

RATE_HZ = 20


def _process(orphan_s: float = 40.0) -> ShardProcess:
    core = ShardCore(ShardConfig(rate_hz=RATE_HZ, orphan_s=orphan_s))
    process = ShardProcess("s", MemberRecord(SHARD, "l"), Layout(128.0), core, 1)
    core.add_region(1, 1, start=False)
    return process


def _say(process: ShardProcess, member: str, gateway: int, seq: int, *, subscribe: bool = False) -> None:
    message = Upward(gateway, seq, 0, 1, subscribe=subscribe)
    process.received(member, Kind.UPWARD, message.encode(), 0.0)


def _told(out: ShardOut) -> list[tuple[str, int, int]]:
    """Deltas as (member, key, tick)."""
    sends = [send for send in out.sends if send.kind is Kind.DELTA]
    return [(send.member, send.key, RegionDelta.decode(send.data).tick) for send in sends]


def test_deltas_of_one_turn_never_take_each_others_place_and_those_of_the_next_turn_do() -> None:
    process = _process()
    _say(process, "g", 7, 1, subscribe=True)
    process.tick(1, 0.0)
    late, next_turn = _told(process.tick(9, 0.0)), _told(process.tick(10, 0.0))
    assert [tick for _, _, tick in late] == [5, 9]
    assert len({key for _, key, _ in late}) == 2
    assert [key for _, key, _ in next_turn] == [late[0][1]]


def test_a_gateway_that_is_started_again_takes_the_place_of_its_former_life() -> None:
    process = _process()
    for life in range(1, 50):
        _say(process, "g", life, 1, subscribe=True)
        process.tick(2 * life, 0.0)
        assert len(_told(process.tick(2 * life + 1, 0.0))) == 1
    _say(process, "h", 777, 1, subscribe=True)
    process.tick(100, 0.0)
    assert [member for member, _, _ in _told(process.tick(101, 0.0))] == ["g", "h"]


def test_a_region_forgets_gateways_that_are_silent_for_long() -> None:
    process = _process(orphan_s=2.0)
    gateways = process.core.regions[1].state.gateways
    _say(process, "g", 7, 1, subscribe=True)
    _say(process, "h", 8, 1, subscribe=True)
    for tick in range(1, 5 * RATE_HZ):
        _say(process, "h", 8, 1 + tick)
        process.tick(tick, 0.0)
    assert gateways.subscribed == [8]
    assert len(gateways) == 1, "nothing of it goes along when the region moves"
    _say(process, "g", 7, 2, subscribe=True)
    process.tick(5 * RATE_HZ, 0.0)
    assert gateways.subscribed == [7, 8]


def _offer(process: ShardProcess, gateways: dict[int, str]) -> None:
    word = moving_words.Offer(1, 2, 1, 1, b"", gateways)
    process.received("s2", Kind.MOVE, moving_words.encode(word), 0.0)


def test_numbers_of_former_lives_do_not_come_back_with_the_regions_of_other_shards() -> None:
    process = _process()
    for life in range(1, 20):
        _offer(process, {life: "g", 100: "h"})  # before it has spoken here: both may be right
        _say(process, "g", life, 1, subscribe=True)
        _offer(process, {life - 1: "g", life: "g", 100: "h"})  # from who has not heard of its end yet
        assert process.gateways_addressed == 2, "one of g, one of h"
        process.link_down("g", 0.0)
        assert process.gateways_addressed == 1
    process.link_down("h", 0.0)
    assert process.gateways_addressed == 0


def test_what_waits_for_a_step_is_bounded_whatever_is_said() -> None:
    process = _process()
    for seq in range(1, 1000):
        _say(process, "g", 7, seq)
        border = Border(2, 1, 1, 1, 1, seq)
        process.received("t", Kind.BORDER, border.encode(), 0.0)
    assert len(process._upward) == 64
    assert len(process._border) == BORDERS_MAX
    assert process._border[-1].tick == 999
