"""Phase 2: world authors' behaviours. Not responsible for: what they see (``shard.behaviours.world``)."""

from shard.state import ShardState


def run(state: ShardState) -> None:
    """Call what is due, and carry out what was asked for."""
    state.world.advance(state.tick, state.tick - state.ticks, state.cells)
    state.runner.run(state.apply)
