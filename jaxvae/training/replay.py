"""Records of non-finite steps, for debugging."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source
from jaxvae.data.streamed import read_ahead
from jaxvae.files import inside, replacing
from jaxvae.method import Method
from jaxvae.training.steps import NEVER, MetricAccumulator, batch_of_step, images_per_update

FOLDER = "nonfinite"
MOST = 10
"""Largest number of files that are kept; later ones are not written."""


def first_non_finite(seen: MetricAccumulator) -> tuple[int, list[str]]:
    """Returns the first step (0-based) with a non-finite term, and the names of such terms, if there are any."""
    step = min(int(bad) for bad in seen.first_bad.values())
    return step, sorted(name for name, bad in seen.first_bad.items() if bad == step != NEVER)


def save_for_replay(
    folder: Path, method: Method, source: Source, batch_size: int, key: jax.Array, step: int, terms: Sequence[str]
) -> None:
    """Writes `folder`/nonfinite/STEP.npz, unless there are ten such files. `numpy.load` reads it.

    The file holds the batch of that step, by name, and "step", "terms" and "key", the key data of the run. Together
    with the state of an earlier checkpoint, it is enough to repeat the step outside of the training loop.
    """
    place = inside(folder, FOLDER)
    place.mkdir(exist_ok=True)
    path = place / f"{step}.npz"
    if path.exists() or len(list(place.glob("[0-9]*.npz"))) >= MOST:
        return
    at_step = next(iter(read_ahead(source, key, step, step + 1, images_per_update(method, batch_size))))
    batch = jax.jit(lambda source, key: batch_of_step(method, source, batch_size, key, jnp.int32(step)))(at_step, key)
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    notes = {"step": np.array(step), "terms": np.array(terms), "key": np.asarray(jax.random.key_data(key))}
    with replacing(path) as file:
        np.savez(file, **notes, **arrays)  # type: ignore[arg-type]
