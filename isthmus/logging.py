"""Structured logs on standard error: one JSON object per line for machines, coloured lines on a terminal.

Decides the shape of an entry: ``time`` (UTC, ISO 8601), ``level``, ``event`` (a short fixed phrase), then what the
caller binds. Entries of libraries that use the standard library's logging take the same shape. Not responsible for:
what is worth an entry; secrets (tokens and tickets are never passed to a logger in the first place).
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from isthmus.config.model import Logging


def configure(options: Logging, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for the whole process; calling again replaces the set-up."""
    stream = stream or sys.stderr
    as_json = options.format == "json" or (options.format == "auto" and not stream.isatty())
    level = logging.getLevelNamesMapping()[options.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if as_json:
        ending: list[Processor] = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        ending = [structlog.dev.ConsoleRenderer(timestamp_key="time", colors=stream.isatty())]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries talk more than we do: their everyday entries stay out even at our `debug`.
    root.setLevel(max(level, logging.WARNING))
