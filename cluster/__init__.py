"""Who owns what: membership, leases, epochs, placement.

docs/CLUSTER.md is its protocol. The store is in memory for one process, etcd for more (``store``); everything that
decides is told the time and what the store said. Not responsible for: simulating a region (``shard``), telling
clients (``server``).
"""
