"""The one way a kernel is compiled: cached on disk, without the GIL, without fast-math.

Fast-math stays off because state hashes must match between runs; the cache makes the second start-up quick
(`isthmus warmup` fills it when an image is built).
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in nopython mode at its first call for each argument signature; the result is cached on
    disk."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


def jit_inline(function: Callable[P, R]) -> Callable[P, R]:
    """Like :func:`jit`, inlined into its callers: for small helpers called per record."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, inline="always")(function))
