"""What all people of a simulation notice of planned moves (``tests.noticed``)."""

from dataclasses import dataclass, field

from client import ClientCore
from tests.noticed import FrameWatch, Switch
from tests.sim.people import People, Person


@dataclass(slots=True, eq=False)
class Gaps:
    """Watches all ``folk`` from now on."""

    folk: People
    _watches: dict[int, tuple[Person, FrameWatch]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before = self.folk.shown
        self._watches = {id(person.core): (person, FrameWatch(person.number)) for person in self.folk.all}

        def shown(core: ClientCore) -> None:
            before(core)
            person, watch = self._watches[id(core)]
            watch.received(core, person.events["Lost"])

        self.folk.shown = shown

    @property
    def switches(self) -> list[Switch]:
        """Of all people."""
        return [switch for _, watch in self._watches.values() for switch in watch.switches]

    @property
    def usual_ticks(self) -> int:
        """The largest gap of those who did not switch lately."""
        return max(watch.usual_ticks for _, watch in self._watches.values())

    @property
    def lost(self) -> int:
        """Connections that ended before their client had the next one."""
        return sum(watch.lost for _, watch in self._watches.values())

    def worst(self) -> Switch | None:
        """The switch with the largest gap."""
        return max(self.switches, key=lambda switch: switch.worst_ticks, default=None)
