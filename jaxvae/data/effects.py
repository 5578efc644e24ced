"""Two classes of images that differ by a known effect, and batches with equal numbers of both."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import UNSHARDED, S, Shard, Wrapper
from jaxvae.data.subsets import Subset, all_factors
from jaxvae.data.table import Table, from_arrays
from jaxvae.streams import Stream

PAPER_SIDE = 112
"""Height and width in pixels in Baumgartner et al. (2018). All other lengths scale with it."""


def squares(*, image_size: int | None = None, images: int = 4000, seed: int = 0) -> Table:
    """Smooth noise, in half of the images with two bright squares, the known effect of a class.

    The data follow Baumgartner et al. (2018), who use 10,000 images of 112 x 112 pixels; at other sizes, all lengths
    scale. Images are white noise, blurred (2.5 pixels) and scaled to a standard deviation of 50. Cases have +100 inside
    squares of 20 pixels: one in the middle, and a second one that is 32 pixels below and right of it in half of the
    cases, and above and left in the other half, shifted by up to 5 pixels at random. Every image is then scaled to [0,
    1] by its own minimum and maximum, so a bright square makes the rest darker.

    Args:
      image_size: Height and width in pixels, 32 by default.
      images: Number of images, half of which are cases.
      seed: Random seed of the data.

    Returns:
      Images with the factors "effect", 0 or 1, and "second", which is 0 for controls, 1 for below and right, and 2 for
      above and left. They also have "mask" and "second_mask", bool [N, H, W, 1], which mark all squares and the second
      square.

    Raises:
      ValueError: There are fewer than 16 pixels per side, or fewer than 2 images.
    """
    side = 32 if image_size is None else image_size
    if side < 16 or images < 2:
        raise ValueError(f"squares need at least 16 pixels a side and 2 images, got {side} and {images}")
    from scipy.ndimage import gaussian_filter  # a quarter of a second, of every command

    rng = np.random.default_rng(seed)
    scale = side / PAPER_SIDE
    noise = gaussian_filter(rng.normal(0, 50, (images, side, side)), (0, *[max(1.0, 2.5 * scale)] * 2))
    noise *= 50 / noise.std(axis=(1, 2), keepdims=True)
    effect = (np.arange(images) % 2).astype(int)
    second = effect * (1 + np.arange(images) // 2 % 2)
    length, offset = round(20 * scale), int(side / 3.5 + 0.5)
    jitter = rng.integers(-round(5 * scale), round(4 * scale) + 1, (images, 2))
    beside = np.where(second[:, None] == 1, offset, -offset) + jitter
    middle = _square(np.zeros((images, 2), int), length, side) & (effect[:, None, None] == 1)
    other = _square(beside, length, side) & (effect[:, None, None] == 1)
    pictures = noise + 100 * (middle | other)
    low, high = pictures.min(axis=(1, 2), keepdims=True), pictures.max(axis=(1, 2), keepdims=True)
    return from_arrays(
        ((pictures - low) / (high - low)).astype(np.float32)[..., None],
        np.stack([effect, second], axis=1),
        name="squares",
        factor_names=("effect", "second"),
        extras={"mask": (middle | other)[..., None], "second_mask": other[..., None]},
    )


def _square(offsets: np.ndarray, length: int, side: int) -> np.ndarray:
    """Marks squares with centres at `offsets` [N, 2] (down, right) from that of the image: bool [N, side, side]."""
    place = np.arange(side)
    first = offsets + side // 2 - length // 2
    inside = (place >= first[..., None]) & (place < first[..., None] + length)
    return inside[:, 0, :, None] & inside[:, 1, None, :]


@partial(jax.tree_util.register_dataclass, data_fields=["source", "cases", "controls"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class CaseControl(Wrapper[S]):
    """A source whose batches of n are n images with an effect and n without: {"x", "control" [n, H, W, C], ...}.

    All other entries belong to the cases. Samples, and examples by index, are those of the source and contain both
    classes.
    """

    source: S
    cases: Subset[S]
    controls: Subset[S]

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns n cases of a step, and n independent controls."""
        cases = self.cases.batch(key, step, n, part)
        controls = self.controls.batch(jax.random.fold_in(key, Stream.CONTROL), step, n, part)
        return {**cases, "control": controls["x"]}


def case_control(source: S, factor: str, *, controls: int = 0, cases: int = 1) -> CaseControl[S]:
    """Returns a source of cases and controls.

    Args:
      source: Source with known factors.
      factor: Name of the factor that separates them.
      controls: Value of the factor in controls.
      cases: Value of the factor in cases.

    Raises:
      ValueError: The factor does not exist, or no example has one of the values.
    """
    if factor not in source.factor_names:
        known = ", ".join(source.factor_names) or "none"
        raise ValueError(f"cases and controls differ in a factor of {source.name}: {known}; got {factor!r}")
    values = all_factors(source)[:, source.factor_names.index(factor)]
    index = {value: np.flatnonzero(values == value).astype(np.int32) for value in (controls, cases)}
    for value in (controls, cases):
        if not index[value].size:
            raise ValueError(
                f"no example of {source.name} has {factor} {value}; there are {np.unique(values).tolist()}"
            )
    if controls == cases:
        raise ValueError(f"cases and controls must differ, both are those with {factor} {cases}")
    return CaseControl(source, Subset(source, jnp.asarray(index[cases])), Subset(source, jnp.asarray(index[controls])))
