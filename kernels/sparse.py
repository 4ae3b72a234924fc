"""Arrays of which most is never touched: a row for each connection that may ever come.

Decides how they get their memory: by pages of the size that the system has, not by the huge ones that numpy asks for,
of which each would be there whole as soon as one byte of it is written. Invariant: what was never written takes no
memory. Not responsible for: giving memory back.
"""

import mmap
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE_BYTES = mmap.PAGESIZE


def sparse_zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As ``np.zeros``."""
    kind, sizes = np.dtype(dtype), (shape,) if isinstance(shape, int) else shape
    size = int(np.prod(sizes, dtype=np.int64)) * kind.itemsize
    if size < PAGE_BYTES:
        return np.zeros(shape, dtype)
    # Private, not shared: a page that is only read is nobody's then, too.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a system without huge pages needs no advice
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, kind).reshape(sizes)


def clear(row: npt.NDArray[Any]) -> None:
    """Make all of a contiguous ``row`` zero, and write only to pages where something is."""
    data = row.reshape(-1).view(np.uint8)
    for first in range(0, len(data), PAGE_BYTES):
        page = data[first : first + PAGE_BYTES]
        if page.any():
            page[:] = 0
