"""Acts of sessions: taken in once by the body that they are for, carried out in order of number, answered.

Part of two phases: ``hear`` in *ingest*, ``run`` and ``close`` in *behaviours*. Invariants: a body takes the act whose
number is the next, and no other; one that comes too early, at a moment at which it may not be taken, or that is to be
carried out in another region, is left, for its gateway says it again until it is answered; one that was taken before is
answered as before. Not responsible for: what actions do (``behaviours.runner``), what is remembered (``acting``),
committing.
"""

from collections.abc import Callable, Sequence
from typing import Any

from protocol.acting import AnswerCode
from protocol.border import Acted, Item
from protocol.messages import pack, unpack
from shard.acting import Answered, Heard
from shard.behaviours.answers import WHY_CHARS_MAX
from shard.behaviours.api import Elsewhere
from shard.behaviours.world import Asked
from shard.border import acts, calling
from shard.state import ShardState


def hear(state: ShardState, entry: Sequence[Any]) -> None:
    """An entry of ``Upward.acts``. What is for a body across a border goes after it."""
    session, generation, number, name, payload, body, first = entry[:7]
    seen = (entry[7], entry[8]) if len(entry) >= 9 else None
    row = state.row_of_session.get(session, -1)
    if row < 0:
        if away := acts.elsewhere(state, session, body):
            state.links.counts["acts forwarded"] += 1
            acts.send(state, away[1], Acted(session, generation, number, name, payload, away[0], first, seen))
        return
    columns = state.table.columns
    if columns["o.generation"][row] != generation:  # of a connection that is over: WELCOME has told what was taken
        return
    if number > columns["o.acted"][row]:
        state.acting.heard.setdefault(session, {})[number] = Heard(number, name, payload, first, seen)
        return
    state.links.counts["acts said again"] += 1
    if not state.acting.again(session, number):
        text = "it was done and answered before, and the answer is not kept any more"
        state.acting.told.append((session, number, pack([int(AnswerCode.FORGOTTEN), text])))


def take(state: ShardState, item: Item) -> bool:
    """An act that a neighbour passes on; False if the item is of another sort."""
    if not isinstance(item, Acted):
        return False
    entry = [item.session, item.generation, item.number, item.name, item.payload, item.body, item.first]
    hear(state, entry if item.seen is None else [*entry, *item.seen])
    return True


def run(state: ShardState, apply: Callable[[Asked, set[str]], None]) -> None:
    """Carry out what is next for each session, in the order in which they were heard. A loop over the acts of one
    tick: people do not act often."""
    state.acting.release()
    for session, heard in state.acting.heard.items():
        row = state.row_of_session.get(session, -1)
        if row < 0:
            continue
        # All below ``first`` was answered. A body that does not know of it is an older copy: what it knew more of went
        # with the process that crashed.
        first = max(act.first for act in heard.values())
        number = max(int(state.table.columns["o.acted"][row]) + 1, first)
        while number in heard and _may_take(state, session, row):
            act = heard[number]
            done = state.runner.act(row, act.name, act.payload, number, apply, act.seen)
            if isinstance(done, Elsewhere):
                if calling.call(state, row, done.thing):
                    break  # its gateway says it again, to the region that will have the body
                done = AnswerCode.REFUSED, done.why[:WHY_CHARS_MAX]
            calling.answered(state, row)
            code, value = done
            state.table.columns["o.acted"][row] = number  # looked up anew: spawning may have grown the table
            state.acting.answer(session, number, code, value)
            number += 1
        state.links.counts["looks at what cannot have been seen"] += state.world.take_unseen()
        state.links.counts["acts left"] += any(late >= number for late in heard)


def _may_take(state: ShardState, session: int, row: int) -> bool:
    """A body on its way to a neighbour takes nothing that would have to be committed here first."""
    if state.acting.durable and state.table.columns["h.handover"][row] != 0:
        return False
    return state.acting.has_room(session, state.tick)


def close(state: ShardState) -> list[Answered]:
    """After the behaviours: what the journal is to store, and what gateways are told (``state.answers``)."""
    answered = state.acting.close_step(state.tick)
    for session, number, encoded in state.acting.told:
        row = state.row_of_session.get(session, -1)
        if row >= 0:
            code, value = unpack(encoded)
            state.answers.append([session, number, code, value, int(state.table.columns["o.gateway"][row])])
    return answered
