"""The coordination store: its contract, its meaning as a pure core, a store in memory and one over etcd v3.

Import from the modules: ``contract`` (all types), ``model`` (pure), ``memory``, ``etcd`` (alone in loading aiohttp).
"""
