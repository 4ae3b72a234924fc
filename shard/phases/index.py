"""Phase 4: the spatial hash that queries of the next tick read. Not responsible for: interest of views (the
gateway's)."""

from shard.behaviours.world import cells_of
from shard.state import ShardState


def run(state: ShardState) -> None:
    """Sort own entities and ghosts into cells, if anybody ever asks who is near."""
    state.cells = cells_of(state.table) if state.world.looks_around else None
