"""ICAM: the weights of its loss, what is swapped with what, and attributes that are what was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import loss_of

from jaxvae.method import Context, Nets, Network, Posterior
from jaxvae.methods import ICAM, icam
from jaxvae.methods.translation import (
    both_classes,
    class_cross_entropy,
    draw_attributes,
    show_maps,
    swap,
    translate,
)
from jaxvae.networks import translation_networks
from jaxvae.training.engine import active_at

LOSS, DISCRIMINATOR, CONTENT = range(3)
N, LATENTS = 6, 2
U = np.random.default_rng(5).normal(size=(LATENTS, 4)).astype(np.float32)
NARROW = -40.0


def fixed(apply):
    """A network without anything to learn."""
    return Network(lambda key: {"none": jnp.zeros(())}, lambda params, *inputs: apply(*inputs))


def images(seed=0):
    """One row of four pixels: three that both classes have, and one that tells them apart."""
    controls, cases = np.random.default_rng(seed).uniform(size=(2, N, 1, 4, 1)).astype(np.float32)
    controls[:, 0, 3, 0], cases[:, 0, 3, 0] = 0.25, 0.75
    return {"control": controls, "x": cases}


def known(logit=0.0):
    """Content is the first three pixels and attribute the last, exactly; discriminators know nothing."""
    nothing = lambda x: (jnp.full(len(x), logit), jnp.full((len(x), 2), logit))  # noqa: E731
    return {
        "content": fixed(lambda x: x.at[:, 0, 3, 0].set(0.0)),
        "attribute": fixed(lambda x: Posterior(x[:, 0, 3], jnp.full((len(x), 1), NARROW))),
        "classifier": fixed(lambda z: jnp.full((len(z), 2), logit)),
        "decoder": fixed(lambda content, z: content.at[:, 0, 3].set(z)),
        "discriminator": fixed(nothing),
        "random_discriminator": fixed(nothing),
        "content_discriminator": fixed(lambda content: jnp.full((len(content), 2), logit)),
    }


def context(key=0):
    return Context(jax.random.key(key), ICAM(), jnp.int32(0), N)


def value(networks, objective=LOSS, batch=None, **settings):
    hp = ICAM(**settings.pop("hp", {}))
    method = icam(networks, hyperparameters=hp, **settings)

    @jax.jit
    def evaluate(batch):
        params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
        return loss_of(method, params, batch, jax.random.key(1), objective=objective)

    return jax.device_get(evaluate(batch or images()))


def test_swapping_exchanges_attributes_and_swapping_twice_is_nothing(monkeypatch):
    monkeypatch.setattr("jaxvae.methods.translation.reparameterize", lambda key, mean, logvar, axis_name=None: mean)
    net = Nets(known(), dict.fromkeys(known()))

    @jax.jit
    def evaluate(images):
        x, kind = both_classes(images)
        parts = translate(net, x, context())
        return x, kind, parts, translate(net, parts.swapped, context()), swap(swap(x))

    x, kind, parts, again, swapped_twice = jax.device_get(evaluate(images()))
    np.testing.assert_array_equal(kind[:, 1], [0] * N + [1] * N)
    np.testing.assert_array_equal(x[:N], 2 * images()["control"] - 1)
    np.testing.assert_allclose(parts.own, x, atol=1e-6)
    np.testing.assert_allclose(parts.swapped[..., :3, :], x[..., :3, :], atol=1e-6)
    np.testing.assert_allclose(parts.swapped[:N, 0, 3], 0.5, atol=1e-6)
    np.testing.assert_allclose(parts.swapped[N:, 0, 3], -0.5, atol=1e-6)
    np.testing.assert_allclose(again.swapped, x, atol=1e-6)
    np.testing.assert_array_equal(swapped_twice, x)


def test_noise_is_on_the_content_and_within_the_posterior():
    wide = known() | {"attribute": fixed(lambda x: Posterior(x[:, 0, 3], jnp.full((len(x), 1), 2 * jnp.log(3.0))))}
    net = Nets(wide, dict.fromkeys(wide))
    parts = jax.device_get(jax.jit(lambda: translate(net, jnp.zeros((4000, 1, 4, 1)), context()))())
    for noise, scale in ((parts.content, 1.0), (parts.attribute, 3.0)):
        np.testing.assert_allclose(noise.std(), scale, rtol=0.05)
        assert (noise[:2000] != noise[2000:]).all()


def test_maps_of_a_linear_model_are_antisymmetric(monkeypatch):
    """decoder(c, a) = c + U a: what one gains the other loses, U times the difference of the attributes."""
    monkeypatch.setattr("jaxvae.methods.translation.reparameterize", lambda key, mean, logvar, axis_name=None: mean)
    attributes = np.random.default_rng(0).normal(size=(2 * N, LATENTS)).astype(np.float32)
    linear = known() | {
        "content": fixed(lambda x: x - (attributes @ U)[:, None, :, None]),
        "attribute": fixed(lambda x: Posterior(jnp.asarray(attributes), jnp.full(attributes.shape, NARROW))),
        "decoder": fixed(lambda content, z: content + (z @ U)[:, None, :, None]),
    }

    @jax.jit
    def maps_of(images):
        x, _ = both_classes(images)
        return (translate(Nets(linear, dict.fromkeys(linear)), x, context()).swapped - x)[:, 0, :, 0]

    maps = np.asarray(maps_of(images()))
    np.testing.assert_allclose(maps[:N], (attributes[N:] - attributes[:N]) @ U, atol=1e-5)
    np.testing.assert_allclose(maps[N:], -maps[:N], atol=1e-5)


def test_the_weights_of_the_loss(monkeypatch):
    """Where images are alike and rebuilt, and nobody knows anything: 23 log 2, and what attributes cost."""
    monkeypatch.setattr("jaxvae.methods.translation.reparameterize", lambda key, mean, logvar, axis_name=None: mean)
    black = np.full((N, 1, 4, 1), 0.5, np.float32)
    at_prior = known() | {"attribute": fixed(lambda x: Posterior(x[:, 0, 3], jnp.zeros((len(x), 1))))}
    batch = {"x": black, "control": black}
    loss, terms = value(at_prior, batch=batch, random_branch="no")
    np.testing.assert_allclose(loss, (10 + 1 + 5 + 1) * np.log(2), rtol=1e-6)
    for name in ("reconstruction", "map_size", "kl"):
        np.testing.assert_allclose(terms[name], 0, atol=1e-6)
    loss, terms = value(at_prior, batch=batch)
    np.testing.assert_allclose(loss, 23 * np.log(2), rtol=1e-6)
    # What is left out of that: every other part, by its weight.
    parts = {"absolute_weight": 100, "square_weight": 100, "map_weight": 10, "kl_weight": 0.01}
    full, terms = value(known())
    without = [value(known(), hp={name: 0.0})[0] for name in parts]
    x = np.asarray(2 * np.concatenate([images()["control"], images()["x"]]) - 1, np.float64)
    wanted = [0, 0, 10 * 1.0 / 4, 0.01 * (float(terms["kl"]) + (x[..., :3, :] ** 2).sum() / x.size)]
    np.testing.assert_allclose(full - np.array(without), wanted, rtol=1e-3, atol=1e-4)


def test_errors_of_reconstruction_have_their_weights(monkeypatch):
    """A decoder that adds 0.1 to every pixel is off by 0.1 with its own attribute, and by 0.2 after two swaps."""
    monkeypatch.setattr("jaxvae.methods.translation.reparameterize", lambda key, mean, logvar, axis_name=None: mean)
    off = known() | {"decoder": fixed(lambda content, z: content.at[:, 0, 3].set(z) + 0.1)}
    gap = {name: value(off)[0] - value(off, hp={name: 0.0})[0] for name in ("absolute_weight", "square_weight")}
    np.testing.assert_allclose(gap["absolute_weight"], 100 * (0.1 + 0.2), rtol=1e-3)
    np.testing.assert_allclose(gap["square_weight"], 100 * (0.01 + 0.04), rtol=1e-3)


def test_discriminators_learn_real_from_translated_and_the_classes():
    loss, _ = value(known(), DISCRIMINATOR)
    np.testing.assert_allclose(loss, 2 * (2 + 1) * np.log(2), rtol=1e-6)
    loss, _ = value(known(), DISCRIMINATOR, random_branch="no")
    np.testing.assert_allclose(loss, 3 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(value(known(), CONTENT)[0], np.log(2), rtol=1e-6)


def test_the_authors_sum_what_tells_images_apart_over_the_batch():
    """Of 2 N images, with a generator's loss of log 2 and a discriminator's of 2 log 2 for each kind of made image."""
    (mean, _), (total, terms) = (value(known(), adversarial=how) for how in ("mean", "sum"))
    np.testing.assert_allclose(total - mean, 2 * (2 * N - 1) * np.log(2), rtol=1e-4)
    np.testing.assert_allclose(terms["adversarial"], 2 * 2 * N * np.log(2), rtol=1e-6)
    loss, _ = value(known(), DISCRIMINATOR, adversarial="sum")
    np.testing.assert_allclose(loss, 2 * (2 * 2 * N + 1) * np.log(2), rtol=1e-6)


def test_half_is_what_a_content_without_class_gives():
    half = np.full((4, 2), 0.5, np.float32)
    logits = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    both = jax.jit(jax.value_and_grad(class_cross_entropy))
    value, gradient = both(np.zeros((4, 2), np.float32), half)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    assert float(both(logits, half)[0]) > np.log(2)


def test_drawn_attributes_are_of_the_class_that_was_asked_for():
    """A classifier of the first latent's sign: half of all draws are of a class, so that none fails in 16."""
    net = Nets({"classifier": fixed(lambda z: jnp.stack([-z[:, 0], z[:, 0]], axis=1))}, {"classifier": None})
    draw = lambda net: jax.device_get(jax.jit(lambda key: draw_attributes(net, key, 1000, 3))(jax.random.key(0)))  # noqa: E731
    drawn, accepted = draw(net)
    assert accepted.mean() > 0.998
    assert ((drawn[:, 0] > 0) == (np.arange(2000) < 1000))[accepted].all()
    np.testing.assert_allclose(drawn[:, 1:].std(), 1, atol=0.05)
    biased = Nets({"classifier": fixed(lambda z: jnp.stack([0 * z[:, 0] + 1, z[:, 0]], axis=1))}, {"classifier": None})
    few, accepted = draw(biased)
    np.testing.assert_allclose(accepted[:1000].mean(), 1 - 0.8413**16, atol=0.02)
    assert accepted[1000:].all()
    assert np.isfinite(few).all()


def test_only_the_discriminator_of_the_content_has_updates_of_its_own():
    method = icam(known())
    assert [active_at(method, step) for step in range(6)] == [
        (False, False, True),
        (False, False, True),
        (True, True, False),
    ] * 2
    assert active_at(icam(known(), content_steps=0), 0) == (True, True, True)


def test_objectives_reach_only_what_they_train(batch):
    networks = translation_networks((16, 16, 1))
    method = icam(networks)
    rng, draw_all = (
        np.random.default_rng(0),
        lambda: {name: networks[name].init(jax.random.key(0)) for name in networks},
    )
    draw = lambda leaf: rng.normal(scale=0.1, size=leaf.shape).astype(np.float32)  # noqa: E731
    params = jax.tree.map(draw, jax.eval_shape(draw_all))
    for objective in (DISCRIMINATOR, CONTENT):
        of = lambda p, o=objective: loss_of(method, p, batch, jax.random.key(0), objective=o)[0]  # noqa: E731
        gradient = jax.device_get(jax.jit(jax.grad(of))(params))
        reached = {name for name, tree in gradient.items() if any(leaf.any() for leaf in jax.tree.leaves(tree))}
        assert reached == set(method.objectives[objective].trains)


def test_pictures_show_cases_as_controls():
    net = Nets(known(), dict.fromkeys(known()))
    shown = jax.device_get(jax.jit(lambda images: show_maps(net, jax.random.key(0), images))(images()))
    as_a_control = images()["x"]
    as_a_control[:, 0, 3, 0] = 0.25
    np.testing.assert_allclose(shown["as a control"], as_a_control, atol=1e-6)
    np.testing.assert_allclose(shown["map"][:, 0, 3, 0], -0.5, atol=1e-6)
    np.testing.assert_allclose(shown["map"][:, 0, :3], 0, atol=1e-6)
    np.testing.assert_allclose(shown["spread of maps"][:, 0, 3, 0], 0.5, atol=0.25)
    np.testing.assert_allclose(shown["spread of maps"][:, 0, :3], 0, atol=1e-6)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="weights and steps must be >= 0"):
        icam(known(), hyperparameters=ICAM(kl_weight=-1.0))
    with pytest.raises(ValueError, match="weights and steps must be >= 0"):
        icam(known(), content_steps=-1)
    with pytest.raises(ValueError, match="as many controls as cases"):
        both_classes({"x": np.zeros((4, 8, 8, 1)), "control": np.zeros((2, 8, 8, 1))})
