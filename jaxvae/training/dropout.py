"""Dropout (Srivastava et al., 2014) in the networks of any method, while it trains."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.method import Batch, Context, Method, Nets, Params, Terms
from jaxvae.streams import Stream


def with_dropout(method: Method, networks: Collection[str]) -> Method:
    """Returns the method with losses that give some of its networks a random key for each example.

    A network stays a pure function: the keys [B] are its last input. Without them, as in `Method.encode` and
    `Method.decode` after training, nothing is dropped. Each call in a loss has keys of its own, and those of an example
    depend only on the key of the step and on the place of the example in the global batch.

    Args:
      method: Method to train.
      networks: Names of networks that take keys, such as those of `jaxvae.networks.autoencoder` with
        `DenseLayers(dropout=0.1)`.

    Raises:
      ValueError: The method does not have such a network.
    """
    if unknown := sorted(set(networks) - set(method.networks)):
        raise ValueError(f"{method.name} has no networks {unknown} for dropout; there are {sorted(method.networks)}")

    noisy = [objective._replace(loss=_Noisy(objective.loss, tuple(networks))) for objective in method.objectives]
    return method._replace(objectives=tuple(noisy))


def without_dropout(method: Method) -> Method:
    """Returns the method with the losses that it had before `with_dropout`, if it was called, for validation."""
    losses = [each.loss.loss if isinstance(each.loss, _Noisy) else each.loss for each in method.objectives]
    return method._replace(
        objectives=tuple(each._replace(loss=loss) for each, loss in zip(method.objectives, losses, strict=True))
    )


@dataclass(frozen=True)
class _Noisy:
    """A loss that calls some networks with keys."""

    loss: Callable[[Nets, Batch, Context], tuple[jax.Array, Terms]]
    networks: tuple[str, ...]

    def __call__(self, net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        return self.loss(_WithKeys(net, self.networks, ctx, len(batch["x"])), batch, ctx)


class _WithKeys(Nets):
    """Networks of which some are called with a key for each example as the last input."""

    def __init__(self, net: Nets, names: Collection[str], ctx: Context, examples: int):
        self._net, self._names, self._ctx, self._examples, self._calls = net, names, ctx, examples, count()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        network = getattr(self._net, name)
        if name not in self._names:
            return network

        def call(*inputs: jax.Array) -> Any:
            key = jax.random.fold_in(jax.random.fold_in(self._ctx.key, Stream.DROPOUT), next(self._calls))
            return network(*inputs, _keys(key, len(inputs[0]), self._examples, self._ctx.axis_name))

        return call

    def params(self, name: str) -> Params:
        """Returns the parameters of a network."""
        return self._net.params(name)

    def hidden(self, name: str, *inputs: jax.Array) -> list[jax.Array]:
        """Returns the activations of a network's hidden layers, without dropout."""
        return self._net.hidden(name, *inputs)


def _keys(key: jax.Array, rows: int, examples: int, axis_name: str | None) -> jax.Array:
    """Returns a key for each local row, which depends on the place of its example in the global batch: keys [rows].

    The rows may be several samples of each example, one sample of all examples after another, as in the IWAE.
    """
    examples = examples if rows % examples == 0 else rows
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * examples

    def key_of(row: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, row // examples), first + row % examples)

    return jax.vmap(key_of)(jnp.arange(rows))
