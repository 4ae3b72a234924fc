"""The phases of a tick, one file each; ``shard.core`` lists them in their order."""
