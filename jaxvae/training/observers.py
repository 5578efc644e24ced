"""Observers: scores, pictures and histograms that are computed from the state while a run trains."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxvae.training.engine import TrainState
from jaxvae.training.optimizers import evaluation_params
from jaxvae.training.processes import is_primary_process

V = TypeVar("V")
SCORE = "score_"
"""Start of the names of scores in a row of metrics."""


class Observation(NamedTuple):
    """What an observer finds in a state. None of the fields has to be filled."""

    scores: Mapping[str, float] = {}
    """Scores by name. In a row of metrics, they are called "score_NAME"."""
    images: Mapping[str, np.ndarray] = {}
    """Pictures by name, uint8 [H, W, 3]."""
    histograms: Mapping[str, np.ndarray] = {}
    """Values by name [n], whose distribution is logged."""


class Observer(NamedTuple):
    """A function that looks at the state during training. It must not depend on anything else that changes, so that a
    resumed run observes the same.
    """

    every: int
    """Number of steps between observations. The last step is observed as well."""
    observe: Callable[[TrainState], Observation]
    """Function state -> observation. The parameters are those to evaluate, on the first device. The next step
    reuses the memory of the state: copy what is to be kept, as `jax.tree.map(np.array, state.params)` does."""

    def is_due(self, step: int, steps: int) -> bool:
        """Whether the state after `step` of `steps` steps is observed."""
        return step % self.every == 0 or step == steps


def observed(observers: Sequence[Observer], state: TrainState, step: int, steps: int) -> Observation:
    """Merges the observations of all observers that are due. Processes other than the first observe nothing."""
    due = [each for each in observers if each.is_due(step, steps)]
    if not due or not is_primary_process():
        return Observation()
    one = on_one_device(state)
    found = [each.observe(one) for each in due]
    return Observation(
        scores=_merged(each.scores for each in found),
        images=_merged(each.images for each in found),
        histograms=_merged(each.histograms for each in found),
    )


def on_one_device(state: TrainState) -> TrainState:
    """Returns the state with the parameters to evaluate, on the first device of this process."""
    one: Any = jax.local_devices()[0]
    state = jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), one), state)
    return state._replace(params=evaluation_params(state))


def _merged(parts: Iterable[Mapping[str, V]]) -> dict[str, V]:
    return {name: value for part in parts for name, value in part.items()}


def check_observers(observers: Sequence[Observer]) -> None:
    """Checks when a run is observed.

    Raises:
      ValueError: An interval is below 1.
    """
    for each in observers:
        if each.every < 1:
            raise ValueError(f"an observer's interval must be at least 1 step, got {each.every}")
