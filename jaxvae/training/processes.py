"""Several processes, on one machine or many, that train one model together."""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import jaxvae
from jaxvae.training.run_folder import RunFolderError, differences

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def join_processes(timeout: int = 300) -> None:
    """Waits for the other processes. To be called before anything else that uses JAX's devices.

    SLURM, Kubernetes, Open MPI and TPU pods are recognised. Elsewhere each process is told by the environment where
    process 0 listens (JAX_COORDINATOR_ADDRESS, host:port), how many there are (JAX_NUM_PROCESSES), and its own number
    (JAX_PROCESS_ID).

    Args:
      timeout: seconds to wait.

    Where not all of them come in time, the process says so and ends: JAX would abort it.

    Raises:
      ValueError: the environment does not say enough.
    """
    try:
        count, number = (int(os.environ[name]) if name in os.environ else None for name in (COUNT, NUMBER))
    except ValueError as error:
        raise ValueError(f"{COUNT} and {NUMBER} must be whole numbers: {error}") from None
    patience = threading.Timer(timeout, _give_up, [count, timeout])
    patience.daemon = True
    patience.start()
    try:
        jax.distributed.initialize(num_processes=count, process_id=number, initialization_timeout=timeout + 60)
    except ValueError as error:
        raise ValueError(
            f"no cluster was recognised that says who takes part: set {ADDRESS}, {COUNT} and {NUMBER} ({error})"
        ) from error
    finally:
        patience.cancel()


def _give_up(count: int | None, timeout: int) -> None:
    print(
        f"jaxvae: not all {count or ''} processes came within {timeout} s: start each with its own {NUMBER}, "
        f"and see that they reach {os.environ.get(ADDRESS, 'the first of them')}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def is_primary_process() -> bool:
    """Whether this is the process that writes rows and talks."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Returns once all processes have called it; `what` is the same in all of them."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_of_all(flag: bool) -> bool:
    """Whether it is set in one of the processes; to be called by all."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def check_agreement(config: Mapping[str, Any]) -> None:
    """ValueError, in every process, that names the differences of configuration or code unless there are none."""
    versions = {"jax": jax.__version__, "jaxvae": jaxvae.__version__, "code of jaxvae": code_digest()}
    texts = gather_texts(json.dumps({**config, **versions}))
    first, *others = map(json.loads, texts)
    for number, other in enumerate(others, start=1):
        if found := differences(first, other):
            raise ValueError(
                f"processes 0 and {number} were started differently: "
                + "; ".join(f"{name} is {one!r} and {two!r}" for name, one, two in found)
            )


def raise_together(error: Exception | None) -> None:
    """RunFolderError, in every process, where process 0 met an error."""
    if message := gather_texts("" if error is None else str(error))[0]:
        raise RunFolderError(message)


def gather_texts(text: str) -> list[str]:
    """What each process gave, by its number; to be called by all."""
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(data)], np.int32)).reshape(-1)
    padded = np.pad(data, (0, int(lengths.max()) + 1 - len(data)))
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def code_digest() -> str:
    """Of all files of the package: other code, other digest."""
    folder = Path(jaxvae.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
