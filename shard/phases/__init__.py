"""The phases of a tick, one file each; ``shard.region`` lists them in their order."""
