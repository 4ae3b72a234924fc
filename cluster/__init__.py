"""Who owns what: membership, leases, epochs, placement.

One process needs none of it yet: its one shard owns every region under epoch 1, and records, links and frames carry
the epoch already. Code enters here with the second process. Not responsible for: simulating a region (``shard``),
telling clients (``server``).
"""
