"""Definition of a method: its networks, and the objectives that train them.

A method (one paper, one file in `jaxvae.methods`) fills in a `Method`. `jaxvae.training` turns any `Method` into a pair
of pure functions, `init` and `update`. Nothing in this module runs anything.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

Params: TypeAlias = Any
"""Pytree of arrays, as returned by a network's `init`."""

Batch: TypeAlias = Mapping[str, jax.Array]
"""Named arrays whose first axis is the example. A batch has at least the keys in `Method.needs`."""

Hyperparameters: TypeAlias = Any
"""NamedTuple of scalars. They are traced, so one compilation serves every value and `vmap` can sweep them."""


class Network(NamedTuple):
    """A network as two pure functions, whichever library it comes from."""

    init: Callable[[jax.Array], Params]
    """Function key -> params."""
    apply: Callable[..., Any]
    """Function (params, *inputs) -> outputs."""
    hidden: Callable[..., list[jax.Array]] = lambda params, *inputs: []
    """Function (params, *inputs) -> activations of the hidden layers [B, ...] each, for penalties on them; none for
    networks that do not tell."""


class Posterior(NamedTuple):
    """A diagonal Gaussian distribution over codes."""

    mean: jax.Array
    """Means [..., D]."""
    logvar: jax.Array
    """Natural logarithms of the variances [..., D]."""


END = 2**30
"""Step that stands for the end of training, at which all warmups and cycles have ended."""


class Context(NamedTuple):
    """Values that a loss may depend on besides the networks and the batch."""

    key: jax.Array
    """Random key of this objective at this step; the same on every device."""
    hyperparameters: Hyperparameters
    step: jax.Array
    """Number of steps completed, an int32 scalar. Schedules are functions of it."""
    dataset_size: int
    """Number of examples in the data set that the batches come from."""
    axis_name: str | None = None
    """Mesh axis that the batch is split over, or None."""


class Nets:
    """Networks bound to parameters: `net.encoder(x)` is `networks["encoder"].apply(params["encoder"], x)`."""

    def __init__(self, networks: Mapping[str, Network], params: Mapping[str, Params]):
        self._networks, self._params = networks, params

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._networks:
            raise AttributeError(f"no network {name!r}; this method has {sorted(self._networks)}")
        return lambda *inputs: self._networks[name].apply(self._params[name], *inputs)

    def params(self, name: str) -> Params:
        """Returns the parameters of a network, which a prior over them needs."""
        return self._params[name]

    def hidden(self, name: str, *inputs: jax.Array) -> list[jax.Array]:
        """Returns the activations of a network's hidden layers, see `Network.hidden`."""
        return self._networks[name].hidden(self._params[name], *inputs)


Optimizer: TypeAlias = Callable[[Any], optax.GradientTransformation] | optax.GradientTransformation
"""Function of the learning rate that returns a gradient transformation, exactly as in Optax: `optax.adam`,
`partial(optax.adamw, weight_decay=0.1)`, or
`lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))`. The learning rate is traced, so one
compilation serves every rate. A transformation that is already built, such as `optax.adam(0.1)`, keeps its own learning
rate."""


def are_weights(params: Params) -> Any:
    """Tells weights, which decay, from biases and scales, which do not: a mask for `optax.adamw`, among others.

    Weights have two or more axes, and are not named "bias" or "scale": of these, networks side by side have a matrix,
    with a row for each network.
    """

    def is_weight(path: tuple[Any, ...], leaf: Any) -> bool:
        return jnp.ndim(leaf) > 1 and getattr(path[-1] if path else None, "key", None) not in ("bias", "scale")

    return jax.tree_util.tree_map_with_path(is_weight, params)


Terms: TypeAlias = dict[str, jax.Array]
"""Named scalars to log, in nats per example unless the name says otherwise."""


class Objective(NamedTuple):
    """One gradient step: the networks in `trains` minimize `loss`, while every other network is held constant."""

    loss: Callable[[Nets, Batch, Context], tuple[jax.Array, Terms]]
    """Function (net, batch, ctx) -> (scalar, terms). With `ctx.axis_name`, means are over the local examples."""
    trains: tuple[str, ...]
    optimizer: Optimizer | Mapping[str, Optimizer] = optax.adam
    """One optimizer for all networks, or one for each network. It sees one network at a time. Objectives with the same
    optimizer share its state (such as moments) for a network that both of them train."""
    learning_rate: str | Mapping[str, str] = "learning_rate"
    """Field of the hyperparameters that holds the optimizer's learning rate, or one field for each trained network."""
    project: Callable[[dict[str, Params], Hyperparameters], dict[str, Params]] = lambda params, hyperparameters: params
    """Function (trained params after the step, hyperparameters) -> params. It projects onto a constraint or takes a
    proximal step."""
    active: Callable[[jax.Array], jax.Array] | None = None
    """Function step -> whether the objective is active at this step; by default, always. It lets a critic train on more
    batches than its opponent. The terms are computed at every step."""
    schedule: Callable[[jax.Array], jax.Array] | None = None
    """Function step -> factor of the learning rate at that step; by default, 1 at every step."""

    def optimizer_of(self, network: str) -> Optimizer:
        """Returns the optimizer of a network."""
        return self.optimizer[network] if isinstance(self.optimizer, Mapping) else self.optimizer

    def rate_of(self, network: str) -> str:
        """Returns the field of the hyperparameters that holds the learning rate of a network."""
        return self.learning_rate if isinstance(self.learning_rate, str) else self.learning_rate[network]


def no_code(net: Nets, batch: Batch) -> Posterior:
    """The `encode` of a method that learns no code: a posterior with no latents."""
    empty = jnp.zeros((len(next(iter(batch.values()))), 0))
    return Posterior(empty, empty)


def no_image(net: Nets, code: jax.Array) -> jax.Array:
    """The `decode` of a method whose codes cannot be decoded on their own."""
    raise ValueError("the codes of this method alone make no image: there is nothing to decode with")


class Method(NamedTuple):
    """One paper: networks, hyperparameters, and the objectives that train them."""

    name: str
    networks: Mapping[str, Network]
    """Networks by name. The functions of a method without networks are never compiled, so they may use NumPy."""
    hyperparameters: Hyperparameters
    objectives: tuple[Objective, ...]
    encode: Callable[[Nets, Batch], Posterior] = no_code
    """Function (net, batch) -> posterior over codes [B, D]. It reads "x" [B, H, W, C] from the batch; methods whose
    encoder reads more document it."""
    decode: Callable[[Nets, jax.Array], jax.Array] = no_image
    """Function (net, code [B, D]) -> expected images [B, H, W, C], on the scale of the data."""
    decode_with: Callable[[Nets, jax.Array, Batch], jax.Array] | None = None
    """Function (net, code [B, D], batch) -> expected examples of a batch, where the decoder reads more of it than codes
    hold, such as the library size of cells; by default, `decode`."""
    sample_prior: Callable[[Nets, jax.Array, Batch], jax.Array] | None = None
    """Function (net, key, batch) -> codes [B, D] drawn from the prior, one for each example; by default, from N(0,
    I)."""
    needs: tuple[str, ...] = ("x",)
    """Keys of the batch that the losses read."""
    sequential: bool = False
    """Whether each objective sees the parameters as changed by the objectives before it in the same step. Otherwise,
    all objectives see the parameters from before the step."""
    pictures: Callable[[Nets, jax.Array, Batch], dict[str, jax.Array]] | None = None
    """Function (net, key, batch) -> further pictures of the examples, by name, [B, H, W, C] each. Pictures whose name
    ends in "map" are signed differences, with 0 for no difference."""
    quantised: bool = False
    """Whether each latent of a code has one of a few values, so that scores of a run take these as categories."""

    def expected(self, net: Nets, code: jax.Array, batch: Batch) -> jax.Array:
        """Decodes the codes [B, D] of a batch into expected examples [B, ...]."""
        return self.decode(net, code) if self.decode_with is None else self.decode_with(net, code, batch)
