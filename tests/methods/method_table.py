"""Every method of the command's table, small enough to try."""

from functools import cache, partial

import jax
import jax.numpy as jnp

from jaxvae.data import Pairs, Sprites, few_labels
from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS, bernoulli
from jaxvae.networks import autoencoder, discriminator
from jaxvae.training import compile_method

SOURCE = few_labels(Pairs(Sprites(16), shared=4), 50)
"""Single images as well: the first of a pair."""
LATENTS = 5


def networks(name="vae", dtype=jnp.float32):
    nets = autoencoder("mlp-small", SOURCE.image_shape, LATENTS, dtype)
    logits = METHODS[name].logits
    return nets | ({"discriminator": discriminator(LATENTS, logits, (32, 32), dtype)} if logits else {})


def make(name, dtype=jnp.float32, *, likelihood=bernoulli(), hp=None, **options):
    entry = METHODS[name]
    hyperparameters = entry.hyperparameters(**{"learning_rate": 1e-3, **(hp or {})})
    return entry.build(networks(name, dtype), likelihood=likelihood, hyperparameters=hyperparameters, **options)


@cache
def compiled(name, dtype=jnp.float32):
    """init and update of a method, jitted once for all tests."""
    init, update = compile_method(make(name, dtype), dataset_size=SOURCE.size)
    return jax.jit(init), jax.jit(update)


@partial(jax.jit, static_argnums=1)
def draw(key, n=32):
    """A batch with all that any method needs."""
    return {**SOURCE.batch(key, jnp.int32(0), n), "fresh_image": SOURCE.sample(key, n)["image"]}


def own(method, params):
    """`params` with a discriminator that fits the method."""
    return {
        name: network.init(jax.random.key(3)) if name == "discriminator" else params[name]
        for name, network in method.networks.items()
    }


def loss_of(method, params, batch, key, step=0, objective=0):
    hp = jax.tree.map(jnp.float32, method.hyperparameters)
    ctx = Context(key, hp, jnp.int32(step), SOURCE.size)
    return method.objectives[objective].loss(Nets(method.networks, params), batch, ctx)
