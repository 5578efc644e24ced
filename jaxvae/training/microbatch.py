"""Large batches on small devices: networks are applied to microbatches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.method import Method, Params


def in_microbatches(method: Method, size: int) -> Method:
    """Returns the method with networks that are applied to `size` examples at a time.

    Losses still see the whole batch, so estimators such as total correlation, permutations and MMD are those of the
    whole batch. Values and gradients change by rounding only. (Gradient accumulation, which averages the gradients of
    small batches, estimates from small batches.) Only the inputs and outputs of the networks are stored for the whole
    batch. Intermediate values are recomputed for the gradient, one microbatch at a time.

    Raises:
      ValueError: The size is below 1.
    """
    if size < 1:
        raise ValueError(f"a microbatch needs at least 1 image, got {size}")
    networks = {
        name: network._replace(apply=_chunked(network.apply, size)) for name, network in method.networks.items()
    }
    return method._replace(networks=networks)


def _chunked(apply: Callable[..., Any], size: int) -> Callable[..., Any]:
    def apply_in_chunks(params: Params, *inputs: jax.Array) -> Any:
        total = inputs[0].shape[0] if inputs else 0
        chunks = total // size
        if total <= size:
            return apply(params, *inputs)
        forgetful = jax.checkpoint(lambda parts: apply(params, *parts))
        whole = [array[: chunks * size].reshape(chunks, size, *array.shape[1:]) for array in inputs]
        _, outputs = jax.lax.scan(lambda carry, parts: (carry, forgetful(parts)), None, whole)
        outputs = jax.tree.map(lambda array: array.reshape(chunks * size, *array.shape[2:]), outputs)
        if chunks * size == total:
            return outputs
        rest = forgetful([array[chunks * size :] for array in inputs])
        return jax.tree.map(lambda one, other: jnp.concatenate([one, other]), outputs, rest)

    return apply_in_chunks
