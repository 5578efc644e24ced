"""Epochs: every example once per epoch, in an order that is computed instead of stored."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.data.source import UNSHARDED, S, Shard, Wrapper
from jaxvae.streams import Stream

ROUNDS = 8
SMALLEST_HALF = 5
"""Smallest size of half a number in bits. With smaller halves, the orders are visibly not uniform."""


def shuffled_index(key: jax.Array, position: jax.Array, size: int) -> jax.Array:
    """Returns the entry at `position` of the random permutation of 0 .. size-1 that `key` determines.

    The other entries are not computed. A Feistel network permutes the next larger 4^m numbers. Results that are not
    below `size` are permuted again until they are (cycle walking, up to 4 times on average for sizes from 256), which
    leaves a permutation of 0 .. size-1.

    Args:
      key: Random key of the permutation.
      position: Positions, uint32 [n], below size.
      size: Number of entries, at most 2^31.

    Returns:
      Entries, int32 [n].
    """
    half = max(SMALLEST_HALF, -(-(size - 1).bit_length() // 2))
    mask = jnp.uint32(2**half - 1)
    round_keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)

    def permute(number: jax.Array) -> jax.Array:
        left, right = number >> half, number & mask
        for round_key in round_keys:
            left, right = right, left ^ (_hash(right ^ round_key) & mask)
        return (left << half) | right

    def entry(position: jax.Array) -> jax.Array:
        return jax.lax.while_loop(lambda number: number >= size, permute, permute(position))

    return jax.vmap(entry)(position.astype(jnp.uint32)).astype(jnp.int32)


def _hash(number: jax.Array) -> jax.Array:
    """Computes the finalizer of MurmurHash3: every bit of the result depends on every bit of the number."""
    number = (number ^ (number >> 16)) * jnp.uint32(0x85EBCA6B)
    number = (number ^ (number >> 13)) * jnp.uint32(0xC2B2AE35)
    return number ^ (number >> 16)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=[])
@dataclass(frozen=True)
class Epochs(Wrapper[S]):
    """A source without repeats: its sequence of examples consists of random orders of all examples, one after another.

    The batch of a step continues where that of the previous step ended, across the end of an epoch, and a resumed run
    continues at the same example. (Positions are counted in 32 bits: after 4 billion examples, the count starts again.)
    """

    source: S

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns positions first .. first+n-1 of the concatenated epochs."""
        places = jnp.asarray(first).astype(jnp.uint32) + jnp.arange(n, dtype=jnp.uint32)
        size = jnp.uint32(self.size)

        def index(place: jax.Array) -> jax.Array:
            return shuffled_index(jax.random.fold_in(key, place // size), (place % size)[None], self.size)[0]

        return self.source.at(jax.vmap(index)(places))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the n positions after those of the previous steps."""
        first, count = part.rows(n)
        place = jnp.asarray(step).astype(jnp.uint32) * n + jnp.asarray(first).astype(jnp.uint32)
        return self.sample(jax.random.fold_in(key, Stream.ORDER), count, place)
