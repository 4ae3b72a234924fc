"""The gateway: many clients, no world of its own.

``core`` decides (pure), ``session`` admits and ends (pure), ``transport`` and ``http`` do the I/O. Invariant: nothing
here imports ``shard``; the two speak ``protocol.link``, also within one process.
"""
