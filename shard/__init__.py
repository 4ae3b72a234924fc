"""The shard: simulates the regions it owns. ``shard.core.ShardCore`` is the whole of it; shells only feed and
publish."""
