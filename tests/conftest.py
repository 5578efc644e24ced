"""What every test runs under: 8 virtual devices, no rank promotion, and, for our own code, no dtype promotion.

Most of a test's time is XLA's compiler: it optimizes little here, and programs are kept for all workers, subprocesses
and later runs. `XLA_FLAGS= pytest` tests programs as users have them, which what compares rounding may need.
"""

import gc
import math
import os
import signal
from importlib.metadata import version
from pathlib import Path

from tests.compilation import compilation_cache

# An unknown flag ends the process, and newer versions may not have the last two. A program in one piece compiles in
# two thirds of the time of one in 32.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + (
        " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        if version("jaxlib").startswith("0.10.")
        else ""
    ),
)
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compilation_cache()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import jaxtyping
import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(50_000, 20, 20)
jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("jaxvae", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("jaxvae")

with jaxtyping.install_import_hook("jaxvae.losses", "beartype.beartype"):
    import jaxvae.losses  # noqa: F401


def pytest_collection_modifyitems(config, items):
    """Slow cases run where they are asked for: `-m process` alone leaves those of the kills out."""
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)


@pytest.fixture(autouse=True)
def _strict_dtypes(request):
    """Not where Optax runs: it multiplies its int32 step count with floats."""
    ours = request.path.relative_to(Path(__file__).parent).parts[0] in ("losses", "networks", "data")
    with jax.numpy_dtype_promotion("strict" if ours else "standard"):
        yield


RESIDENT = {"after the last clearing": 0}
"""Bytes."""


def _resident_and_mapped():
    """Bytes in memory and number of mapped pieces of this process, both infinite where the system does not tell."""
    process = Path("/proc/self")
    if not (process / "statm").exists():
        return math.inf, math.inf
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), (process / "maps").read_bytes().count(b"\n")


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_programs():
    """A process may map 65,530 pieces of memory, and every compiled program takes several: beyond them XLA crashes.

    Four gigabytes of programs are enough. What stays is kept out of the garbage collector's way, which would look
    through all of it while JAX traces.
    """
    yield
    resident, mapped = _resident_and_mapped()
    if mapped > 40_000 or resident > RESIDENT["after the last clearing"] + 4 * 2**30:
        gc.unfreeze()
        jax.clear_caches()
        gc.collect()
        RESIDENT["after the last clearing"], _ = _resident_and_mapped()
    gc.freeze()


@pytest.fixture
def unchecked_types():
    """Types as users have them, so that the kernels' own errors are met, not the type checker's."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
