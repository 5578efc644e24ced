"""Memory of the host between steps."""

import ctypes
import sys

import jax

LIMIT = 2**31 - 1


def tune_allocator() -> bool:
    """Lets this process keep the memory that it frees and reuse it, instead of returning it to Linux.

    XLA allocates the intermediate values of a step in one piece and frees them after it. On a CPU, the GNU allocator
    requests them from the system anew every time, and page faults take a third of a step of convolutions. The `jaxvae`
    command calls this function by itself. In a program of your own, call it before JAX computes anything. Accelerators
    do not need it.

    JAX's asynchronous dispatch on CPUs is switched off as well: it allocates in another thread, where the allocator
    never keeps a piece of more than 64 MB.

    Returns:
      Whether this system has such settings. On other systems, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # parameter numbers in malloc.h
    accepted = [mallopt(mmap_threshold, 2**30), mallopt(trim_threshold, LIMIT), mallopt(mmap_max, 0)]
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return all(accepted)
