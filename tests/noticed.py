"""What a client notices of a planned move: the ticks between the frames that it applies, before, across and after it.

Measures state, not time: a frame names its tick. Used by the simulator and with real sockets. Not responsible for:
whether the frames are right.
"""

from dataclasses import dataclass, field

from client import ClientCore

AROUND_TICKS = 20
"""So long after a switch its gaps count as the switch's: the new view fills up meanwhile."""


@dataclass(slots=True, eq=False)
class Switch:
    """A client went over to another gateway without losing the one before. ``across_ticks``: from the last frame of the
    old one to the first of the new one; ``after_ticks``: the largest gap of the new one's first frames."""

    client: int
    tick: int
    across_ticks: int
    after_ticks: int = 0

    @property
    def worst_ticks(self) -> int:
        return max(self.across_ticks, self.after_ticks)


@dataclass(slots=True, eq=False)
class FrameWatch:
    """Watches one client, whose number is for reports. ``usual_ticks``: the largest gap when it did not switch lately;
    ``lost``: connections that ended before it had the next one."""

    client: int
    switches: list[Switch] = field(default_factory=list)
    usual_ticks: int = 0
    lost: int = 0
    _frames: int = 0
    _welcomes: int = 0
    _losses: int = 0
    _tick: int = 0

    def received(self, core: ClientCore, losses: int) -> None:
        """A message came. ``losses``: how often the client has lost its gateway so far."""
        frames, welcomes, tick = core.stats.frames, core.stats.welcomes, core.records.tick
        if frames == self._frames:
            return  # not a frame, or one of a connection that does not count any more
        gap_ticks, is_first = tick - self._tick, self._frames == 0
        switched, lost = welcomes != self._welcomes, losses - self._losses
        self._frames, self._welcomes, self._losses, self._tick = frames, welcomes, losses, tick
        if is_first:
            return
        if lost:
            self.lost += lost
        elif switched:
            self.switches.append(Switch(self.client, tick, gap_ticks))
        elif self.switches and not self.settled(core):
            latest = self.switches[-1]
            latest.after_ticks = max(latest.after_ticks, gap_ticks)
        else:
            self.usual_ticks = max(self.usual_ticks, gap_ticks)

    def settled(self, core: ClientCore) -> bool:
        """Whether its latest switch is over."""
        return bool(self.switches) and core.records.tick - self.switches[-1].tick > AROUND_TICKS
