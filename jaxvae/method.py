"""What a method is: a table of networks and of who minimises what.

A method (one paper, one file in `jaxvae.methods`) fills in a `Method`. `jaxvae.training` turns any `Method` into a pure
`init` / `update` pair. Nothing in this module runs anything.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

Params: TypeAlias = Any
"""A pytree of arrays, as a network's `init` returns it."""

Batch: TypeAlias = Mapping[str, jax.Array]
"""Named arrays whose first axis is the example: at least those that `Method.needs` names."""

Hyperparameters: TypeAlias = Any
"""A NamedTuple of scalars. Traced, so one compilation serves every value and `vmap` can sweep them."""


class Network(NamedTuple):
    """A network as two pure functions, whatever library it comes from."""

    init: Callable[[jax.Array], Params]
    """key -> params"""
    apply: Callable[..., Any]
    """(params, *inputs) -> outputs"""


class Posterior(NamedTuple):
    """A diagonal Gaussian over codes."""

    mean: jax.Array
    """[..., D]"""
    logvar: jax.Array
    """[..., D], natural log of the variance"""


class Context(NamedTuple):
    """What a loss may know besides the networks and the batch."""

    key: jax.Array
    """Randomness of this objective at this step; the same on every device."""
    hyperparameters: Hyperparameters
    step: jax.Array
    """int32 scalar, updates done so far: schedules are functions of it."""
    dataset_size: int
    """Number of examples in the set the batches come from."""
    axis_name: str | None = None
    """Mesh axis the batch is split over, or None."""


class Nets:
    """Networks bound to parameters: `net.encoder(x)` is `networks["encoder"].apply(params["encoder"], x)`."""

    def __init__(self, networks: Mapping[str, Network], params: Mapping[str, Params]):
        self._networks, self._params = networks, params

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._networks:
            raise AttributeError(f"no network {name!r}; this method has {sorted(self._networks)}")
        return lambda *inputs: self._networks[name].apply(self._params[name], *inputs)

    def params(self, name: str) -> Params:
        """The parameters of a network, for a prior on them."""
        return self._params[name]


Optimizer: TypeAlias = Callable[[Any], optax.GradientTransformation] | optax.GradientTransformation
"""A function of the learning rate, exactly as in Optax: `optax.adam`, `partial(optax.adamw, weight_decay=0.1)`, or
`lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))`. The rate is traced, so one compilation
serves every rate. A transformation that is already built, such as `optax.adam(0.1)`, keeps its own rate."""

Terms: TypeAlias = dict[str, jax.Array]
"""Named scalars to log, in nats per example unless the name says otherwise."""


class Objective(NamedTuple):
    """One gradient update: the networks in `trains` minimise `loss`, every other network is constant in it."""

    loss: Callable[[Nets, Batch, Context], tuple[jax.Array, Terms]]
    """(net, batch, ctx) -> (scalar, terms). With `ctx.axis_name`, means are over the local examples."""
    trains: tuple[str, ...]
    optimizer: Optimizer | Mapping[str, Optimizer] = optax.adam
    """One optimizer for all networks, or one for each; it sees one network at a time. Objectives with the same
    optimizer share its state (such as moments) for a network that both train."""
    learning_rate: str | Mapping[str, str] = "learning_rate"
    """Field of the hyperparameters that is the optimizer's learning rate, or one for each network that is trained."""
    project: Callable[[dict[str, Params], Hyperparameters], dict[str, Params]] = lambda params, hyperparameters: params
    """(params of what is trained, after the update) -> params within a constraint, or after a proximal step."""
    active: Callable[[jax.Array], jax.Array] | None = None
    """step -> whether this objective changes anything in that update, always if not given: a critic is trained on more
    batches than its opponent. The terms are those of all updates."""
    schedule: Callable[[jax.Array], jax.Array] | None = None
    """step -> factor of the learning rate at that step; by default, 1 at every step."""

    def optimizer_of(self, network: str) -> Optimizer:
        """The optimizer of a network."""
        return self.optimizer[network] if isinstance(self.optimizer, Mapping) else self.optimizer

    def rate_of(self, network: str) -> str:
        """The field of the hyperparameters that is the learning rate of a network."""
        return self.learning_rate if isinstance(self.learning_rate, str) else self.learning_rate[network]


def no_code(net: Nets, batch: Batch) -> Posterior:
    """`encode` of a method that learns no code: one of no latents."""
    empty = jnp.zeros((len(next(iter(batch.values()))), 0))
    return Posterior(empty, empty)


def no_image(net: Nets, code: jax.Array) -> jax.Array:
    """`decode` of a method whose codes alone make no image."""
    raise ValueError("the codes of this method alone make no image: there is nothing to decode with")


class Method(NamedTuple):
    """One paper: networks, hyperparameters, and the objectives that train them."""

    name: str
    networks: Mapping[str, Network]
    """By name. The functions of a method without any are never compiled, so that they may be NumPy's."""
    hyperparameters: Hyperparameters
    objectives: tuple[Objective, ...]
    encode: Callable[[Nets, Batch], Posterior] = no_code
    """(net, batch) -> posterior over codes [B, D]. It reads "image" [B, H, W, C] of the batch; methods whose encoder
    sees more say so."""
    decode: Callable[[Nets, jax.Array], jax.Array] = no_image
    """(net, code [B, D]) -> the expected image [B, H, W, C], on the data's scale"""
    sample_prior: Callable[[Nets, jax.Array, Batch], jax.Array] | None = None
    """(net, key, batch) -> codes [B, D] drawn from the prior, one for each example; N(0, I) if not given."""
    needs: tuple[str, ...] = ("image",)
    """Keys of the batch that the losses read."""
    sequential: bool = False
    """Whether an objective sees what those before it did to the parameters in the same update, or all of them the
    parameters as they were before it."""
    pictures: Callable[[Nets, jax.Array, Batch], dict[str, jax.Array]] | None = None
    """(net, key, batch) -> what else there is to see of the examples, by name, [B, H, W, C] each; those whose name ends
    in "map" are differences, 0 for none."""
