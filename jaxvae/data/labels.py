"""Labels beside images: of a few examples, for semi-supervision, or of all, as what a prior may depend on."""

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
"""Values of a binned label, at most."""


class Labels(NamedTuple):
    """What is said of factors: the truth, or something worse."""

    values: tuple[tuple[int, ...], ...]
    """Label of every value of every factor."""
    known: tuple[bool, ...]
    """Which factors are labelled at all."""
    noise: float = 0.0
    """Share of the labels that are drawn anew, the same ones whenever an example is seen."""
    seed: int = 0

    def of(self, factors: jax.Array) -> jax.Array:
        """int32 [n, K] -> label int32 [n, K]."""
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
        """Labels on a scale from 0 to 1: float32 [n, K], NaN for what is not known or has one value."""
        last = jnp.array([max(values) for values in self.values], jnp.float32)[None]
        tells = (last > 0) & jnp.array(self.known)[None]
        return jnp.where(tells, label.astype(jnp.float32) / jnp.maximum(last, 1), jnp.nan)


Quality: TypeAlias = Literal["perfect", "binned", "noisy", "permuted", "partial"]


@partial(jax.tree_util.register_dataclass, data_fields=["source", "few"], meta_fields=["labels"])
@dataclass(frozen=True, eq=False)
class Labelled(Wrapper[S]):
    """A source whose batches hold a second, labelled batch of the same size.

    {"image", "factors", "labelled_image" [n, H, W, C], "label" int32 [n, K], "target" float32 [n, K]}: the labelled
    examples come round in epochs, so few of them are cycled through (Locatello et al., 2020). A target is its label on
    a scale from 0 to 1, NaN for a factor that is not labelled or has one value. Samples, and examples by number, have
    no labels. A method must not look at "factors".
    """

    source: S
    few: Source
    """The labelled examples, in epochs."""
    labels: Labels

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch of update number `step`, and the labelled batch beside it."""
        labelled = self.few.batch(jax.random.fold_in(key, Stream.LABELLED), step, n, part)
        label = self.labels.of(labelled["factors"])
        return {
            **self.source.batch(key, step, n, part),
            "labelled_image": labelled["image"],
            "label": label,
            "target": self.labels.target(label),
        }


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

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch of update number `step`."""
        return self._with_aux(self.source.batch(key, step, n, part))

    def _with_aux(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        places = [self.factor_names.index(name) for name in self.known]
        parts = [jax.nn.one_hot(batch["factors"][:, k], self.factor_sizes[k]) for k in places]
        return {**batch, "aux": jnp.concatenate(parts, axis=1)}


def few_labels(source: S, count: int, *, quality: Quality = "perfect", seed: int = 0) -> Labelled[S]:
    """Labels for `count` examples, drawn without repeats.

    Args:
      source: with known factors.
      count: examples that have labels.
      quality: "perfect"; "binned", at most 5 values a factor; "noisy", a tenth of the labels drawn anew, once and for
        all; "permuted", the values of each factor in another order; "partial", two factors labelled (of a source of
        two or fewer: all).
      seed: of the choice of examples and of what is wrong with the labels.

    ValueError for a source without factors, a count that is not in 1 .. size, or an unknown quality.

    Reference: Locatello et al. (2020, "few labels"), section 4 by memory.
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
