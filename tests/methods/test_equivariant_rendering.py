"""Equivariant rendering: a model made by hand has no loss, and clips say which frames are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import make

from jaxvae.data import moving_sprites
from jaxvae.losses import affine_warp
from jaxvae.method import Context, Nets, Network
from jaxvae.methods import EquivariantRendering, equivariant_rendering
from jaxvae.methods.equivariant_rendering import draw_frames
from jaxvae.networks import layered_networks
from jaxvae.training import train_population

SIDE = 9


def fixed(apply):
    """A network without anything to learn."""
    return Network(lambda key: {"none": jnp.zeros(())}, lambda params, *inputs: apply(*inputs))


def clips(count=8, still=False):
    """A bright pixel with a value above 1/2 on a background below it, moving right by one pixel a frame."""
    behind = 0.4 * jax.random.uniform(jax.random.key(0), (count, 1, SIDE, SIDE, 1))
    first = jax.random.randint(jax.random.key(1), (count, 1), 1, 4) + jnp.arange(4)[None] * (0 if still else 1)
    place = jax.nn.one_hot(first, SIDE)[:, :, None, :] * jax.nn.one_hot(4, SIDE)[None, None, :, None]
    object_layer = jnp.where(place > 0, 0.9, 0.0)[..., None]
    return {"video": jnp.where(object_layer > 0, object_layer, behind)}, object_layer, behind[:, 0]


def by_hand(behind):
    """Foreground: what is brighter than 1/2. Background: known. Motion: from where it is brightest to where it is."""

    def shift(one, other):
        columns = [jnp.where(frame[:, 4, :, 0] > 0.5, 1.0, 0.0).argmax(axis=1) for frame in (one, other)]
        t = (columns[0] - columns[1]).astype(jnp.float32) * 2 / (SIDE - 1)
        still = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        return jnp.broadcast_to(still[None], (len(t), 2, 3)).at[:, 0, 2].set(t)

    return {
        "foreground": fixed(lambda x: jnp.where(x > 0.5, x, 0.0)),
        "background": fixed(lambda x: behind),
        "motion": fixed(shift),
        "renderer": fixed(lambda front, back: jnp.where(front > 1e-3, front, back)),
    }


def terms_of(method, batch, key=0):
    params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    ctx = Context(jax.random.key(key), method.hyperparameters, jnp.int32(0), 10)
    return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)


@pytest.mark.parametrize("still", [False, True])
def test_the_model_that_is_right_has_no_loss(still):
    batch, _, behind = clips(still=still)
    for key in range(4):
        loss, terms = terms_of(equivariant_rendering(by_hand(behind)), batch, key)
        for name in ("scene", "reconstruction", "foreground", "background"):
            np.testing.assert_allclose(terms[name], 0, atol=1e-5)
        np.testing.assert_allclose(loss, 0, atol=1e-4)


def test_every_part_of_the_loss_sees_its_own_fault():
    batch, _, behind = clips()
    nets = by_hand(behind)
    hp = EquivariantRendering(foreground_weight=2.0, background_weight=3.0, size_weight=4.0, warmup=0.0)
    stays_put = nets | {"motion": fixed(lambda one, other: jnp.tile(jnp.eye(2, 3)[None], (len(one), 1, 1)))}
    loss, terms = terms_of(equivariant_rendering(stays_put, hyperparameters=hp), batch)
    assert terms["scene"] > 1e-3
    np.testing.assert_allclose(terms["foreground"], 2 * 0.9 / SIDE**2, rtol=1e-3)
    np.testing.assert_allclose(terms["size"], 0.9 / SIDE**2, rtol=1e-3)
    size, moved = terms["size"], terms["foreground"] / (terms["size"] + 1e-3)
    np.testing.assert_allclose(loss, terms["scene"] + 2 * moved + 4 * size, rtol=1e-4)
    early, _ = terms_of(equivariant_rendering(stays_put, hyperparameters=hp._replace(warmup=10.0)), batch)
    np.testing.assert_allclose(early, terms["scene"] + 0.2 * moved, rtol=1e-4)
    holds_all = nets | {"background": fixed(lambda x: x)}
    loss, terms = terms_of(equivariant_rendering(holds_all, hyperparameters=hp), batch)
    assert terms["background"] > 1e-3
    assert terms["scene"] > 1e-3
    assert terms["reconstruction"] > 1e-3
    parts = terms["scene"] + terms["reconstruction"] + 3 * terms["background"] + 4 * size
    np.testing.assert_allclose(loss, parts, rtol=1e-3)
    _, own = terms_of(equivariant_rendering(holds_all, third_frame="no", hyperparameters=hp), batch)
    np.testing.assert_allclose(own["reconstruction"], 0, atol=1e-6)


def test_a_still_clip_fits_a_background_that_holds_everything():
    batch, _, _ = clips(still=True)
    nothing = by_hand(None) | {"background": fixed(lambda x: x), "foreground": fixed(jnp.zeros_like)}
    loss, _ = terms_of(equivariant_rendering(nothing), batch)
    np.testing.assert_allclose(loss, 0, atol=1e-6)


def test_backgrounds_can_be_exchanged():
    batch, layer, behind = clips()
    method = equivariant_rendering(by_hand(behind))
    shown = method.pictures(Nets(method.networks, dict.fromkeys(method.networks)), jax.random.key(0), batch)
    np.testing.assert_allclose(shown["rendered next frame"], batch["video"][:, 1], atol=1e-5)
    front, other = layer[:, 0], jnp.roll(behind, 1, axis=0)
    np.testing.assert_allclose(shown["on another background"], jnp.where(front > 0, front, other), atol=1e-6)
    np.testing.assert_allclose(shown["background alone"], behind, atol=1e-6)


def test_frames_are_two_in_order_and_a_third():
    video = jnp.broadcast_to(jnp.arange(6.0)[None, :, None, None, None], (500, 6, 1, 1, 1))
    for most in (1, 3, 10):
        ctx = Context(jax.random.key(most), None, jnp.int32(0), 10)
        first, second, third = (np.asarray(frame)[:, 0, 0, 0] for frame in draw_frames(video, ctx, most))
        assert set(second - first) == set(range(1, min(most, 5) + 1))
        assert set(first) >= set(range(6 - min(most, 5)))
        assert set(third) == set(range(6))
        assert not ((third == first) | (third == second)).any()
    pair, _, third = draw_frames(video[:, :2], ctx, 3)
    assert set(np.unique(np.stack([pair, third]))) <= {0.0, 1.0}


def test_the_loss_does_not_depend_on_which_frame_is_first():
    """Taken both ways: clips played backwards have the same loss for the same frames."""
    video = moving_sprites(16).sample(jax.random.key(0), 8)["video"][:, :2]
    method = equivariant_rendering(layered_networks((16, 16, 3)))
    params = {name: network.init(jax.random.key(i)) for i, (name, network) in enumerate(method.networks.items())}
    params = jax.tree.map(lambda leaf: leaf + 0.05 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    ctx = Context(jax.random.key(0), method.hyperparameters, jnp.int32(0), 10)
    # With two frames the third is the first one: leave it out of what is compared.
    alike = equivariant_rendering(layered_networks((16, 16, 3)), third_frame="no")
    hp = EquivariantRendering(background_weight=0.0)

    def of(clip):
        net = Nets(method.networks, params)
        return alike.objectives[0].loss(net, {"video": clip}, ctx._replace(hyperparameters=hp))[0]

    np.testing.assert_allclose(of(video), of(video[:, ::-1]), rtol=1e-5)


def test_features_of_an_object_on_black_move_with_it():
    """Far from the borders convolutions know no place: any whole number of pixels is exact from the start."""
    networks = layered_networks((32, 32, 3))
    params = networks["foreground"].init(jax.random.key(0))
    image = jnp.zeros((1, 32, 32, 3)).at[:, 12:18, 10:16].set(jax.random.uniform(jax.random.key(1), (1, 6, 6, 3)))
    moved = jnp.roll(image, (3, 5), axis=(1, 2))
    one, other = (networks["foreground"].apply(params, x) for x in (image, moved))
    motion = jnp.array([[[1.0, 0.0, -5 * 2 / 31], [0.0, 1.0, -3 * 2 / 31]]])
    # What is empty has the features of the biases, here none, so that zeros from outside are right as well.
    np.testing.assert_allclose(affine_warp(one, motion), other, atol=1e-4)


def test_an_empty_foreground_covers_little_whatever_was_learned():
    networks = layered_networks((16, 16, 3))
    params = networks["renderer"].init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)
    params["ConvTranspose_0"]["bias"] += 100.0  # backgrounds of 1
    drawn = networks["renderer"].apply(params, jnp.zeros((1, 16, 16, 8)), jnp.ones((1, 8, 8, 8)))
    mask = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(drawn, 0.5 * mask + (1 - mask), rtol=1e-5)


def test_it_learns_to_render_the_next_frame():
    source, method = moving_sprites(16), make("equivariant-rendering")
    settings = {"seeds": [0], "steps": 120, "batch_size": 16, "log_every": 20}
    rows = [terms for _, _, terms in train_population(method, source, **settings)]
    assert rows[-1]["scene"][0] < 0.6 * rows[0]["scene"][0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="weights must be >= 0"):
        equivariant_rendering(by_hand(None), hyperparameters=EquivariantRendering(foreground_weight=-1.0))
    with pytest.raises(ValueError, match="gaps >= 1"):
        equivariant_rendering(by_hand(None), most_gap=0)
    with pytest.raises(ValueError, match="at least 2 frames"):
        terms_of(equivariant_rendering(by_hand(None)), {"video": jnp.zeros((2, 1, 9, 9, 1))})
