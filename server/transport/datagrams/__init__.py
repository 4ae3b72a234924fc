"""Connections over UDP (STANDARD.md §9): tokens, encryption, and one socket for all of them, with the shape of
``Carriers``.

Decides who may speak over datagrams, and when such a connection is over. Not responsible for: what messages mean
(``server.session``), which values are sent (``server.core``), the bytes inside (``kernels.arriving``,
``kernels.departing``).
"""

from kernels import peers
from protocol import datagrams

# Kernels know no protocol; that they mean the same numbers is seen to here.
assert peers.VERSION == datagrams.VERSION
assert peers.HEADER_BYTES == datagrams.HEADER_BYTES
assert peers.TAG_BYTES == datagrams.TAG_BYTES
assert peers.DATAGRAM_BYTES_MAX == datagrams.DATAGRAM_BYTES_MAX
assert peers.PLAIN_BYTES_MAX == datagrams.PLAIN_BYTES_MAX
assert peers.STREAM_WINDOW_BYTES == datagrams.STREAM_WINDOW_BYTES
assert peers.KIND_STREAM == datagrams.KIND_STREAM
assert peers.KIND_MESSAGE == datagrams.KIND_MESSAGE
