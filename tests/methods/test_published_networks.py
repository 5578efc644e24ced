"""Networks as published are too large to train here: each takes one update. The smaller ones are traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import moving_sprites
from jaxvae.methods import alae, equivariant_rendering, icam, mcr2, va_gan
from jaxvae.networks import (
    attribution_networks,
    feature_network,
    latent_adversarial_networks,
    layered_networks,
    translation_networks,
)
from jaxvae.training import make_train_step

pytestmark = pytest.mark.process

PUBLISHED = {
    "alae": (lambda: alae(latent_adversarial_networks((32, 32, 1), size="paper")), (32, 32, 1)),
    "va-gan": (
        lambda: va_gan(attribution_networks((112, 112, 1), "paper"), critic_steps=1, long_steps=1),
        (112, 112, 1),
    ),
    "icam": (lambda: icam(translation_networks((128, 128, 1), "paper"), content_steps=0), (128, 128, 1)),
    "mcr2": (lambda: mcr2({"encoder": feature_network((32, 32, 3), 128, "resnet")}, classes=2), (32, 32, 3)),
    "equivariant-rendering": (lambda: equivariant_rendering(layered_networks((32, 32, 3), size="paper")), (32, 32, 3)),
}

SMALL = {
    "alae": lambda: alae(latent_adversarial_networks((16, 16, 1))),
    "alae of convolutions": lambda: alae(latent_adversarial_networks((16, 16, 1), architecture="conv")),
    "va-gan": lambda: va_gan(attribution_networks((16, 16, 1))),
    "icam": lambda: icam(translation_networks((16, 16, 1))),
    "mcr2": lambda: mcr2({"encoder": feature_network((16, 16, 1), 5)}, classes=2),
    "equivariant-rendering": lambda: equivariant_rendering(layered_networks((16, 16, 1))),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_fit_their_method(name):
    """Traced for a batch of 4: an update gives a state of the same shapes."""
    method = SMALL[name]()
    init, update = make_train_step(method, dataset_size=100)
    image, video = (jax.ShapeDtypeStruct((4, *shape, 1), jnp.float32) for shape in ((16, 16), (6, 16, 16)))
    batch = {"x": image, "control": image, "class": jax.ShapeDtypeStruct((4,), jnp.int32), "video": video}
    state = jax.eval_shape(init, jax.random.key(0))
    after, terms = jax.eval_shape(update, state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert all(value.shape == () for value in terms.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_take_a_step(name):
    build, shape = PUBLISHED[name]
    method = build()
    init, update = make_train_step(method, dataset_size=100)
    image = jax.random.uniform(jax.random.key(1), (4, *shape))
    batch = {"x": image, "control": image[::-1], "class": jnp.array([0, 1, 0, 1])}
    if name == "equivariant-rendering":
        batch["video"] = moving_sprites(32).sample(jax.random.key(2), 4)["video"]
    before = jax.jit(init)(jax.random.key(0))
    after, terms = jax.jit(update)(before, batch)
    assert all(np.isfinite(value) for value in terms.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    for network in method.networks:
        pairs = zip(*(jax.tree.leaves(state.params[network]) for state in (before, after)), strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs)
