"""What travels: messages, frames, link columns, codes and limits. Bytes in, messages out.

``STANDARD.md`` is normative for everything a client sees. Invariant: nothing here does I/O, asks for the time, or
imports
another package of ours. Not responsible for: who may say what (``server.session``), what is visible (``server.core``).
"""
