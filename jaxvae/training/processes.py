"""Several processes, on one or many machines, that train one model together."""

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
    """Waits for the other processes. Call it before anything else that uses JAX's devices.

    SLURM, Kubernetes, Open MPI and TPU pods are recognised. On other systems, set environment variables for each
    process: the coordinator's address (JAX_COORDINATOR_ADDRESS, host:port), the number of processes (JAX_NUM_PROCESSES)
    and the number of this process (JAX_PROCESS_ID).

    If not all processes arrive in time, this process prints a message and exits, as JAX would abort it otherwise.

    Args:
      timeout: Time to wait in seconds.

    Raises:
      ValueError: The environment variables are incomplete.
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
    """Whether this is the process that writes metrics and logs."""
    return jax.process_index() == 0


def wait_for_all(what: str) -> None:
    """Returns once all processes have called it. `what` must be the same in all of them."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_of_all(flag: bool) -> bool:
    """Whether the flag is set in any of the processes. All processes must call it."""
    return flag if jax.process_count() == 1 else bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def check_agreement(config: Mapping[str, Any]) -> None:
    """Checks that all processes have the same configuration and code.

    Raises:
      ValueError: They differ. It is raised in every process and names the differences.
    """
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
    """Raises RunFolderError in every process if process 0 has an error."""
    if message := gather_texts("" if error is None else str(error))[0]:
        raise RunFolderError(message)


def gather_texts(text: str) -> list[str]:
    """Gathers the texts of all processes, in the order of their numbers. All processes must call it."""
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(data)], np.int32)).reshape(-1)
    padded = np.pad(data, (0, int(lengths.max()) + 1 - len(data)))
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]


def code_digest() -> str:
    """Returns a digest of all files of the package, which changes with the code."""
    folder = Path(jaxvae.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
