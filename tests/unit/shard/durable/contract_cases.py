"""What every durable store has to do, as test methods: a class that inherits them gives a ``place`` fixture.

Not collected here: test_model.py beside it and tests/integration/durable/test_contract.py run it.
"""

import asyncio
from typing import Any, Protocol

import pytest

from shard.durable.contract import (
    ActionRow,
    Away,
    Batch,
    Committed,
    Durable,
    EntityRow,
    Fenced,
    Gone,
    Limits,
    Loaded,
    NoteRow,
    PoseRow,
    WorldIdentity,
)
from shard.durable.spans import span_of

LEAF_LEVEL = 3
WORLD = WorldIdentity("harbour", 1 << 70, 1024.0, LEAF_LEVEL)
"""The seed is larger than what engines have for numbers."""
WHOLE = span_of(1, LEAF_LEVEL)
FORGETFUL = Limits(session_kept_s=-100, tombstone_kept_s=-100)
"""Prunes whatever may be pruned, whatever time it is."""


class Place(Protocol):
    """Where one empty store is."""

    async def open(self, limits: Limits | None = None) -> Durable:
        """One more client of it, for the world WORLD; closed by the fixture."""


def leaf(region: int, nth: int = 0) -> int:
    """One of a region's leaves."""
    return span_of(region, LEAF_LEVEL).first + nth


def entity(id: int, hop: int = 1, region: int = 1, data: bytes = b"data", nth: int = 0) -> EntityRow:
    """A row in a region."""
    return EntityRow(id, hop, leaf(region, nth), data)


async def whole(store: Durable) -> Loaded:
    """All of the world."""
    return await store.load(*WHOLE)


async def put(
    store: Durable, *entities: EntityRow, region: int = 1, epoch: int = 1, tick: int = 10, **rest: Any
) -> Committed:
    """Fence the region and commit."""
    await store.fence(region, epoch)
    return await store.commit(Batch(region, epoch, tick, entities, **rest))


class DurableContract:
    """Inherit, and give the fixture ``place``."""

    # -------------------------------------------------------------------------------------------------- ownership

    async def test_an_empty_store_has_nothing(self, place: Place) -> None:
        store = await place.open()
        assert await whole(store) == Loaded(0, [], [], [], [])
        assert await store.newest_epoch(1) == 0

    async def test_nobody_commits_without_a_fence(self, place: Place) -> None:
        store = await place.open()
        with pytest.raises(Fenced) as info:
            await store.commit(Batch(1, 1, 1, [entity(1)]))
        assert info.value.epoch == 0
        assert (await whole(store)).entities == []

    async def test_a_higher_epoch_than_was_fenced_does_not_commit(self, place: Place) -> None:
        store = await place.open()
        await store.fence(1, 3)
        with pytest.raises(Fenced) as info:
            await store.commit(Batch(1, 4, 1, [entity(1)]))
        assert info.value.epoch == 3
        assert (await whole(store)).entities == []

    async def test_a_fence_of_a_neighbour_is_none(self, place: Place) -> None:
        store = await place.open()
        await store.fence(5, 3)
        with pytest.raises(Fenced) as info:
            await store.commit(Batch(4, 3, 1))
        assert info.value.epoch == 0

    @pytest.mark.parametrize(
        ("mine", "other"), [(4, 4), (4, 1), (16, 1), (1, 4), (1, 21), (4, 17), (17, 4)], ids=lambda region: f"r{region}"
    )
    async def test_a_fence_stops_former_owners_of_any_part(self, place: Place, mine: int, other: int) -> None:
        old, new = await place.open(), await place.open()
        await put(old, entity(1, region=mine), region=mine, epoch=5)
        await new.fence(other, 6)
        with pytest.raises(Fenced) as info:
            await old.commit(Batch(mine, 5, 11, [entity(1, 2, mine)]))
        assert info.value.epoch == 6
        with pytest.raises(Fenced) as info:
            await old.fence(mine, 5)
        assert info.value.epoch == 6
        assert (await whole(new)).entities == [entity(1, region=mine)]
        assert await new.newest_epoch(mine) == await old.newest_epoch(other) == 6

    async def test_a_fence_leaves_others_alone(self, place: Place) -> None:
        store = await place.open()
        await store.fence(5, 3)
        await store.fence(20, 4)
        await store.fence(4, 9)
        assert await store.commit(Batch(20, 4, 1)) == Committed([])
        assert [await store.newest_epoch(region) for region in (1, 4, 16, 5, 20, 21, 6)] == [9, 9, 9, 4, 4, 4, 0]

    async def test_notes_are_found_where_regions_overlap(self, place: Place) -> None:
        store = await place.open()
        await put(store, region=4, note=b"four")
        await put(store, region=4, tick=11)
        assert (await store.load(*span_of(4, LEAF_LEVEL))).notes == [NoteRow(4, 10, b"four")]
        assert (await store.load(*span_of(5, LEAF_LEVEL))).notes == []
        await put(store, region=16, epoch=2, tick=12, note=b"sixteen")
        await put(store, region=1, epoch=3, tick=13, note=b"one")
        notes = [NoteRow(1, 13, b"one"), NoteRow(4, 10, b"four"), NoteRow(16, 12, b"sixteen")]
        assert (await (await place.open()).load(*span_of(16, LEAF_LEVEL))).notes == notes

    async def test_hops_are_told_of_whoever_is_known(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1, 3), entity(2**63 + 5, 4), entity(9), gone=[Gone(7, 2)])
        assert await store.hops([1, 2**63 + 5, 7, 8]) == {1: 3, 2**63 + 5: 4, 7: 2}
        assert await store.hops([]) == {}

    async def test_the_same_fence_again_changes_nothing(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1))
        await store.fence(1, 1)
        assert await store.commit(Batch(1, 1, 11, [entity(1, data=b"new")])) == Committed([])

    async def test_quarters_are_fenced_under_one_epoch(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1, region=16), entity(2, region=31), epoch=3)
        for region in (4, 5, 6, 7):
            await store.fence(region, 4)
        for region in (4, 5, 6, 7):
            await store.commit(Batch(region, 4, 20))
        loaded = await store.load(*span_of(7, LEAF_LEVEL))
        assert (loaded.tick, [row.id for row in loaded.entities]) == (20, [2])
        with pytest.raises(Fenced):
            await store.commit(Batch(1, 3, 21))

    async def test_of_two_owners_at_once_one_commits(self, place: Place) -> None:
        a, b = await place.open(), await place.open()
        await asyncio.gather(a.fence(4, 1), b.fence(5, 1))

        async def race(store: Durable, region: int, epoch: int) -> bool:
            try:
                await store.fence(region, epoch)
                await store.commit(Batch(region, epoch, epoch))
            except Fenced:
                return False
            return True

        for epoch in range(2, 12, 2):
            await asyncio.gather(race(a, 4, epoch), race(b, 1, epoch + 1))
            with pytest.raises(Fenced):
                await a.commit(Batch(4, epoch, 1))
            await b.commit(Batch(1, epoch + 1, 1))

    # --------------------------------------------------------------------------------------------------- entities

    async def test_what_is_committed_is_loaded_by_span(self, place: Place) -> None:
        store = await place.open()
        rows = [entity(n, n, 4 + n % 4, bytes([n]) * n, n % 3) for n in range(1, 30)]
        await put(store, *reversed(rows), tick=77)
        again = await place.open()
        loaded = await whole(again)
        assert loaded == Loaded(77, rows, [], [], [])
        only = await again.load(*span_of(6, LEAF_LEVEL))
        assert only.entities == [row for row in rows if row.id % 4 == 2]
        first = span_of(6, LEAF_LEVEL).first
        assert {row.leaf for row in (await again.load(first, first + 1)).entities} == {first, first + 1}

    async def test_numbers_take_all_their_bits(self, place: Place) -> None:
        store = await place.open()
        ids = [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
        rows = [EntityRow(id, (1 << 63) - 1, WHOLE.first, b"") for id in ids]
        actions = [ActionRow(id, (1 << 63) - 1, 0, b"") for id in ids]
        await put(store, *rows, epoch=(1 << 63) - 1, tick=(1 << 63) - 1, actions=actions)
        assert await whole(store) == Loaded((1 << 63) - 1, rows, [], actions, [])
        committed = await store.commit(Batch(1, (1 << 63) - 1, 0, [EntityRow(id, 0, WHOLE.first, b"") for id in ids]))
        assert committed.refused == ids

    async def test_many_rows_in_one_batch(self, place: Place) -> None:
        store = await place.open()
        rows = [EntityRow(id, 1, WHOLE.first + id % 64, id.to_bytes(8, "big") * 4) for id in range(12_000)]
        assert await put(store, *rows) == Committed([])
        assert (await whole(store)).entities == rows

    async def test_an_older_hop_is_refused_and_an_equal_one_overwrites(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1, 5), entity(2, 5), entity(3, 5))
        batch = Batch(1, 1, 11, [entity(3, 4, data=b"late"), entity(1, 5, data=b"equal"), entity(2, 6, data=b"newer")])
        assert await store.commit(batch) == Committed([3])
        assert (await whole(store)).entities == [entity(1, 5, data=b"equal"), entity(2, 6, data=b"newer"), entity(3, 5)]

    async def test_a_crossing_moves_the_row(self, place: Place) -> None:
        source, target = await place.open(), await place.open()
        await put(source, entity(1, 1, 4), region=4)
        await put(target, entity(1, 2, 5), region=5)
        assert await source.commit(Batch(4, 1, 12, [entity(1, 1, 4, b"late")])) == Committed([1])
        assert (await source.load(*span_of(4, LEAF_LEVEL))).entities == []
        assert (await source.load(*span_of(5, LEAF_LEVEL))).entities == [entity(1, 2, 5)]

    async def test_the_same_batch_again_changes_nothing(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(9, 2))
        batch = Batch(
            1,
            1,
            12,
            [entity(1), entity(2, 3)],
            [Gone(9, 2)],
            [PoseRow(WHOLE.first, 4, b"pose")],
            [ActionRow(7, 1, 12, b"yes")],
        )
        assert await store.commit(batch) == Committed([])
        before = await whole(store)
        assert await store.commit(batch) == Committed([])
        assert await whole(store) == before

    async def test_what_has_gone_stays_gone(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1, 5), entity(2, 5), entity(3, 5))
        gone = [Gone(1, 5), Gone(2, 4), Gone(4, 2)]
        assert await store.commit(Batch(1, 1, 11, gone=gone)) == Committed([2])
        late = [entity(1, 5), entity(4, 1)]
        assert await store.commit(Batch(1, 1, 12, late)) == Committed([1, 4])
        assert [row.id for row in (await whole(store)).entities] == [2, 3]
        assert await store.commit(Batch(1, 1, 13, gone=[Gone(1, 5), Gone(4, 1)])) == Committed([4])
        # One that goes on elsewhere had the higher hop.
        assert await store.commit(Batch(1, 1, 14, [entity(1, 6), entity(4, 2)])) == Committed([4])
        assert [row.id for row in (await whole(store)).entities] == [1, 2, 3]

    async def test_tombstones_are_pruned(self, place: Place) -> None:
        store = await place.open(FORGETFUL)
        await put(store, entity(1, 5), entity(2, 5), gone=[Gone(3, 7)])
        await store.commit(Batch(1, 1, 11, gone=[Gone(1, 5)]))
        await store.prune()
        assert [row.id for row in (await whole(store)).entities] == [2]
        assert await store.commit(Batch(1, 1, 12, [entity(1, 1)])) == Committed([])

    async def test_tombstones_are_kept_for_their_time(self, place: Place) -> None:
        store = await place.open()
        await put(store, gone=[Gone(3, 7)], actions=[ActionRow(1, 1, 1, b"")])
        await store.prune()
        assert await store.commit(Batch(1, 1, 12, [entity(3, 7)])) == Committed([3])
        assert (await whole(store)).actions == [ActionRow(1, 1, 1, b"")]

    # ------------------------------------------------------------------------------------------ poses and actions

    async def test_the_newest_poses_of_each_leaf_are_loaded(self, place: Place) -> None:
        store = await place.open()
        await store.fence(1, 1)
        for second in (5, 7, 6, 9, 8):
            poses = [PoseRow(leaf(region), second, b"%d" % second) for region in (4, 5)]
            await store.commit(Batch(1, 1, second, poses=poses))
        await store.commit(Batch(1, 1, 10, poses=[PoseRow(leaf(5), 9, b"again"), PoseRow(leaf(6), 1, b"")]))
        assert (await whole(store)).poses == [
            PoseRow(leaf(4), 9, b"9"),
            PoseRow(leaf(5), 9, b"again"),
            PoseRow(leaf(6), 1, b""),
        ]
        assert (await store.load(*span_of(5, LEAF_LEVEL))).poses == [PoseRow(leaf(5), 9, b"again")]

    async def test_the_first_answer_stays(self, place: Place) -> None:
        store = await place.open()
        await put(store, actions=[ActionRow(7, 1, 10, b"first"), ActionRow(8, 1, 10, b"other")])
        await store.commit(Batch(1, 1, 20, actions=[ActionRow(7, 1, 20, b"second"), ActionRow(7, 2, 20, b"")]))
        assert (await whole(store)).actions == [
            ActionRow(7, 1, 10, b"first"),
            ActionRow(7, 2, 20, b""),
            ActionRow(8, 1, 10, b"other"),
        ]

    async def test_the_newest_actions_are_kept(self, place: Place) -> None:
        store = await place.open()
        await put(store, actions=[ActionRow(7, n, 1, b"%d" % n) for n in range(60)])
        await store.commit(Batch(1, 1, 2, actions=[ActionRow(7, n, 1, b"%d" % n) for n in range(60, 100)]))
        # One that comes again is over already.
        await store.commit(Batch(1, 1, 2, actions=[ActionRow(7, 35, 1, b"35"), ActionRow(8, 1, 1, b"")]))
        kept = [ActionRow(7, n, 1, b"%d" % n) for n in range(36, 100)]
        assert (await whole(store)).actions == [*kept, ActionRow(8, 1, 1, b"")]

    async def test_a_journal_is_where_its_session_was_named_last(self, place: Place) -> None:
        store = await place.open()
        first, second = ActionRow(7, 1, 10, b"first"), ActionRow(7, 2, 11, b"second")
        await put(store, region=4, tick=10, actions=[first, second])
        assert (await store.load(*span_of(5, LEAF_LEVEL))).actions == []
        await put(store, region=5, tick=12, actions=[second])
        # A batch of the former place that comes late does not call it back.
        await store.commit(Batch(4, 1, 11, actions=[second]))
        assert (await store.load(*span_of(4, LEAF_LEVEL))).actions == []
        for region in (1, 5, 20, 22):
            assert (await store.load(*span_of(region, LEAF_LEVEL))).actions == [first, second]

    async def test_sessions_unheard_of_are_pruned(self, place: Place) -> None:
        store = await place.open(FORGETFUL)
        await put(store, entity(1), actions=[ActionRow(7, 1, 10, b"")])
        await store.prune()
        assert await whole(store) == Loaded(10, [entity(1)], [], [], [])

    # ------------------------------------------------------------------------------------------------------- ticks

    async def test_the_tick_is_the_newest_of_all_that_overlap(self, place: Place) -> None:
        store = await place.open()
        await store.fence(4, 1)
        assert (await whole(store)).tick == 0
        await put(store, region=4, epoch=1, tick=50)
        await put(store, region=5, epoch=1, tick=60)
        await store.commit(Batch(4, 1, 40))
        ticks = [(await store.load(*span_of(region, LEAF_LEVEL))).tick for region in (1, 4, 16, 5, 6)]
        assert ticks == [60, 50, 50, 60, 0]

    # -------------------------------------------------------------------------------------------------- the calls

    async def test_a_batch_is_whole_or_not_at_all(self, place: Place) -> None:
        store = await place.open()
        await put(store, entity(1))
        before = await whole(store)
        await store.fence(1, 2)
        with pytest.raises(Fenced):
            await store.commit(Batch(1, 1, 99, [entity(2)], [Gone(1, 9)], actions=[ActionRow(1, 1, 1, b"")]))
        assert await whole(store) == before

    async def test_commits_at_once_do_not_take_each_other_along(self, place: Place) -> None:
        store = await place.open()
        await store.fence(4, 1)
        await store.fence(5, 2)
        batches = [Batch(4 + n % 2, 1, n, [entity(n, region=4 + n % 2)]) for n in range(1, 40)]
        outcomes = await asyncio.gather(*map(store.commit, batches), return_exceptions=True)
        assert [isinstance(outcome, Fenced) for outcome in outcomes] == [n % 2 == 1 for n in range(1, 40)]
        assert [row.id for row in (await whole(store)).entities] == list(range(2, 40, 2))

    async def test_two_clients_on_the_same_entities(self, place: Place) -> None:
        a, b = await place.open(), await place.open()
        await a.fence(4, 1)
        await b.fence(5, 1)
        for hop in range(1, 9):
            here = [entity(n, hop, 4) for n in range(50)]
            there = [entity(n, hop + 1, 5) for n in reversed(range(50))]
            _, committed = await asyncio.gather(a.commit(Batch(4, 1, 1, here)), b.commit(Batch(5, 1, 1, there)))
            assert committed == Committed([])
            assert (await whole(a)).entities == there[::-1]

    @pytest.mark.parametrize(
        "batch",
        [
            Batch(2, 1, 1),
            Batch(0, 1, 1),
            Batch(1 << 8, 1, 1),
            Batch(1, 0, 1),
            Batch(1, 1, -1),
            Batch(4, 1, 1, [entity(1, region=5)]),
            Batch(4, 1, 1, poses=[PoseRow(leaf(5), 1, b"")]),
            Batch(1, 1, 1, [entity(1), entity(1, 2)]),
            Batch(1, 1, 1, [entity(1)], [Gone(1, 1)]),
            Batch(1, 1, 1, [entity(-1)]),
            Batch(1, 1, 1, [entity(1 << 64)]),
            Batch(1, 1, 1, [entity(1, -1)]),
            Batch(1, 1, 1, poses=[PoseRow(leaf(5), 1, b""), PoseRow(leaf(5), 1, b"x")]),
            Batch(1, 1, 1, actions=[ActionRow(1, 1, 1, b""), ActionRow(1, 1, 2, b"")]),
            Batch(1, 1, 1, [entity(1, data=bytes((16 << 20) + 1))]),
        ],
        ids=range(15),
    )
    async def test_a_batch_that_is_wrong_in_itself_is_a_mistake(self, place: Place, batch: Batch) -> None:
        store = await place.open()
        await store.fence(1, 1)
        with pytest.raises(ValueError, match=r"."):
            await store.commit(batch)
        assert await whole(store) == Loaded(0, [], [], [], [])

    async def test_wrong_regions_and_leaves_are_mistakes(self, place: Place) -> None:
        store = await place.open()
        for region in (0, 2, 3, 1 << 8):
            with pytest.raises(ValueError, match="region"):
                await store.fence(region, 1)
            with pytest.raises(ValueError, match="region"):
                await store.newest_epoch(region)
        with pytest.raises(ValueError, match="epoch"):
            await store.fence(1, 0)
        for first, last in ((WHOLE.first - 1, WHOLE.last), (WHOLE.first, WHOLE.last + 1), (WHOLE.last, WHOLE.first)):
            with pytest.raises(ValueError, match="leaves"):
                await store.load(first, last)

    async def test_a_closed_store_is_away(self, place: Place) -> None:
        store = await place.open()
        await store.close()
        await store.close()
        for call in (store.fence(1, 1), store.load(*WHOLE), store.commit(Batch(1, 1, 1)), store.newest_epoch(1)):
            with pytest.raises(Away, match="closed"):
                await call
