"""Flax Linen modules as a `Network`."""

from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvae.method import Network, Params


def from_linen(module: nn.Module, *input_shapes: tuple[int, ...]) -> Network:
    """Makes a `Network` of a module's `init` and `apply` over its "params" collection.

    Args:
      module: Linen module without mutable state. BatchNorm is excluded, as it couples the examples of a batch. What it
        sows into "intermediates", for the whole batch or for parts of it in order, are its hidden activations.
      *input_shapes: Shape of each float32 input, without the batch axis.

    Returns:
      The network. Its `apply` raises ValueError if the parameters do not fit the shapes of the inputs.
    """

    def init(key: jax.Array) -> dict:
        return module.init(key, *(jnp.zeros((1, *shape)) for shape in input_shapes))["params"]

    def apply(params: dict, *inputs: jax.Array) -> Any:
        try:
            return module.apply({"params": params}, *inputs)
        except flax.errors.ScopeParamShapeError as error:
            made = ", ".join(map(str, input_shapes))
            given = ", ".join(str(jnp.shape(x)[1:]) for x in inputs[: len(input_shapes)])
            raise ValueError(
                f"a network made for inputs of shape {made} is given {given}: make the networks with the event_shape "
                "of the data"
            ) from error

    def hidden(params: Params, *inputs: jax.Array) -> list[jax.Array]:
        _, seen = module.apply({"params": params}, *inputs, mutable=["intermediates"])
        layers = jax.tree.leaves(seen.get("intermediates", {}), is_leaf=lambda leaf: isinstance(leaf, tuple))
        return [jnp.concatenate(parts) for parts in layers]

    return Network(init, apply, hidden)
