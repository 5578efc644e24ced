"""Equivariant rendering: a model made by hand has no loss, and clips say which frames are compared."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import moving_sprites
from jaxvae.losses import affine_warp
from jaxvae.method import Context, Nets, Network
from jaxvae.methods import EquivariantRendering, equivariant_rendering
from jaxvae.methods.equivariant_rendering import draw_frames
from jaxvae.networks import layered_networks
from jaxvae.training import make_train_step

SIDE = 9


def fixed(apply):
    """A network without anything to learn."""
    return Network(lambda key: {"none": jnp.zeros(())}, lambda params, *inputs: apply(*inputs))


def clips(count=8, still=False):
    """A bright pixel with a value above 1/2 on a background below it, moving right by one pixel a frame."""
    rng = np.random.default_rng(0)
    behind = rng.uniform(high=0.4, size=(count, 1, SIDE, SIDE, 1)).astype(np.float32)
    columns = rng.integers(1, 4, (count, 1)) + np.arange(4) * (0 if still else 1)
    object_layer = np.zeros((count, 4, SIDE, SIDE, 1), np.float32)
    object_layer[np.arange(count)[:, None], np.arange(4), 4, columns] = 0.9
    return {"video": np.where(object_layer > 0, object_layer, behind)}, object_layer, behind[:, 0]


def by_hand(behind):
    """Foreground: what is brighter than 1/2. Background: known. Motion: from where it is brightest to where it is."""

    def shift(one, other):
        columns = [jnp.where(frame[:, 4, :, 0] > 0.5, 1.0, 0.0).argmax(axis=1) for frame in (one, other)]
        t = (columns[0] - columns[1]).astype(jnp.float32) * 2 / (SIDE - 1)
        still = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        return jnp.broadcast_to(still[None], (len(t), 2, 3)).at[:, 0, 2].set(t)

    return {
        "foreground": fixed(lambda x: jnp.where(x > 0.5, x, 0.0)),
        "background": fixed(lambda x: jnp.asarray(behind)),
        "motion": fixed(shift),
        "renderer": fixed(lambda front, back: jnp.where(front > 1e-3, front, back)),
    }


def terms_of(method, batch, key=0):
    @jax.jit
    def evaluate(batch, key):
        params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
        ctx = Context(jax.random.key(key), method.hyperparameters, jnp.int32(0), 10)
        return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)

    return jax.device_get(evaluate(batch, key) if np.ndim(key) == 0 else jax.lax.map(partial(evaluate, batch), key))


@pytest.mark.parametrize("still", [False, True])
def test_the_model_that_is_right_has_no_loss(still):
    batch, _, behind = clips(still=still)
    loss, terms = terms_of(equivariant_rendering(by_hand(behind)), batch, np.arange(4))
    for name in ("scene", "reconstruction", "foreground", "background"):
        np.testing.assert_allclose(terms[name], np.zeros(4), atol=1e-5)
    np.testing.assert_allclose(loss, np.zeros(4), atol=1e-4)


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
    net = Nets(method.networks, dict.fromkeys(method.networks))
    shown = jax.jit(lambda batch: method.pictures(net, jax.random.key(0), batch))(batch)
    np.testing.assert_allclose(shown["rendered next frame"], batch["video"][:, 1], atol=1e-5)
    front, other = layer[:, 0], np.roll(behind, 1, axis=0)
    np.testing.assert_allclose(shown["on another background"], np.where(front > 0, front, other), atol=1e-6)
    np.testing.assert_allclose(shown["background alone"], behind, atol=1e-6)


def test_frames_are_two_in_order_and_a_third():
    video = np.tile(np.arange(6, dtype=np.float32)[:, None, None, None], (500, 1, 1, 1, 1))

    @partial(jax.jit, static_argnums=1)
    def drawn(video, most):
        return draw_frames(video, Context(jax.random.key(most), None, jnp.int32(0), 10), most)

    for most in (1, 3, 10):
        first, second, third = (np.asarray(frame)[:, 0, 0, 0] for frame in drawn(video, most))
        assert set(second - first) == set(range(1, min(most, 5) + 1))
        assert set(first) >= set(range(6 - min(most, 5)))
        assert set(third) == set(range(6))
        assert not ((third == first) | (third == second)).any()
    pair, _, third = drawn(video[:, :2], 3)
    assert set(np.unique(np.stack([pair, third]))) <= {0.0, 1.0}


def test_the_loss_does_not_depend_on_which_frame_is_first():
    """Taken both ways: clips played backwards have the same loss for the same frames."""
    # With two frames the third is the first one: leave it out of what is compared.
    method = equivariant_rendering(layered_networks((16, 16, 3)), third_frame="no")
    ctx = Context(jax.random.key(0), EquivariantRendering(background_weight=0.0), jnp.int32(0), 10)

    @jax.jit
    def clip_of_two():
        return moving_sprites(16).sample(jax.random.key(0), 8)["video"][:, :2]

    video, rng = np.asarray(clip_of_two()), np.random.default_rng(0)
    shapes = jax.eval_shape(
        lambda: {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    )
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.1, size=leaf.shape).astype(np.float32), shapes)
    of = jax.jit(lambda clip: method.objectives[0].loss(Nets(method.networks, params), {"video": clip}, ctx)[0])
    np.testing.assert_allclose(of(video), of(video[:, ::-1]), rtol=1e-5)


def test_features_of_an_object_on_black_move_with_it():
    """Far from the borders convolutions know no place: any whole number of pixels is exact from the start."""
    networks = layered_networks((32, 32, 3))
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[:, 12:18, 10:16] = np.random.default_rng(1).uniform(size=(1, 6, 6, 3))

    @jax.jit
    def warped_and_of_the_moved(image, moved):
        params = networks["foreground"].init(jax.random.key(0))
        one, other = (networks["foreground"].apply(params, x) for x in (image, moved))
        return affine_warp(one, jnp.array([[[1.0, 0.0, -5 * 2 / 31], [0.0, 1.0, -3 * 2 / 31]]])), other

    # What is empty has the features of the biases, here none, so that zeros from outside are right as well.
    np.testing.assert_allclose(*warped_and_of_the_moved(image, np.roll(image, (3, 5), axis=(1, 2))), atol=1e-4)


def test_an_empty_foreground_covers_little_whatever_was_learned():
    networks = layered_networks((16, 16, 3))

    @jax.jit
    def rendered(front, behind):
        params = networks["renderer"].init(jax.random.key(0))
        params = jax.tree.map(lambda leaf: leaf + 0.3, params)
        params["ConvTranspose_0"]["bias"] += 100.0  # backgrounds of 1
        return networks["renderer"].apply(params, front, behind)

    drawn = rendered(np.zeros((1, 16, 16, 8), np.float32), np.ones((1, 8, 8, 8), np.float32))
    mask = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(drawn, 0.5 * mask + (1 - mask), rtol=1e-5)


@pytest.mark.process
def test_it_learns_to_render_the_next_frame():
    method = equivariant_rendering(
        layered_networks((16, 16, 3)), hyperparameters=EquivariantRendering(learning_rate=2e-3)
    )
    init, update = make_train_step(method, dataset_size=100)
    clips = jax.jit(lambda key: moving_sprites(16).sample(key, 4))
    state, update, scene = jax.jit(init)(jax.random.key(0)), jax.jit(update), []
    for i in range(40):
        state, terms = update(state, clips(jax.random.key(i)))
        scene.append(float(terms["scene"]))
    assert np.mean(scene[-20:]) < 0.6 * np.mean(scene[:20])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="weights must be >= 0"):
        equivariant_rendering(by_hand(None), hyperparameters=EquivariantRendering(foreground_weight=-1.0))
    with pytest.raises(ValueError, match="gaps >= 1"):
        equivariant_rendering(by_hand(None), most_gap=0)
    with pytest.raises(ValueError, match="at least 2 frames"):
        terms_of(equivariant_rendering(by_hand(None)), {"video": np.zeros((2, 1, 9, 9, 1), np.float32)})
