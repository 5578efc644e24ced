"""MCR^2: the loss and its parts, values in closed form, the whole batch on any devices, what it must be given."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxvae.data import augmented, classified, digits
from jaxvae.losses import class_coding_rate, coding_rate
from jaxvae.method import Context, Nets, Network
from jaxvae.methods.mcr2 import ENTRY, MCR2, mcr2
from jaxvae.networks import feature_network
from jaxvae.training import make_train_step

KEY = jax.random.key(0)
DIGITS = classified(digits(), "digit")
METHOD = mcr2({"encoder": feature_network((8, 8, 1), 20)}, classes=10)
AS_IT_IS = {"encoder": Network(lambda key: {}, lambda params, image: image.reshape(len(image), -1))}
"""An encoder whose features are the image's values."""


@pytest.fixture(scope="module")
def compiled():
    init, update = make_train_step(METHOD, dataset_size=DIGITS.size)
    return jax.jit(init), jax.jit(update)


@partial(jax.jit, static_argnums=(1,))
def draw(source, n, step=0):
    return source.batch(KEY, step, n)


def encode(params, batch):
    return METHOD.encode(Nets(METHOD.networks, params), batch).mean


def terms_of(method, batch, params=None):
    hp = jax.tree.map(jnp.float32, method.hyperparameters)
    net = Nets(method.networks, {"encoder": {}} if params is None else params)
    value, terms = method.objectives[0].loss(net, batch, Context(KEY, hp, jnp.int32(0), 100))
    return {"loss": value, **terms}


@partial(jax.jit, static_argnums=0)
def of_values(classes, batch):
    """Terms of images that are their own features."""
    return terms_of(mcr2(AS_IT_IS, classes=classes), batch)


@pytest.mark.process
def test_loss_falls_and_classes_part(compiled):
    """Towards the ceiling, and never over it; features of two digits end at right angles."""
    init, update = compiled
    state, reductions = init(KEY), []
    for step in range(60):
        state, terms = update(state, draw(DIGITS, 256, step))
        assert all(np.isfinite(value) for value in terms.values())
        np.testing.assert_allclose(terms["loss"], -terms["rate_reduction"], rtol=1e-5)
        np.testing.assert_allclose(terms["rate_reduction"], terms["expansion"] - terms["compression"], rtol=1e-5)
        reductions.append(float(terms["rate_reduction"]))
    ceiling = 10 * math.log(3) - math.log(21)
    assert reductions[0] < 0.4 * ceiling
    assert 0.8 * ceiling < np.mean(reductions[-10:]) < ceiling
    batch = draw(DIGITS, 256, 99)
    z = np.asarray(jax.jit(encode)(state.params, batch))
    cosine, label = np.abs(z @ z.T), np.asarray(batch["class"])
    same = label[:, None] == label
    assert cosine[~same].mean() < 0.2
    assert cosine[same].mean() > 2 * cosine[~same].mean()


def test_self_supervision_parts_images_after_drawing_all_together():
    method = mcr2(METHOD.networks, classes=16, hyperparameters=ENTRY.presets["self-supervised"].hyperparameters)
    source = augmented(digits(), 8)
    init, update = make_train_step(method, dataset_size=source.size)
    step, state, losses, reductions = jax.jit(update), jax.jit(init)(KEY), [], []
    for i in range(150):
        state, terms = step(state, draw(source, 128, i))
        losses.append(float(terms["loss"]))
        reductions.append(float(terms["rate_reduction"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    assert min(reductions) < 0.1
    assert np.mean(reductions[-5:]) > max(1.5, reductions[0])


def block_batch(dimensions, classes, times=1):
    """Images that are the axes and their opposites, each class on axes of its own."""
    axes = np.concatenate([np.eye(dimensions, dtype=np.float32), -np.eye(dimensions, dtype=np.float32)] * times)
    label = np.tile(np.repeat(np.arange(classes, dtype=np.int32), dimensions // classes), 2 * times)
    return {"x": axes.reshape(-1, 1, 1, dimensions), "class": label}


@pytest.mark.parametrize("length", [1.0, 1e-3, 1e4])
def test_values_in_closed_form(length):
    """Even features in orthogonal subspaces; one class; all alike. Whatever the length that the network gives."""
    batch = block_batch(12, 3)
    scaled = {**batch, "x": np.float32(length) * batch["x"]}
    terms = of_values(3, scaled)
    np.testing.assert_allclose(terms["expansion"], 6.59167, atol=1e-5)
    np.testing.assert_allclose(terms["compression"], 3.89182, atol=1e-5)
    np.testing.assert_allclose(terms["loss"], 3.89182 - 6.59167, atol=1e-5)
    one_class = of_values(1, {**scaled, "class": 0 * scaled["class"]})
    np.testing.assert_allclose(one_class["expansion"], 6 * math.log(3), rtol=1e-5)
    np.testing.assert_allclose(one_class["loss"], 0, atol=1e-5)
    alike = of_values(3, {**scaled, "x": np.full((24, 1, 1, 12), length, np.float32)})
    np.testing.assert_allclose(alike["expansion"], 0.5 * math.log(25), rtol=1e-5)
    np.testing.assert_allclose(alike["rate_reduction"], 0, atol=1e-5)


def test_weights_weigh_what_they_say():
    hp = MCR2(eps_squared=0.2, gamma1=20.0, gamma2=0.05)

    @jax.jit
    def evaluate(batch):
        z = encode({"encoder": METHOD.networks["encoder"].init(KEY)}, batch)
        terms = terms_of(mcr2(AS_IT_IS, classes=10, hyperparameters=hp), {**batch, "x": z[:, None, None, :]})
        rates = coding_rate(z, eps_squared=0.2, scale=20.0), coding_rate(z, eps_squared=0.2)
        return terms, *rates, class_coding_rate(z, jax.nn.one_hot(batch["class"], 10), eps_squared=0.2)

    terms, scaled, expansion, compression = jax.device_get(evaluate(draw(DIGITS, 64)))
    np.testing.assert_allclose(terms["loss"], compression - 0.05 * scaled, rtol=1e-5)
    np.testing.assert_allclose(terms["expansion"], expansion, rtol=1e-5)
    np.testing.assert_allclose(terms["compression"], compression, rtol=1e-5)


def test_codes_are_points_on_the_sphere_without_images(compiled):
    init, _ = compiled
    net = Nets(METHOD.networks, init(KEY).params)
    posterior = jax.device_get(jax.jit(lambda batch: METHOD.encode(net, batch))(draw(DIGITS, 64)))
    np.testing.assert_allclose(np.linalg.norm(posterior.mean, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(posterior.logvar, -20)
    with pytest.raises(ValueError, match="alone make no image"):
        METHOD.decode(net, posterior.mean)


@pytest.mark.parametrize("checked", [True, False])
def test_sharded_is_single(compiled, checked):
    """One update over 8 devices is the update on one; devices have 4 examples of 10 classes."""
    init, jitted = compiled
    _, update = make_train_step(METHOD, dataset_size=DIGITS.size)
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(
        partial(update, axis_name="data"),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=checked,
    )
    state, batch = init(KEY), draw(DIGITS, 32)
    (one, terms), (many, many_terms) = jitted(state, batch), jax.jit(sharded)(state, batch)
    for name in terms:
        np.testing.assert_allclose(many_terms[name], terms[name], rtol=1e-5, atol=1e-5)
    # Adam's first step is lr * sign(gradient) where the gradient is not tiny: compare its moments, which are linear.
    for a, b in zip(*map(jax.tree.leaves, jax.device_get((one.opt_state, many.opt_state))), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(a).max())))


def test_vmapped_over_seeds_is_the_loop(compiled):
    init, update = compiled
    states, batch = [init(jax.random.key(seed)) for seed in range(3)], draw(DIGITS, 64)
    stack = jax.jit(lambda states: jax.tree.map(lambda *a: jnp.stack(a), *states))
    together, terms = jax.jit(jax.vmap(update, (0, None)))(stack(states), batch)
    together, terms = jax.device_get((together.opt_state, terms))
    for i, state in enumerate(states):
        alone, alone_terms = update(state, batch)
        for name in terms:
            np.testing.assert_allclose(terms[name][i], alone_terms[name], rtol=1e-5, atol=1e-5)
        for a, b in zip(jax.tree.leaves(jax.device_get(alone.opt_state)), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(b[i], a, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(a).max())))


def test_a_batch_without_classes_is_refused():
    init, update = make_train_step(METHOD, dataset_size=10)
    with pytest.raises(ValueError, match=r"mcr2 needs \['class'\] in its batches"):
        jax.eval_shape(lambda: update(init(KEY), digits().batch(KEY, 0, 16)))


@pytest.mark.parametrize(
    ("networks", "settings", "message"),
    [
        ({}, {"classes": 3}, "needs the network 'encoder', got \\[\\]"),
        (AS_IT_IS, {"classes": 0}, "at least 1 class, got classes=0"),
        (AS_IT_IS, {"classes": 3, "hyperparameters": MCR2(eps_squared=0.0)}, "eps_squared and gamma1 must be positive"),
        (AS_IT_IS, {"classes": 3, "hyperparameters": MCR2(gamma2=-1.0)}, "gamma2 >= 0"),
    ],
)
def test_bad_arguments(networks, settings, message):
    with pytest.raises(ValueError, match=message):
        mcr2(networks, **settings)
