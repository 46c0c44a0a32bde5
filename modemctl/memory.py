"""How the daemon's process holds its memory."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

__all__ = ["settle", "share_heap"]

_COLLECT_AFTER: Final = 10_000  # new objects; Python's own 700 come with two messages
_LATER: Final = 5  # collections of younger objects until older ones are looked at, too
_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_M_ARENA_MAX: Final = -8
_N_ARENAS: Final = 2
_LARGE: Final = 512 * 1024


def share_heap() -> bool:
    """Let all threads allocate from two heaps; call it before there is a second thread.

    The C library gives each thread that comes a heap of its own, and none of them gives back what
    a large page or report took there once. Python's lock lets one thread run at a time anyway.
    What is large (512 KiB) never goes into a heap: the C library would begin to, once it saw some.
    False where the C library has no such switches (musl): nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_M_ARENA_MAX, _N_ARENAS) and mallopt(_M_MMAP_THRESHOLD, _LARGE))


def settle() -> None:
    """Let the garbage collector pass over what lives as long as the process, modules above all.

    A full collection stops the loop: over everything it took 70 to 190 ms, several times in each
    long list. Of what is made later little lives in circles (each time a modem comes up and fails,
    some hundred objects): it is looked at less often, but before the circles are many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, _LATER, _LATER)
