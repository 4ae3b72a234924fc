"""Phase 4: the spatial hash that queries of the next tick read. Not responsible for: interest of views (the
gateway's)."""

from kernels.nearby import sort_into_cells
from shard.state import ShardState

CELL_M = 8.0
"""About the radius that behaviours ask for, so that a query touches nine cells."""


def run(state: ShardState) -> None:
    """Sort own entities and ghosts into cells."""
    rows = state.table.present()
    state.cells = sort_into_cells(rows, state.table.pos, CELL_M) if len(rows) else None
