"""Shell: the issuer's keys, from a file or over HTTPS, kept fresh.

Decides only when to fetch: at start (failure stops the start), and when a token names an unknown key, at most once in
``interval_s``, so that forged key ids cannot make us flood the issuer. If a later fetch fails, the keys in use stay.
Not responsible for: what a key set may contain (``tokens.key_set``).
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog

from server.session.tokens import TokenVerifier, key_set

JWKS_BYTES_MAX = 256 * 1024
FETCH_TIMEOUT_S = 5.0
REFRESH_INTERVAL_S = 30.0

_log = structlog.get_logger(__name__)


class JwksUnavailable(Exception):
    """The key set could not be had; the text says from where and why."""


async def read_jwks(source: str) -> object:
    """The JSON document at ``source``: a path, or an ``https`` URL (``http`` for loopback alone). Raises
    JwksUnavailable."""
    try:
        url = urlsplit(source)
        if url.scheme in ("http", "https"):
            if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
                raise JwksUnavailable(f"JWKS {source}: keys travel over https only; http is for loopback")
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as http:
                async with http.get(source, allow_redirects=False) as response:
                    if response.status != 200:
                        raise JwksUnavailable(f"JWKS {source}: the server answered {response.status}")
                    data = b""
                    async for chunk in response.content.iter_chunked(16_384):
                        data += chunk
                        if len(data) > JWKS_BYTES_MAX:
                            raise JwksUnavailable(f"JWKS {source}: larger than {JWKS_BYTES_MAX} bytes")
        else:
            data = await asyncio.to_thread(Path(source).read_bytes)
        return json.loads(data)
    except TimeoutError:
        raise JwksUnavailable(f"JWKS {source}: no answer within {FETCH_TIMEOUT_S:g} s") from None
    except (OSError, aiohttp.ClientError) as error:
        raise JwksUnavailable(f"JWKS {source}: {error}") from None
    except (ValueError, RecursionError):
        raise JwksUnavailable(f"JWKS {source}: not a JSON document") from None


class JwksKeeper:
    """Keeps the keys of one verifier fresh. ``clock_s`` is monotonic."""

    def __init__(
        self,
        source: str,
        verifier: TokenVerifier,
        clock_s: Callable[[], float],
        interval_s: float = REFRESH_INTERVAL_S,
    ) -> None:
        self._source = source
        self._verifier = verifier
        self._clock_s = clock_s
        self._interval_s = interval_s
        self.failures = 0
        """For metrics: times that the keys could not be had."""
        self._tried_s: float | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Fetch now. Raises JwksUnavailable: at start this ends the server, which would otherwise let nobody in."""
        self._tried_s = self._clock_s()
        document = await read_jwks(self._source)
        try:
            self._verifier.keys = key_set(document)
        except ValueError as error:
            raise JwksUnavailable(f"JWKS {self._source}: {error}") from None

    async def refresh(self) -> bool:
        """Fetch again unless that was tried within the interval; returns whether keys were fetched. A failure is
        logged."""
        async with self._lock:
            if self._tried_s is not None and self._clock_s() - self._tried_s < self._interval_s:
                return False
            try:
                await self.load()
            except JwksUnavailable as error:
                self.failures += 1
                _log.warning("jwks_unavailable", error=str(error))
                return False
            _log.info("jwks_refreshed", source=self._source, keys=len(self._verifier.keys.keys))
            return True
