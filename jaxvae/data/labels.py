"""Labels beside images: labels of a few examples for semi-supervision, or of all examples as conditions of a prior."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.shuffle import Epochs, shuffled_index
from jaxvae.data.source import UNSHARDED, S, Shard, Source, Wrapper, grid_index
from jaxvae.data.subsets import Subset
from jaxvae.streams import Stream

BINS = 5
"""Largest number of values of a binned label."""


class Labels(NamedTuple):
    """Labels of factors, which may be imperfect."""

    values: tuple[tuple[int, ...], ...]
    """Label of every value of every factor."""
    known: tuple[bool, ...]
    """Whether each factor is labelled."""
    noise: float = 0.0
    """Share of the labels that are redrawn at random. An example always has the same label."""
    seed: int = 0

    def of(self, factors: jax.Array) -> jax.Array:
        """Returns the labels of factors: int32 [n, K] -> int32 [n, K]."""
        sizes = tuple(len(values) for values in self.values)
        columns = [jnp.array(values, jnp.int32)[factors[:, k]] for k, values in enumerate(self.values)]
        label = jnp.stack(columns, axis=1)
        if self.noise == 0:
            return label

        def redraw(example: jax.Array, label: jax.Array) -> jax.Array:
            whether, what = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), example))
            other = jax.random.randint(what, label.shape, 0, jnp.array(sizes))
            return jnp.where(jax.random.bernoulli(whether, self.noise, label.shape), other, label)

        return jax.vmap(redraw)(grid_index(factors.astype(jnp.uint32), sizes), label)

    def target(self, label: jax.Array) -> jax.Array:
        """Scales labels to [0, 1]: float32 [n, K], with NaN for factors that are not labelled or have one value."""
        last = jnp.array([max(values) for values in self.values], jnp.float32)[None]
        tells = (last > 0) & jnp.array(self.known)[None]
        return jnp.where(tells, label.astype(jnp.float32) / jnp.maximum(last, 1), jnp.nan)


Quality: TypeAlias = Literal["perfect", "binned", "noisy", "permuted", "partial"]


@partial(jax.tree_util.register_dataclass, data_fields=["source", "few"], meta_fields=["labels"])
@dataclass(frozen=True, eq=False)
class Labelled(Wrapper[S]):
    """A source whose batches contain a second, labelled batch of the same size.

    Batches are {"x", "factors", "labelled_x" [n, H, W, C], "label" int32 [n, K], "target" float32 [n, K]}. The
    labelled examples are cycled through in epochs (Locatello et al., 2020). A target is a label scaled to [0, 1], with
    NaN for a factor that is not labelled or has one value. Samples, and examples by index, have no labels. A method
    must not use "factors".
    """

    source: S
    few: Source
    """Labelled examples, in epochs."""
    labels: Labels

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the batch of a step together with its labelled batch."""
        labelled = self.few.batch(jax.random.fold_in(key, Stream.LABELLED), step, n, part)
        label = self.labels.of(labelled["factors"])
        return {
            **self.source.batch(key, step, n, part),
            "labelled_x": labelled["x"],
            "label": label,
            "target": self.labels.target(label),
        }


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["known"])
@dataclass(frozen=True)
class Conditioned(Wrapper[S]):
    """A source with some of its factors as the auxiliary variable "aux", float32 [n, U]: one-hot vectors,
    concatenated.
    """

    source: S
    known: tuple[str, ...]
    """Names of the factors in the auxiliary variable."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.known if name not in self.factor_names]
        if unknown or not self.known:
            there = ", ".join(self.factor_names) or "none"
            raise ValueError(f"the auxiliary variable is made of factors of {self.name}: {there}; got {self.known}")

    @property
    def aux_dim(self) -> int:
        """Size U of the auxiliary variable: the sum of the numbers of values of the known factors."""
        return sum(self.factor_sizes[self.factor_names.index(name)] for name in self.known)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self._with_aux(self.source.at(index))

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        return self._with_aux(self.source.sample(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the batch of a step."""
        return self._with_aux(self.source.batch(key, step, n, part))

    def _with_aux(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        places = [self.factor_names.index(name) for name in self.known]
        parts = [jax.nn.one_hot(batch["factors"][:, k], self.factor_sizes[k]) for k in places]
        return {**batch, "aux": jnp.concatenate(parts, axis=1)}


def few_labels(source: S, count: int, *, quality: Quality = "perfect", seed: int = 0) -> Labelled[S]:
    """Labels `count` examples, which are drawn without replacement.

    Args:
      source: Source with known factors.
      count: Number of labelled examples.
      quality: Quality of the labels: "perfect"; "binned", with at most 5 values per factor; "noisy", with a tenth of
        the labels redrawn once and for all; "permuted", with the values of each factor in another order; or "partial",
        with two labelled factors (all factors of a source with at most two).
      seed: Random seed for the choice of the examples and for the imperfections of the labels.

    Raises:
      ValueError: The source has no factors, the count is not in 1 .. size, or the quality is unknown.

    Reference: Locatello et al. (2020, "few labels"), section 4, from memory.
    """
    if not source.factor_names:
        raise ValueError(f"the factors of {source.name} are not known: there is nothing to label with")
    if not 1 <= count <= source.size:
        raise ValueError(f"{source.name} has {source.size} examples to label, got count={count}")
    index = shuffled_index(jax.random.key(seed), jnp.arange(count, dtype=jnp.uint32), source.size)
    return Labelled(source, Epochs(Subset(source, index)), _labels(source.factor_sizes, quality, seed))


def _labels(sizes: tuple[int, ...], quality: Quality, seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    values, known, noise = tuple(tuple(range(size)) for size in sizes), (True,) * len(sizes), 0.0
    match quality:
        case "perfect":
            pass
        case "binned":
            values = tuple(tuple(v if size <= BINS else v * BINS // size for v in range(size)) for size in sizes)
        case "noisy":
            noise = 0.1
        case "permuted":
            values = tuple(tuple(rng.permutation(size).tolist()) for size in sizes)
        case "partial":
            chosen = rng.permutation(len(sizes))[:2]
            known = tuple(k in chosen for k in range(len(sizes)))
        case _:
            raise ValueError(f"labels are one of {', '.join(get_args(Quality))}, got {quality!r}")
    return Labels(values, known, noise, seed)
