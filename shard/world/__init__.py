"""What a shard knows of its entities: columns, declared components, input queues, invariants."""
