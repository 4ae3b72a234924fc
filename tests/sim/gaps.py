"""What a client notices of a planned move: the ticks between the frames that it applies, before, across and after it.

Measures state, not time: a frame names its tick. Not responsible for: whether the frames are right (``checkers``).
"""

from dataclasses import dataclass, field

from client import ClientCore
from tests.sim.people import People, Person

AROUND_TICKS = 20
"""So long after a switch its gaps count as the switch's: the new view fills up meanwhile."""


@dataclass(slots=True, eq=False)
class Switch:
    """One client went over to another gateway without losing the one before. ``across_ticks``: from the last frame of
    the old one to the first of the new one; ``after_ticks``: the largest gap of the new one's first frames."""

    person: int
    tick: int
    across_ticks: int
    after_ticks: int = 0

    @property
    def worst_ticks(self) -> int:
        return max(self.across_ticks, self.after_ticks)


@dataclass(slots=True, eq=False)
class _Seen:
    frames: int = 0
    welcomes: int = 0
    losses: int = 0
    tick: int = 0
    latest: Switch | None = None


@dataclass(slots=True, eq=False)
class Gaps:
    """Watches all ``folk`` from now on. ``usual_ticks``: the largest gap of those who did not switch lately."""

    folk: People
    switches: list[Switch] = field(default_factory=list)
    usual_ticks: int = 0
    lost: int = 0
    """Connections that ended before their client had the next one."""
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before, people = self.folk.shown, {id(person.core): person for person in self.folk.all}

        def shown(core: ClientCore) -> None:
            before(core)
            self._applied(people[id(core)])

        self.folk.shown = shown

    def _applied(self, person: Person) -> None:
        core, now = person.core, _Seen(person.core.stats.frames, person.core.stats.welcomes, person.events["Lost"])
        last = self._seen.get(person.number)
        if last is not None and now.frames == last.frames:
            return  # a frame of a connection that does not count any more
        now.tick = core.records.tick
        self._seen[person.number] = now
        if last is None:
            return
        if now.losses != last.losses:
            self.lost += now.losses - last.losses
            return
        gap_ticks = now.tick - last.tick
        if now.welcomes != last.welcomes:
            now.latest = Switch(person.number, now.tick, gap_ticks)
            self.switches.append(now.latest)
            return
        now.latest = last.latest
        if now.latest is not None and now.tick - now.latest.tick <= AROUND_TICKS:
            now.latest.after_ticks = max(now.latest.after_ticks, gap_ticks)
        else:
            self.usual_ticks = max(self.usual_ticks, gap_ticks)

    def worst(self) -> Switch | None:
        """The switch with the largest gap."""
        return max(self.switches, key=lambda switch: switch.worst_ticks, default=None)
