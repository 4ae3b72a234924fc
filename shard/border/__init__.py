"""Borders of a region (docs/CLUSTER.md): ghosts, acts, hand-overs. ``shard.phases.borders`` calls them in a tick."""
