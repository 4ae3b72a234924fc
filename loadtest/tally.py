"""All that a load run measured, by second and by kind of user: small sums and histograms that add up.

Decides the granularity: one cell for each second of wall-clock time and entry of the mix. A process tallies what its
clients see; ``take`` empties it into plain values for a message, and ``merge`` adds such a message to another tally, so
the master's is that of all workers. Invariant: what was taken and merged is counted once. Not responsible for: clocks
(seconds are told), what figures mean (``figures``).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from loadtest.histogram import Histogram

GENERATOR = "(generator)"
"""The entry under which a process tallies what concerns itself."""


@dataclass(slots=True)
class Cell:
    """One second of one entry."""

    counts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def sample(self, name: str, value: float) -> None:
        """One value of a sampled figure."""
        found = self.histograms.get(name)
        if found is None:
            found = self.histograms[name] = Histogram()
        found.add(value)

    def count(self, name: str, many: float = 1) -> None:
        """Add to a sum."""
        self.counts[name] += many

    def merge(self, other: "Cell") -> None:
        """What the other one holds is here, too."""
        for name, many in other.counts.items():
            self.counts[name] += many
        for name, histogram in other.histograms.items():
            self.histograms.setdefault(name, Histogram()).merge(histogram)


class Tally:
    """Cells by (second, entry)."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], Cell] = {}

    def cell(self, second: int, entry: str) -> Cell:
        """The cell to count in; made when it is asked for first."""
        key = second, entry
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._cells.clear()

    def entries(self) -> list[str]:
        """Those that anything was counted for, the generator left out."""
        return sorted({entry for _, entry in self._cells if entry != GENERATOR})

    def seconds(self) -> list[int]:
        """Those in which anything was counted, ascending."""
        return sorted({second for second, _ in self._cells})

    def over(self, entry: str, from_s: float, to_s: float) -> Cell:
        """The sum of an entry's cells with from_s ≤ second < to_s."""
        found = Cell()
        for (second, whose), cell in self._cells.items():
            if whose == entry and from_s <= second < to_s:
                found.merge(cell)
        return found

    def series(self, entry: str) -> Iterator[tuple[int, Cell]]:
        """An entry's cells in order."""
        for key in sorted(key for key in self._cells if key[1] == entry):
            yield key[0], self._cells[key]

    def take(self) -> list[object]:
        """Everything, as plain values; afterwards there is nothing."""
        taken: list[object] = [
            [second, entry, dict(cell.counts), {name: each.plain() for name, each in cell.histograms.items()}]
            for (second, entry), cell in self._cells.items()
        ]
        self._cells.clear()
        return taken

    def merge(self, taken: object) -> None:
        """Add what another tally gave away. Raises ValueError for what no tally gives, and then adds nothing."""
        if not isinstance(taken, list):
            raise ValueError("not a tally")
        for (second, entry), cell in [_cell(each) for each in taken]:
            self.cell(second, entry).merge(cell)


def _cell(plain: object) -> tuple[tuple[int, str], Cell]:
    match plain:
        case [int() as second, str() as entry, dict() as counts, dict() as histograms]:
            cell = Cell()
            for name, many in counts.items():
                if not isinstance(name, str) or not isinstance(many, int | float):
                    raise ValueError(f"not a sum of a tally: {str(name)[:40]}")
                cell.count(name, many)
            cell.histograms = {str(name): Histogram.of(each) for name, each in histograms.items()}
            return (second, entry), cell
    raise ValueError(f"not a cell of a tally: {str(plain)[:60]}")
