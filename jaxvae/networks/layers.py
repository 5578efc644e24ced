"""Convolutions that halve the sides of an image, and transposed convolutions that double them.

Parameters and results are those of Flax's `Conv` and `ConvTranspose` with stride 2 and padding "SAME". On accelerators,
each layer is one call of `lax`. On CPUs, XLA is slow at some of these operations: the weight gradient of a transposed
convolution takes 60% of a training step. There, the products and their gradients are written in the forms that were
measured to be fastest (`python -m benchmarks.train_step`). These forms use `lax` as well, so every transformation of
JAX applies. The platform is that of the mesh (`jax.shard_map`, `jax.set_mesh`), which may be described by a topology
alone, or else that of JAX's first device. Programs with a symbolic batch size, which `jax.export` makes for several
platforms, have the same form as on accelerators.
"""

from collections.abc import Callable
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike

from jaxvae.networks.heads import GLOROT

LAYOUT = ("NHWC", "HWIO", "NHWC")
IMAGES = 16
"""Least number of images in a part of a batch: about as many as fit into a CPU's caches."""
MOST_PARTS = 4
"""Largest number of parts of a batch. More parts take longer to compile."""

Product: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


class Conv(nn.Module):
    """Convolution with a square kernel, stride 2 and padding "SAME"."""

    features: int
    kernel: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H/2, W/2, features]."""
        return _affine(self, halve, x, self.kernel)


class ConvTranspose(nn.Module):
    """Transposed convolution with a 4x4 kernel, stride 2 and padding "SAME"."""

    features: int
    dtype: DTypeLike = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, 2H, 2W, features]."""
        return _affine(self, double, x, 4, self.use_bias)


def _affine(
    module: Conv | ConvTranspose, product: Product, x: jax.Array, kernel: int, use_bias: bool = True
) -> jax.Array:
    weights = module.param("kernel", GLOROT, (kernel, kernel, x.shape[-1], module.features))
    y = product(x.astype(module.dtype), weights.astype(module.dtype))
    if not use_bias:
        return y
    bias = module.param("bias", nn.initializers.zeros_init(), (module.features,))
    return y + bias.astype(module.dtype).reshape(1, 1, 1, -1)


def in_parts(layers: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Computes `layers(x)`, [B, ..] -> [B, ..]. On CPUs, the batch is split into parts that fit into the caches."""
    if not _for_cpu(x):
        return layers(x)
    size = max(IMAGES, -(-len(x) // MOST_PARTS))
    return jnp.concatenate([layers(x[first : first + size]) for first in range(0, len(x), size)])


def _for_cpu(x: jax.Array) -> bool:
    """Whether to use the forms for CPUs. A program whose batch size is symbolic is exported, for any platform."""
    return _platform() == "cpu" and isinstance(x.shape[0], int)


def _platform() -> str:
    """Returns the platform of the mesh that is traced for, or of JAX's first device where there is no mesh."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return device.platform if device else jax.default_backend()


def halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with stride 2 and padding "SAME": [B, H, W, C], [k, k, C, F] -> [B, H/2, W/2, F]
    (cross-correlation).
    """
    even = x.shape[1] % 2 == x.shape[2] % 2 == 0
    if _for_cpu(x) and even and kernel.shape[:2] == (2, 2):
        return _halve_by_blocks(x, kernel)
    if _for_cpu(x) and even and kernel.shape[:2] == (4, 4):
        return _halve4(x, kernel)
    return _strided(x, kernel)


def double(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `lax.conv_transpose` with stride 2 and padding "SAME": [B, H, W, C], [4, 4, C, F] -> [B, 2H, 2W, F]."""
    if _for_cpu(x):
        return _double4(x, kernel)
    return lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def _strided(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def _halve_by_blocks(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with a 2x2 kernel by a matrix product, as the kernel sees every pixel once."""
    return jnp.tensordot(_blocks(x), kernel, axes=((3, 4, 5), (0, 1, 2)))


def _blocks(x: jax.Array) -> jax.Array:
    """Splits images into blocks of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, 2, 2, C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)


def _overlap_add(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `double` as a matrix product, [.., C] x [C, 16 F], and a sum over the values that fall on the same
    pixel.
    """
    batch, height, width, _ = x.shape
    patches = jnp.tensordot(x, kernel, axes=((3,), (2,)))
    # Tap a of input i + a - 1 and tap a + 2 of the next input contribute to pixel 2i + a of a row.
    patches = patches.reshape(batch, height, width, 2, 2, 2, 2, kernel.shape[3])
    zero = jnp.zeros((), patches.dtype)

    def pixels(a: int, b: int) -> jax.Array:
        total = jnp.zeros((), patches.dtype)
        for next_row in (0, 1):
            for next_column in (0, 1):
                down, right = 1 - a - next_row, 1 - b - next_column
                shift = ((0, 0, 0), (down, -down, 0), (right, -right, 0), (0, 0, 0))
                total += lax.pad(patches[:, :, :, next_row, a, next_column, b], zero, shift)
        return total

    rows = [jnp.stack([pixels(a, 0), pixels(a, 1)], axis=3) for a in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, kernel.shape[3])


def _kernel_gradient(x: jax.Array, y: jax.Array) -> jax.Array:
    """Computes the kernel gradient of `_strided` for a 4x4 kernel.

    The input is [B, H, W, C], the cotangent [B, H/2, W/2, F], and the gradient [4, 4, C, F].
    """
    _, height, width, channels = x.shape
    if channels <= 4:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        blocks = _blocks(x)
        rows, columns = height // 2, width // 2
        corners = [[blocks[:, i : i + rows, j : j + columns] for j in (0, 1)] for i in (0, 1)]
        patches = jnp.stack([jnp.stack(row, axis=4) for row in corners], axis=3)  # [B, H/2, W/2, 2, 2, 2, 2, C]
        gradient = jnp.tensordot(patches, y, axes=((0, 1, 2), (0, 1, 2)))
        return gradient.reshape(4, 4, channels, y.shape[3])
    return lax.conv_general_dilated(
        x,
        y,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        rhs_dilation=(2, 2),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )


def _flip(kernel: jax.Array) -> jax.Array:
    """Flips the kernel [4, 4, C, F] -> [4, 4, F, C]. `double` with the result is the adjoint of `_strided` with the
    kernel.
    """
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _with_gradients(product: Product, by_input: Product, by_kernel: Product) -> Product:
    """Gives the bilinear `product(x, kernel)` the gradients by_input(cotangent, kernel) and by_kernel(x, cotangent).

    The derivative is written as the transpose of the gradients. Reverse mode transposes it back and runs the gradients
    as they are. Forward mode, second derivatives, `vmap` and `shard_map` need no rules of their own.
    """
    known = jax.custom_jvp(product)

    def derivative(
        primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array | SymbolicZero, ...]
    ) -> tuple[jax.Array, jax.Array]:
        (x, kernel), (dx, dkernel) = primals, tangents
        y = known(x, kernel)
        dy = jnp.zeros_like(y)
        if not isinstance(dx, SymbolicZero):
            dy += jax.linear_transpose(lambda cotangent: by_input(cotangent, kernel), y)(dx)[0]
        if not isinstance(dkernel, SymbolicZero):
            dy += jax.linear_transpose(lambda cotangent: by_kernel(x, cotangent), y)(dkernel)[0]
        return y, dy

    known.defjvp(derivative, symbolic_zeros=True)
    return lambda x, kernel: known(*_varying_alike(x, kernel))


def _varying_alike(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Makes both arrays vary over the same mesh axes, which a transpose needs inside `shard_map`."""

    def axes(array: jax.Array) -> frozenset[str]:
        return getattr(getattr(jax.typeof(array), "manual_axis_type", None), "varying", frozenset())

    def vary(array: jax.Array, other: jax.Array) -> jax.Array:
        missing = tuple(axes(other) - axes(array))
        return lax.pcast(array, missing, to="varying") if missing else array

    return vary(x, kernel), vary(kernel, x)


_halve4 = _with_gradients(_strided, lambda y, kernel: _overlap_add(y, _flip(kernel)), _kernel_gradient)
_double4 = _with_gradients(
    _overlap_add, lambda y, kernel: _strided(y, _flip(kernel)), lambda x, y: _flip(_kernel_gradient(y, x))
)
