"""The memory of the host between updates."""

import ctypes
import sys

LIMIT = 2**31 - 1
PADDING = 64 * 2**20


def keep_freed_memory() -> bool:
    """Lets this process keep memory that it frees, to use it again, instead of handing it back to Linux.

    XLA allocates the intermediate values of an update at once and frees them after it. On a CPU the GNU allocator takes
    them from the system anew every time, and a third of an update of convolutions is page faults. The `jaxvae` command
    does this by itself. In a program of your own, call it before JAX computes anything; accelerators don't need it.

    Returns:
      Whether this system has such settings; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    # Numbers from malloc.h. Arenas of threads hold no more than 64 MB in one piece, hence a single one.
    trim_threshold, top_pad, mmap_threshold, mmap_max, arena_max = -1, -2, -3, -4, -8
    settings = {mmap_threshold: 2**30, trim_threshold: LIMIT, top_pad: PADDING, mmap_max: 0, arena_max: 1}
    accepted = [mallopt(name, value) for name, value in settings.items()]
    return all(accepted)
