"""The memory of the host between updates."""

import ctypes
import sys

import jax

LIMIT = 2**31 - 1


def tune_allocator() -> bool:
    """Lets this process keep memory that it frees, to use it again, instead of handing it back to Linux.

    XLA allocates the intermediate values of an update in one piece and frees them after it. On a CPU the GNU allocator
    takes them from the system anew every time, and a third of an update of convolutions is page faults. The `jaxvae`
    command does this by itself. In a program of your own, call it before JAX computes anything; accelerators don't need
    it.

    JAX's asynchronous dispatch on CPUs is switched off along with it: it allocates in another thread, where the
    allocator never keeps a piece of more than 64 MB.

    Returns:
      Whether this system has such settings; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # as in malloc.h
    accepted = [mallopt(mmap_threshold, 2**30), mallopt(trim_threshold, LIMIT), mallopt(mmap_max, 0)]
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return all(accepted)
