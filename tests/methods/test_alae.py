"""ALAE: whose gradients go where, and what the running averages are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, compiled, draw, loss_of, make

from jaxvae.method import Nets, Network
from jaxvae.methods import ALAE, alae
from jaxvae.methods.autoencoding import POINT_LOGVAR
from jaxvae.training import make_train_step

CRITIC, GENERATOR, RECIPROCITY, AVERAGE = range(4)


def fixed(apply):
    """A network without anything to learn."""
    return Network(lambda key: {"none": jnp.zeros(())}, lambda params, x: apply(x))


def by_hand(shrink=1.0, slope=None):
    """F is the identity, G puts w in an image of one row, E takes it out again and shrinks it, D is linear."""
    slope = jnp.zeros(LATENTS) if slope is None else slope
    return {
        "mapping": fixed(lambda z: z),
        "decoder": fixed(lambda w: w[:, None, :, None]),
        "encoder": fixed(lambda x: shrink * x[:, 0, :, 0]),
        "discriminator": fixed(lambda w: w @ slope),
    }


def value(method, objective, batch):
    @jax.jit
    def evaluate(batch):
        params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
        return loss_of(method, params, batch, jax.random.key(1), objective=objective)

    return jax.device_get(evaluate(batch))


IMAGES = {"x": np.random.default_rng(0).uniform(size=(64, 1, LATENTS, 1)).astype(np.float32)}


def test_a_critic_that_knows_nothing():
    method = alae(by_hand())
    np.testing.assert_allclose(value(method, CRITIC, IMAGES)[0], 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(value(method, GENERATOR, IMAGES)[0], np.log(2), rtol=1e-6)


def test_the_penalty_of_a_linear_critic():
    slope = np.arange(1, LATENTS + 1, dtype=np.float32)
    loss, terms = value(alae(by_hand(slope=slope), hyperparameters=ALAE(r1_weight=0.0)), CRITIC, IMAGES)
    more, _ = value(alae(by_hand(slope=slope)), CRITIC, IMAGES)
    np.testing.assert_allclose(terms["r1"], 0.5 * float((slope**2).sum()), rtol=1e-5)
    np.testing.assert_allclose(more - loss, 5 * float((slope**2).sum()), rtol=1e-5)


@pytest.mark.parametrize("shrink", [1.0, 0.5])
def test_reciprocity_is_zero_where_the_encoder_inverts_the_generator(shrink):
    method = alae(by_hand(shrink))
    loss, _ = value(method, RECIPROCITY, {"x": np.zeros((5000, 1, LATENTS, 1), np.float32)})
    np.testing.assert_allclose(loss, (1 - shrink) ** 2, rtol=0.05, atol=1e-12)


def test_the_critic_sees_images_from_minus_one_to_one():
    """D(E(x)) = 100 sum x is sure of bright images, and as sure that black ones are none."""
    method = alae(by_hand(slope=jnp.full(LATENTS, 100.0)), hyperparameters=ALAE(r1_weight=0.0))
    bright, black = ({"x": np.full((64, 1, LATENTS, 1), level, np.float32)} for level in (1.0, 0.0))
    np.testing.assert_allclose(
        value(method, CRITIC, black)[0] - value(method, CRITIC, bright)[0], 100 * LATENTS, rtol=1e-4
    )


@pytest.mark.parametrize("moves_mapping", ["no", "yes"])
def test_gradients_go_where_they_belong(moves_mapping, batch):
    """Of all networks, in each loss: constant are F, G in the critic's, D in reciprocity, and F unless it moves."""
    method = make("alae", moves_mapping=moves_mapping)
    shapes = jax.eval_shape(
        lambda: {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.5, size=leaf.shape).astype(np.float32), shapes)

    def reached(objective):
        of = lambda p: loss_of(method, p, batch, jax.random.key(0), objective=objective)[0]  # noqa: E731
        gradient = jax.device_get(jax.jit(jax.grad(of))(params))
        return {name for name, tree in gradient.items() if any(leaf.any() for leaf in jax.tree.leaves(tree))}

    assert reached(CRITIC) == {"encoder", "discriminator"}
    assert reached(GENERATOR) == {"mapping", "decoder", "encoder", "discriminator"}
    moved = {"encoder", "decoder"} | ({"mapping"} if moves_mapping == "yes" else set())
    assert reached(RECIPROCITY) == set(method.objectives[RECIPROCITY].trains) == moved
    assert reached(AVERAGE) == {"average_mapping", "average_decoder", "average_encoder"}


def test_the_authors_step_the_discriminator_on_zero_gradients(batch):
    """Its second moments decay once more in an update: 0.01 g^2, times 0.99 for a step without gradient."""
    assert "discriminator" not in make("alae").objectives[RECIPROCITY].trains
    method = make("alae", steps_discriminator="yes")
    moments = []
    for objectives in ((CRITIC, RECIPROCITY), (CRITIC,)):
        chosen = method._replace(objectives=tuple(method.objectives[k] for k in objectives))
        init, update = make_train_step(chosen, dataset_size=4)
        state = jax.jit(lambda batch, init=init, update=update: update(init(jax.random.key(0)), batch)[0])(batch)
        parts = jax.tree.leaves(state.opt_state[0]["discriminator"], is_leaf=lambda part: hasattr(part, "nu"))
        moments += [part for part in parts if hasattr(part, "nu")]
    stepped, once = moments
    assert (int(stepped.count), int(once.count)) == (2, 1)
    for nu, first in zip(jax.tree.leaves(stepped.nu), jax.tree.leaves(once.nu), strict=True):
        np.testing.assert_allclose(nu, 0.99 * first, rtol=1e-5)


def test_averages_have_their_half_life():
    """From 0 to weights that stay at 1, after N images: 1 - 2^(-N / 10,000)."""
    ones = Network(lambda key: {"w": jnp.ones(3)}, lambda params, x: x)
    rate = 1 - 0.5 ** (128 / 10_000)
    np.testing.assert_allclose(ALAE().averaging_rate, rate, rtol=0.01)
    networks = dict.fromkeys(("mapping", "decoder", "encoder", "discriminator"), ones)
    method = alae(networks, hyperparameters=ALAE(averaging_rate=rate))
    method = method._replace(objectives=method.objectives[AVERAGE:])
    init, update = make_train_step(method, dataset_size=4)
    state = jax.jit(init)(jax.random.key(0))
    zeros = {f"average_{name}": {"w": np.zeros(3, np.float32)} for name in ("mapping", "decoder", "encoder")}
    state = state._replace(params={**state.params, **zeros})
    for step in range(1, 101):
        state, _ = jax.jit(update)(state, IMAGES)
        if step in (1, 100):
            wanted = 1 - 0.5 ** (128 * step / 10_000)
            np.testing.assert_allclose(state.params["average_decoder"]["w"], wanted, rtol=1e-5)


def test_objectives_share_the_moments_of_what_they_both_train():
    init, _ = make_train_step(make("alae"), dataset_size=4)
    adam, plain = jax.eval_shape(init, jax.random.key(0)).opt_state
    assert set(adam) == {"mapping", "decoder", "encoder", "discriminator"}
    assert set(plain) == {"average_mapping", "average_decoder", "average_encoder"}


def test_codes_and_samples_are_those_of_the_averages(batch):
    method = make("alae")

    @jax.jit
    def evaluate(batch):
        params = {name: network.init(jax.random.key(i)) for i, (name, network) in enumerate(method.networks.items())}
        net = Nets(method.networks, params)
        posterior = method.encode(net, batch)
        images = method.decode(net, posterior.mean)
        by_hand = net.average_encoder(2 * batch["x"] - 1), (net.average_decoder(posterior.mean) + 1) / 2
        return posterior, images, by_hand, method.sample_prior(net, jax.random.key(0), batch)

    posterior, images, by_hand, codes = jax.device_get(evaluate(batch))
    np.testing.assert_array_equal(posterior.mean, by_hand[0])
    np.testing.assert_array_equal(posterior.logvar, POINT_LOGVAR)
    np.testing.assert_array_equal(images, by_hand[1])
    assert codes.shape == (len(batch["x"]), LATENTS)
    assert len(np.unique(codes, axis=0)) == len(codes)


@pytest.mark.process
def test_it_learns_to_invert_its_generator():
    """Against the spread of the codes, which must not collapse."""
    init, update = compiled("alae")
    state, errors = init(jax.random.key(0)), []
    for i in range(80):
        state, terms = update(state, draw(jax.random.key(i)))
        errors.append(float(terms["encoder_decoder_loss"]) / float(terms["w_variance"]))
    assert float(terms["w_variance"]) > 1e-3
    assert np.mean(errors[-20:]) < 0.3 * np.mean(errors[:4])


@pytest.mark.parametrize("wrong", [{"r1_weight": -1.0}, {"averaging_rate": 0.0}, {"averaging_rate": 1.5}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="r1_weight must be >= 0 and averaging_rate in"):
        alae(by_hand(), hyperparameters=ALAE(**wrong))
