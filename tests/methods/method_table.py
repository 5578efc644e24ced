"""Every method of the command's table, small enough to try."""

from dataclasses import dataclass
from functools import cache, partial
from inspect import signature

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvae.cli.train import parse_train
from jaxvae.data import Conditioned, Pairs, Sprites, few_labels, moving_sprites
from jaxvae.data.source import UNSHARDED
from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS, bernoulli
from jaxvae.runs.build import build
from jaxvae.training import check, make_train_step
from tests.methods.tiny_networks import tiny_autoencoder, tiny_networks


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Everything(Conditioned):
    """Batches that count as groups of two, with the smallest sprites as controls, and clips beside them."""

    def batch(self, key, step, n, part=UNSHARDED):
        first, count = part.rows(n)
        factors = Sprites(16).batch(jax.random.fold_in(key, 1), step, n, part)["factors"]
        batch = super().batch(key, step, n, part)
        return {
            **batch,
            "class": batch["factors"][:, 0],
            "video": moving_sprites(16).batch(key, step, n, part)["video"],
            "group": (first + jnp.arange(count)) // 2,
            "control": Sprites(16).render(factors.at[:, 1].set(0)),
        }


SOURCE = Everything(few_labels(Pairs(Sprites(16), shared=4), 50), ("shape",))
"""Single images as well: the first of a pair."""
LATENTS = 5
OWN = {
    "oi-vae": {"learning_rate": 1e-2, "prior_scale": 0.01},
    "equivariant-rendering": {"learning_rate": 2e-2},
    "semi-supervised-vae": {"learning_rate": 3e-3},
    "drvi": {"learning_rate": 3e-3, "warmup": 0.0},
}
"""Hyperparameters of networks that are slow to learn, and of priors that would hide the rest of the loss."""
OPTIONS = {
    "va-gan": {"critic_steps": 1, "long_steps": 1},
    "icam": {"content_steps": 0, "random_branch": "no"},
    "mcr2": {"classes": 3},
}
"""Objectives that would seldom be due."""
FALLS = {"alae": "encoder_decoder_loss", "va-gan": "critic_loss", "qlae": "reconstruction"}
"""The term that falls, where it is not the loss."""


SIZES = {"components": 20, "discriminator": (32, 32)}
"""Of networks that have them."""
SMALLER = {"oi-vae": ("encoder",), "drvi": ("encoder",), "mcr2": ()}
"""Networks with one hidden layer in place of those the method comes with, where not both encoder and decoder."""


def networks(name="vae", dtype=jnp.float32):
    if tiny := tiny_networks(name, SOURCE.event_shape, LATENTS, dtype):
        return tiny
    kind = METHODS[name].networks
    fields = {"latents": LATENTS, "dtype": jnp.dtype(dtype).name, **SIZES}
    made = kind(**{key: value for key, value in fields.items() if key in kind.__dataclass_fields__}).make(SOURCE)
    own = {"ivae": {"aux_dim": SOURCE.aux_dim}, "tripod": {"activation": nn.gelu}}  # a curvature needs no kinks
    small = tiny_autoencoder(SOURCE.event_shape, LATENTS, dtype, **own.get(name, {}))
    return made | {network: small[network] for network in SMALLER.get(name, small)}


def make(name, dtype=jnp.float32, *, likelihood=bernoulli(), hp=None, **options):
    entry = METHODS[name]
    hyperparameters = entry.hyperparameters(**{"learning_rate": 1e-3, **OWN.get(name, {}), **(hp or {})})
    options = {**OPTIONS.get(name, {}), **options}
    if has_likelihood(name):
        options["likelihood"] = likelihood
    return entry.build(networks(name, dtype), hyperparameters=hyperparameters, **options)


def has_likelihood(name):
    return "likelihood" in signature(METHODS[name].build).parameters


def compiled(name, dtype=jnp.float32):
    """init and update of a method, jitted once for all tests."""
    return _compiled(name, dtype)


@cache
def _compiled(name, dtype):
    # In half precision, finite differences are refused.
    options = {"derivatives": "exact"} if name == "tripod" and dtype != jnp.float32 else {}
    init, update = make_train_step(make(name, dtype, **options), dataset_size=SOURCE.size)
    return jax.jit(init), jax.jit(update)


@partial(jax.jit, static_argnums=1)
def draw(key, n=32):
    """A batch with all that any method needs."""
    return {**SOURCE.batch(key, jnp.int32(0), n), "fresh_x": SOURCE.sample(key, n)["x"]}


def own(method, params):
    """`params`, with new ones for networks of the method that they do not fit."""

    def shapes(tree):
        return jax.tree.map(jnp.shape, tree)

    fresh = jax.eval_shape(lambda: {name: net.init(jax.random.key(3)) for name, net in method.networks.items()})
    kept = {name: params[name] for name in fresh if name in params and shapes(params[name]) == shapes(fresh[name])}
    new = {name: network.init for name, network in method.networks.items() if name not in kept}
    return kept | (jax.jit(lambda: {name: init(jax.random.key(3)) for name, init in new.items()})() if new else {})


def loss_of(method, params, batch, key, step=0, objective=0):
    hp = jax.tree.map(jnp.float32, method.hyperparameters)
    ctx = Context(key, hp, jnp.int32(step), SOURCE.size)
    return method.objectives[objective].loss(Nets(method.networks, params), batch, ctx)


def build_and_trace(words):
    """What the command does with these words before it trains: where bad input is refused."""
    config = parse_train(words).config
    source, method = build(config)
    check(method, source, batch_size=config.training.batch_size)
