"""Labels beside images: of a few examples, for semi-supervision, or of all, as what a prior may depend on."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.data.shuffle import Epochs, shuffled_index
from jaxvae.data.source import WHOLE, Part, S, Source, Wrapper
from jaxvae.data.subsets import Subset

LABEL_STREAM = 2**32 - 2
"""Keeps the key of the labelled batches apart from those of the updates, which are folded in by number."""


@partial(jax.tree_util.register_dataclass, data_fields=["source", "few"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Labelled(Wrapper[S]):
    """A source whose batches hold a second, labelled batch of the same size.

    {"image", "factors", "labelled_image" [n, H, W, C], "label" int32 [n, K], "target" float32 [n, K]}: the labelled
    examples come round in epochs, so few of them are cycled through (Locatello et al., 2020). A target is its label on
    a scale from 0 to 1, NaN for a factor of one value. Samples, and examples by number, have no labels. A method must
    not look at "factors".
    """

    source: S
    few: Source
    """The labelled examples, in epochs."""

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Part = WHOLE) -> dict[str, jax.Array]:
        """The batch of update number `step`, and the labelled batch beside it."""
        labelled = self.few.batch(jax.random.fold_in(key, LABEL_STREAM), step, n, part)
        return {
            **self.source.batch(key, step, n, part),
            "labelled_image": labelled["image"],
            "label": labelled["factors"],
            "target": self._on_unit_scale(labelled["factors"]),
        }

    def _on_unit_scale(self, label: jax.Array) -> jax.Array:
        last = jnp.asarray(self.factor_sizes, jnp.float32)[None] - 1
        return jnp.where(last > 0, label.astype(jnp.float32) / last, jnp.nan)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["known"])
@dataclass(frozen=True)
class Conditioned(Wrapper[S]):
    """A source with some of its factors as the auxiliary variable: "aux" float32 [n, U], a one-hot vector of each."""

    source: S
    known: tuple[str, ...]
    """Names of factors."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.known if name not in self.factor_names]
        if unknown or not self.known:
            there = ", ".join(self.factor_names) or "none"
            raise ValueError(f"the auxiliary variable is made of factors of {self.name}: {there}; got {self.known}")

    @property
    def aux_dim(self) -> int:
        """U, the number of values of the known factors, added up."""
        return sum(self.factor_sizes[self.factor_names.index(name)] for name in self.known)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self._with_aux(self.source.at(index))

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self._with_aux(self.source.sample(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Part = WHOLE) -> dict[str, jax.Array]:
        """The batch of update number `step`."""
        return self._with_aux(self.source.batch(key, step, n, part))

    def _with_aux(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        places = [self.factor_names.index(name) for name in self.known]
        parts = [jax.nn.one_hot(batch["factors"][:, k], self.factor_sizes[k]) for k in places]
        return {**batch, "aux": jnp.concatenate(parts, axis=1)}


def few_labels(source: S, count: int, *, seed: int = 0) -> Labelled[S]:
    """Labels for `count` examples, drawn without repeats.

    ValueError for a source without factors, or a count that is not in 1 .. size.
    """
    if not source.factor_names:
        raise ValueError(f"the factors of {source.name} are not known: there is nothing to label with")
    if not 1 <= count <= source.size:
        raise ValueError(f"{source.name} has {source.size} examples to label, got count={count}")
    index = shuffled_index(jax.random.key(seed), jnp.arange(count, dtype=jnp.uint32), source.size)
    return Labelled(source, Epochs(Subset(source, index)))
