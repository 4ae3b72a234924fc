"""Finite bounds of the wire. Each says why it is as large as it is; the server's configuration may lower some of them.

Invariant: every parser of ``protocol`` works within these. Not responsible for: rates (``server.session``).
"""

MESSAGE_BYTES_MAX = 4096
"""A client's message. The largest honest one is a HELLO with a JWT of a large identity provider (about 2 KB)."""
TOKEN_BYTES_MAX = 3072
NAME_CHARS_MAX = 32
"""Fits a name tag; longer names are refused, not cut, so that nobody is called by half a name."""
CHAT_CHARS_MAX = 500
AGENT_CHARS_MAX = 64
ADDRESS_CHARS_MAX = 288
"""Of a token for datagrams: a host's name (253, RFC 1035), brackets, a colon, a port; scheme and path of a URL."""
RESUME_BYTES_MAX = 768
"""A ticket holds the whole session, sealed: identity, name, body. What does not fit is opened by one gateway alone."""
FRAME_BYTES_MAX = 16_384
"""One stream's messages of one tick. A joining client gets its surroundings in several frames of this size."""
NUMBERS_MAX = 1024
"""Numbers of one stream: the view's cap and those waiting for their leave to be acknowledged."""
BLOB_BYTES_MAX = 1024
"""Encoded components of one entity."""
ACT_NAME_BYTES_MAX = 64
ACT_PAYLOAD_BYTES_MAX = 3072
"""As packed; with number and name it is one client's message. What is larger is no act but an upload."""
ACT_DEPTH_MAX = 8
"""Arrays and maps within each other: reading a payload must not cost more than its bytes."""
ACTS_UNANSWERED_MAX = 16
"""Of one session: some seconds of a person in a hurry, while a store or another region takes its time."""
ANSWERS_KEPT = 32
"""Newest answers that a body remembers: twice what can be asked for again."""
ANSWER_VALUE_BYTES_MAX = 2048
"""As packed: a body carries its answers over borders."""
STREAM_MESSAGE_BYTES_MAX = 65_536
"""A client's message in its reliable stream over datagrams: what a receiver has room for without a word."""
SERVER_MESSAGE_BYTES_MAX = 1 << 20
"""What a client accepts from a server: a FRAME, or a WELCOME with a large schema."""

assert TOKEN_BYTES_MAX + RESUME_BYTES_MAX + NAME_CHARS_MAX * 4 + AGENT_CHARS_MAX < MESSAGE_BYTES_MAX
assert ACT_PAYLOAD_BYTES_MAX + ACT_NAME_BYTES_MAX + 16 < MESSAGE_BYTES_MAX
assert ACTS_UNANSWERED_MAX <= ANSWERS_KEPT
assert CHAT_CHARS_MAX * 4 < MESSAGE_BYTES_MAX
assert BLOB_BYTES_MAX * 4 <= FRAME_BYTES_MAX
