"""How the daemon's process holds its memory."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

__all__ = ["settle", "share_heap"]

_COLLECT_AFTER: Final = 10_000  # new objects; Python's own 700 come with two messages
_M_ARENA_MAX: Final = -8  # mallopt(3)
_N_ARENAS: Final = 2


def share_heap() -> bool:
    """Let all threads allocate from two heaps; call it before there is a second thread.

    The C library gives each thread that comes a heap of its own, and none of them gives back what
    a large page or report took there once. Python's lock lets one thread run at a time anyway.
    False where the C library has no such switch (musl): nothing changes.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _N_ARENAS))
    except AttributeError:
        return False


def settle() -> None:
    """Let the garbage collector pass over what lives as long as the process, modules above all.

    A full collection stops the loop: over everything it took 70 to 190 ms, several times in each
    long list. Of what is made later nearly nothing lives in circles: it is looked at less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
