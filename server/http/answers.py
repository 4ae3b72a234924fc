"""Answers of the HTTP side: JSON, never cached; an error has ``error``, a stable word, and ``text``, for people."""

from collections.abc import Mapping

import msgspec
from aiohttp import web


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON that nobody keeps."""
    base = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return web.Response(status=status, body=msgspec.json.encode(value), headers={**base, **(headers or {})})


def error(status: int, word: str, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON error."""
    return json_answer({"error": word, "text": text}, status, headers)
