"""The one way a kernel is compiled: cached on disk, without the GIL, without fast-math.

Fast-math stays off because state hashes must match between runs; the cache makes the second start-up quick
(``isthmus warmup`` fills it when an image is built). numba notices a change of the file that a function stands in,
but not of the functions and constants that it uses from other files; the cache's folder therefore carries a hash of
all of them.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_NO_RUNTIME: dict[str, Any] = {"_nrt": False}
_HERE = Path(__file__).parent


def cache_folder() -> Path:
    """Where compiled kernels of this version of the sources are kept: below NUMBA_CACHE_DIR if that is set, else
    below the user's cache folder (XDG Base Directory Specification)."""
    digest = hashlib.sha256(numba.__version__.encode())
    names = ("layouts.py", "walking.py", "limits.py", "pose_layout.py")
    shared = [_HERE.parent / "protocol" / name for name in names]
    for file in [*sorted(_HERE.glob("*.py")), *shared]:
        digest.update(file.name.encode() + file.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    base = os.environ.get("NUMBA_CACHE_DIR") or str(Path(home) / "isthmus" / "kernels")
    return Path(base) / digest.hexdigest()[:16]


setattr(numba.config, "CACHE_DIR", str(cache_folder()))  # noqa: B010  # made at run time: the stubs do not know it


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in nopython mode at its first call for each argument signature; the result is cached on
    disk."""
    # Without numba's runtime no kernel can allocate, and none counts references to the arrays that it is given: with it
    # every call with a named tuple of arrays costs some hundred nanoseconds.
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, **_NO_RUNTIME)(function))


def jit_allocating(function: Callable[P, R]) -> Callable[P, R]:
    """Like :func:`jit`, for the few that return new arrays once a step, or ask an array for its address."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))
