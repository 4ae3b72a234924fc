"""The shard: simulates the regions it owns. ``shard.core.ShardCore`` is the whole of it, ``shard.region.RegionCore``
one region; shells only feed and publish."""
