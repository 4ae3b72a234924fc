"""Datagrams for browsers: WebTransport over HTTP/3 (STANDARD.md §9.5), as another way of ``datagrams``.

`aioquic` does QUIC, TLS and HTTP/3; it is the optional extra ``webtransport``, so nothing but ``way`` and what that
imports may load it. Decides who may open such a session, and for how long one may be unproven. Not responsible for:
what is in a datagram, sessions of people, values.
"""
