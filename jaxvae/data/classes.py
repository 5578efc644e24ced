"""Classes of images: a factor, with wrong labels among them if wanted, or the image that a copy was made of."""

import math
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import UNSHARDED, S, Shard, Wrapper
from jaxvae.data.table import Table
from jaxvae.streams import Stream

SHIFT = 1 / 8
"""Of a side: how far a copy may be moved, at most."""
BRIGHTNESS = (0.6, 1.4)
"""What the values of a copy are multiplied by."""
NOISE = 0.05
"""Standard deviation of what is added to every value of a copy."""


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["factor", "kept"])
@dataclass(frozen=True)
class Classified(Wrapper[S]):
    """A source whose examples have a class, "class" int32 [n] in 0 .. classes - 1; make one with `classified`."""

    source: S
    factor: str
    """Name of the factor whose values are the classes."""
    kept: bool
    """Whether the source has a column of classes, as some of them are wrong."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.factor_sizes[self.factor_names.index(self.factor)]

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self._with_class(self.source.at(index))

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self._with_class(self.source.sample(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch of update number `step`."""
        return self._with_class(self.source.batch(key, step, n, part))

    def _with_class(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        if self.kept:
            return batch
        return {**batch, "class": batch["factors"][:, self.factor_names.index(self.factor)]}


def classified(source: S, factor: str, *, corruption: float = 0.0, seed: int = 10) -> Classified:
    """A source with the values of one of its factors as classes.

    With corruption, floor(corruption * size) examples, drawn without repeats, get a class drawn uniformly from all of
    them, their own included: the share of wrong ones is corruption * (1 - 1 / classes). "factors" keeps the truth,
    which no method must look at. Evaluate on other examples, with their true classes.

    Args:
      source: with known factors; a `Table` where there is corruption, as a wrong label belongs to an example's number.
      factor: name of one of them.
      corruption: from 0 to 1.
      seed: of the corruption; 10 in the authors' code.

    Raises:
      ValueError: no such factor, corruption outside of 0 to 1, or of a source that is no table.

    Reference: Yu, Chan, You, Song & Ma (2020), section 3.1 by memory.
    """
    if factor not in source.factor_names:
        there = ", ".join(source.factor_names) or "none"
        raise ValueError(f"classes are the values of a factor of {source.name}: {there}; got {factor!r}")
    if not 0 <= corruption <= 1:
        raise ValueError(f"corruption is a share of the examples, from 0 to 1, got {corruption}")
    if corruption == 0:
        return Classified(source, factor, kept=False)
    if not isinstance(source, Table) or source.factors is None:
        raise ValueError(
            f"only examples that are in a table can keep wrong labels, and {source.name} is no table but "
            f"{type(source).__name__}: corrupt its table first and wrap that, or take corruption=0"
        )
    column = source.factor_names.index(factor)
    labels = np.array(source.factors)[:, column].astype(np.int32)
    rng = np.random.default_rng(seed)
    # A hair more, so that 0.29 of 100 are 29 whatever the rounding.
    touched = rng.choice(len(labels), math.floor(corruption * len(labels) + 1e-9), replace=False)
    labels[touched] = rng.integers(source.factor_sizes[column], size=len(touched))
    return Classified(replace(source, extras={**source.extras, "class": labels}), factor, kept=True)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["copies"])
@dataclass(frozen=True)
class Augmented(Wrapper[S]):
    """A source of altered copies: batches of n hold n / copies images of the source, `copies` times each.

    Every copy is moved by up to an eighth of the sides (zeros come in), its values are multiplied by a number from 0.6
    to 1.4 and get Gaussian noise of standard deviation 0.05, and are clipped to 0 .. 1. The image that it was made of,
    as its number in the (global) batch, is its class: "class" int32 [n], copies one after another. Examples by number
    are as they are. (The paper's copies of colour images are cropped, mirrored and change their colours.)
    """

    source: S
    copies: int
    """Of an image, at least 2."""

    def __post_init__(self) -> None:
        if self.copies < 2:
            raise ValueError(f"a class is at least 2 copies of an image, got copies={self.copies}")

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Copies first .. first+n-1 of the endless list of them that `key` names."""
        row = first + jnp.arange(n, dtype=jnp.int32)
        before = first // self.copies
        images = self.source.sample(key, (n - 1) // self.copies + 2, before)
        return self._copied(images, row // self.copies - before, row, key)

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Copies of the source's batch of update number `step`. ValueError where n is no multiple of `copies`."""
        if n % self.copies:
            raise ValueError(f"a batch of {n} does not hold {self.copies} copies of every image: choose a multiple")
        first, count = part.rows(n)
        row = first + jnp.arange(count, dtype=jnp.int32)
        images = self.source.batch(key, step, n // self.copies)
        return self._copied(images, row // self.copies, row, jax.random.fold_in(key, step))

    def _copied(
        self, images: dict[str, jax.Array], place: jax.Array, row: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        """Copies number `row`, of the images at `place`."""
        batch = {name: column[place] for name, column in images.items()}
        stream = jax.random.fold_in(key, Stream.COPY)
        keys = jax.vmap(lambda number: jax.random.fold_in(stream, number))(row)
        return {**batch, "image": jax.vmap(_altered)(keys, batch["image"]), "class": row // self.copies}


def augmented(source: S, copies: int) -> Augmented[S]:
    """Images as classes of their own, each with `copies` random variations of it, see `Augmented`.

    ValueError for fewer than 2 copies.
    """
    return Augmented(source, copies)


def _altered(key: jax.Array, image: jax.Array) -> jax.Array:
    """[H, W, C] moved, brightened or darkened, with noise, in 0 .. 1."""
    move, bright, noise = jax.random.split(key, 3)
    room = tuple(int(side * SHIFT) for side in image.shape[:2])
    padded = jnp.pad(image, ((room[0], room[0]), (room[1], room[1]), (0, 0)))
    corner = jax.random.randint(move, (3,), 0, jnp.array([2 * room[0] + 1, 2 * room[1] + 1, 1]))
    moved = jax.lax.dynamic_slice(padded, (corner[0], corner[1], corner[2]), image.shape)
    factor = jax.random.uniform(bright, (), image.dtype, *BRIGHTNESS)
    return jnp.clip(moved * factor + NOISE * jax.random.normal(noise, image.shape, image.dtype), 0, 1)
