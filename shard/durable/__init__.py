"""The durable store: its contract, its meaning as a pure core, SQLite for one process, PostgreSQL for many.

Import from the modules: ``contract`` (all types), ``model`` (pure, and in memory), ``opening`` (by URL), ``transfer``
(backup and restore). Only ``opening`` knows all engines, and loads one when it is asked for.
"""
