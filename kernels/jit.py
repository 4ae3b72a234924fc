"""The one way a kernel is compiled: cached on disk, without the GIL, without fast-math.

Fast-math stays off because state hashes must match between runs; the cache makes the second start-up quick
(``isthmus warmup`` fills it when an image is built). numba notices a change of the file that a function stands in,
but not of the functions and constants that it uses from other files; the cache's folder therefore carries a hash of
all of them. What is compiled is also named by the CPU: an image fixes one that all its machines have
(``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES``), and ``missing_features`` tells those that have less.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numba
from llvmlite import binding

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
    base = os.environ.get("NUMBA_CACHE_DIR")
    if not base:  # only then: a container's user may have no home
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        base = str(Path(home) / "isthmus" / "kernels")
    return Path(base) / digest.hexdigest()[:16]


def writable(folder: Path) -> Path:
    """``folder``, made if it is missing; where it cannot be written, as in an image, a new temporary one with a link to
    each of its files, which goes with the process. numba takes no folder that it cannot write, not even to read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        pass  # nothing to link to: all kernels are compiled, and forgotten with the process
    else:
        if os.access(folder, os.W_OK):
            return folder
    links = Path(tempfile.mkdtemp(prefix="isthmus-kernels-"))
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    for found in sorted(folder.rglob("*")):
        link = links / found.relative_to(folder)
        link.mkdir() if found.is_dir() else link.symlink_to(found)
    return links


_CACHE = str(writable(cache_folder()))
setattr(numba.config, "CACHE_DIR", _CACHE)  # noqa: B010  # made at run time: the stubs do not know it
_KERNELS: list[Any] = []
"""Everything that was ever given to :func:`jit`: numba's dispatchers."""


class Kernels(NamedTuple):
    """How this process came by its kernels so far, counted by signature: ``loaded`` from the cache, or ``compiled``."""

    loaded: int
    compiled: int


def kernels_now() -> Kernels:
    """What was loaded and compiled until now."""
    stats = [kernel.stats for kernel in _KERNELS]
    loaded = sum(sum(one.cache_hits.values()) for one in stats)
    return Kernels(loaded, sum(sum(one.cache_misses.values()) for one in stats))


def missing_features(wanted: str | None = None, host: Mapping[str, bool] | None = None) -> list[str]:
    """What kernels may use and this machine's CPU does not have: running them would end the process (SIGILL).

    ``wanted``: LLVM's notation, ``+avx2,+fma``; None: that of ``NUMBA_CPU_FEATURES``, empty if kernels are compiled
    for this machine. ``host``: by name whether the CPU has it; None: asked of LLVM.
    """
    named = (os.environ.get("NUMBA_CPU_FEATURES", "") if wanted is None else wanted).split(",")
    has = binding.get_host_cpu_features() if host is None else host
    return [name[1:] for name in named if name.startswith("+") and not has.get(name[1:], False)]


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in nopython mode at its first call for each argument signature; the result is cached on
    disk."""
    # Without numba's runtime no kernel can allocate, and none counts references to the arrays that it is given: with it
    # every call with a named tuple of arrays costs some hundred nanoseconds.
    return cast(Callable[P, R], _kept(numba.njit(cache=True, nogil=True, **_NO_RUNTIME)(function)))


def jit_allocating(function: Callable[P, R]) -> Callable[P, R]:
    """Like :func:`jit`, for the few that return new arrays once a step, or ask an array for its address."""
    return cast(Callable[P, R], _kept(numba.njit(cache=True, nogil=True)(function)))


def _kept(dispatcher: Any) -> Any:
    _KERNELS.append(dispatcher)
    return dispatcher
