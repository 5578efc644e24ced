"""Classes of images: the values of a factor, optionally with wrong labels, or the original image of augmented
copies.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.shuffle import Epochs
from jaxvae.data.source import UNSHARDED, S, Shard, Wrapper
from jaxvae.data.subsets import Subset
from jaxvae.data.table import Table
from jaxvae.streams import Stream

SHIFT = 1 / 8
"""Largest shift of a copy, as a share of the side."""
BRIGHTNESS = (0.6, 1.4)
"""Range of the factor that multiplies the values of a copy."""
NOISE = 0.05
"""Standard deviation of the noise that is added to every value of a copy."""


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["factor", "kept"])
@dataclass(frozen=True)
class Classified(Wrapper[S]):
    """A source whose examples have a class, "class" int32 [n] in 0 .. classes - 1. `classified` creates one."""

    source: S
    factor: str
    """Name of the factor whose values are the classes."""
    kept: bool
    """Whether the source stores a column of classes, because some of them are wrong."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.factor_sizes[self.factor_names.index(self.factor)]

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self._with_class(self.source.at(index))

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        return self._with_class(self.source.sample(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the batch of a step."""
        return self._with_class(self.source.batch(key, step, n, part))

    def _with_class(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        if self.kept:
            return batch
        return {**batch, "class": batch["factors"][:, self.factor_names.index(self.factor)]}


def classified(source: S, factor: str, *, corruption: float = 0.0, seed: int = 10) -> Classified:
    """Returns a source whose classes are the values of one of its factors.

    With corruption, floor(corruption * size) examples, drawn without replacement, get a class that is drawn uniformly
    from all classes, including their own. The share of wrong classes is corruption * (1 - 1 / classes). "factors" keeps
    the true values, which no method must use. Evaluate on other examples, with their true classes. The classes of a
    `Subset`, or of `Epochs`, are those of its source.

    Args:
      source: Source with known factors. Corruption needs a `Table`, or a subset or epochs of one, because a wrong label
        belongs to an example's index.
      factor: Name of the factor.
      corruption: Share of the examples with redrawn classes, from 0 to 1.
      seed: Random seed for the corruption; the authors' code uses 10.

    Raises:
      ValueError: The factor does not exist, the corruption is outside of 0 to 1, or the source of corrupted classes is
        not a table.

    Reference: Yu, Chan, You, Song & Ma (2020), section 3.1, from memory.
    """
    if factor not in source.factor_names:
        there = ", ".join(source.factor_names) or "none"
        raise ValueError(f"classes are the values of a factor of {source.name}: {there}; got {factor!r}")
    if not 0 <= corruption <= 1:
        raise ValueError(f"corruption is a share of the examples, from 0 to 1, got {corruption}")
    if corruption == 0:
        return Classified(source, factor, kept=False)
    if isinstance(source, Epochs | Subset):
        whole = classified(source.source, factor, corruption=corruption, seed=seed)
        return Classified(replace(source, source=whole.source), factor, kept=True)
    if not isinstance(source, Table) or source.factors is None:
        raise ValueError(
            f"only examples that are in a table can keep wrong labels, and {source.name} is not a table but "
            f"{type(source).__name__}: corrupt its table first and wrap that, or take corruption=0"
        )
    column = source.factor_names.index(factor)
    labels = np.array(source.factors)[:, column].astype(np.int32)
    rng = np.random.default_rng(seed)
    # The tolerance makes 0.29 of 100 examples 29, whatever the rounding.
    touched = rng.choice(len(labels), math.floor(corruption * len(labels) + 1e-9), replace=False)
    labels[touched] = rng.integers(source.factor_sizes[column], size=len(touched))
    return Classified(replace(source, extras={**source.extras, "class": labels}), factor, kept=True)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["copies"])
@dataclass(frozen=True)
class Augmented(Wrapper[S]):
    """A source of augmented copies: batches of n hold n / copies images of the source, each `copies` times.

    Every copy is shifted by up to an eighth of the sides and padded with zeros. Its values are multiplied by a number
    from 0.6 to 1.4, get Gaussian noise of standard deviation 0.05, and are clipped to [0, 1]. The class of a copy is
    the index of its original image in the (global) batch: "class" int32 [n], with the copies of an image one after
    another. Examples by index are not augmented. (The paper's copies of colour images are cropped, mirrored and changed
    in colour.)
    """

    source: S
    copies: int
    """Number of copies of an image, at least 2."""

    def __post_init__(self) -> None:
        if self.copies < 2:
            raise ValueError(f"a class is at least 2 copies of an image, got copies={self.copies}")

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns copies first .. first+n-1 of the infinite sequence that `key` determines."""
        row = first + jnp.arange(n, dtype=jnp.int32)
        before = first // self.copies
        images = self.source.sample(key, (n - 1) // self.copies + 2, before)
        return self._copied(images, row // self.copies - before, row, key)

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns augmented copies of the source's batch of a step.

        Raises:
          ValueError: n is not a multiple of `copies`.
        """
        if n % self.copies:
            raise ValueError(f"a batch of {n} does not hold {self.copies} copies of every image: choose a multiple")
        first, count = part.rows(n)
        row = first + jnp.arange(count, dtype=jnp.int32)
        images = self.source.batch(key, step, n // self.copies)
        return self._copied(images, row // self.copies, row, jax.random.fold_in(key, step))

    def _copied(
        self, images: dict[str, jax.Array], place: jax.Array, row: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        """Returns copies number `row` of the images at `place`."""
        batch = {name: column[place] for name, column in images.items()}
        stream = jax.random.fold_in(key, Stream.COPY)
        keys = jax.vmap(lambda number: jax.random.fold_in(stream, number))(row)
        return {**batch, "x": jax.vmap(_altered)(keys, batch["x"]), "class": row // self.copies}


def augmented(source: S, copies: int) -> Augmented[S]:
    """Returns a source in which each image is its own class with `copies` random variations; see `Augmented`.

    Raises:
      ValueError: There are fewer than 2 copies, or the examples are no images [H, W, C].
    """
    if len(source.event_shape) != 3:
        raise ValueError(f"copies are of images, and examples of {source.name} have the shape {source.event_shape}")
    return Augmented(source, copies)


def _altered(key: jax.Array, image: jax.Array) -> jax.Array:
    """Shifts an image [H, W, C], changes its brightness, adds noise, and clips it to [0, 1]."""
    move, bright, noise = jax.random.split(key, 3)
    room = tuple(int(side * SHIFT) for side in image.shape[:2])
    padded = jnp.pad(image, ((room[0], room[0]), (room[1], room[1]), (0, 0)))
    corner = jax.random.randint(move, (3,), 0, jnp.array([2 * room[0] + 1, 2 * room[1] + 1, 1]))
    moved = jax.lax.dynamic_slice(padded, (corner[0], corner[1], corner[2]), image.shape)
    factor = jax.random.uniform(bright, (), image.dtype, *BRIGHTNESS)
    return jnp.clip(moved * factor + NOISE * jax.random.normal(noise, image.shape, image.dtype), 0, 1)
