"""What the training loop, the metrics and the report ask of a data set."""

from typing import Protocol

import jax


class Source(Protocol):
    """A data set whose batches are drawn on the device, with its ground-truth factors.

    Sources are frozen dataclasses: hashable, safe to close over in `jit`.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        ...

    @property
    def factor_names(self) -> tuple[str, ...]:
        """K names of the generative factors."""
        ...

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """K numbers of values: factor k takes 0 .. factor_sizes[k] - 1."""
        ...

    @property
    def size(self) -> int:
        """Number of examples: the product of the factor sizes for a full grid."""
        ...

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Rows first .. first+n-1 of the endless list of random factors that `key` names: int32 [n, K].

        A row depends on (key, its index) alone, so batches do not change with the number of devices that draw them.
        """
        ...

    def render(self, factors: jax.Array) -> jax.Array:
        """int32 [n, K] -> images float32 [n, H, W, C] in [0, 1]."""
        ...

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """A batch: {"image": [n, H, W, C], "factors": [n, K]}; rows as in `sample_factors`."""
        ...
