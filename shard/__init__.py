"""The shard: simulates the regions it owns. ``shard.region.RegionCore`` is one of them; shells only feed and
publish."""
