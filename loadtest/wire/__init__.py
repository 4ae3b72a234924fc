"""The gevent shell of a client: sockets and timers for a core that has neither."""
