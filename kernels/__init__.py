"""The hot loops: arrays in, arrays out, compiled by numba.

Decides nothing about the world: a kernel is told which arrays to read and which to write. Every kernel has a plain
NumPy
twin in ``tests/reference`` that defines it. Not responsible for: messages, sessions, I/O, time.
"""
