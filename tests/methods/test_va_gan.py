"""VA-GAN: the map finds what the critic tells apart, and no more; the critic has its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_table import loss_of, make

from jaxvae.method import Nets, Network
from jaxvae.methods import VAGAN, va_gan
from jaxvae.methods.va_gan import critic_schedule
from jaxvae.training import compile_method

MAP, CRITIC = range(2)
CASES = jax.random.uniform(jax.random.key(0), (16, 4, 4, 1))
CONTROLS = jax.random.uniform(jax.random.key(1), (16, 4, 4, 1))
A = jax.random.normal(jax.random.key(2), (4, 4, 1))


def by_hand(change=0.0):
    """One map for all images, and the critic a.x."""
    return {
        "map": Network(
            lambda key: jnp.full((4, 4, 1), change), lambda params, x: jnp.broadcast_to(params[None], x.shape)
        ),
        "critic": Network(lambda key: A, lambda a, x: (a[None] * x).sum((1, 2, 3))),
    }


def value(method, objective, cases=CASES, controls=CONTROLS):
    params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    return loss_of(method, params, {"image": cases, "control": controls}, jax.random.key(3), objective=objective)


def test_losses_of_a_linear_critic():
    """Images from -1 to 1; the penalty is the same everywhere."""
    method = va_gan(by_hand(0.25), hyperparameters=VAGAN(map_weight=0.5, penalty_weight=3.0))
    a, cases, controls = (np.asarray(values, np.float64) for values in (A, CASES, CONTROLS))
    critic = lambda x: (a * x).sum((1, 2, 3))  # noqa: E731
    fake, real = critic(2 * cases - 1 + 0.25), critic(2 * controls - 1)
    loss, terms = value(method, MAP)
    np.testing.assert_allclose(terms["map_size"], 16 * 0.25, rtol=1e-5)
    np.testing.assert_allclose(loss, -fake.mean() + 0.5 * 4, rtol=1e-5)
    loss, terms = value(method, CRITIC)
    penalty = (np.sqrt((a**2).sum()) - 1) ** 2
    np.testing.assert_allclose(terms["wasserstein"], real.mean() - fake.mean(), rtol=1e-4)
    np.testing.assert_allclose(terms["gradient_penalty"], penalty, rtol=1e-4)
    np.testing.assert_allclose(loss, fake.mean() - real.mean() + 3 * penalty, rtol=1e-4)
    one_axis = va_gan(by_hand(0.25), penalty_axes="one")
    columns = ((np.sqrt((a**2).sum(0)) - 1) ** 2).mean()
    np.testing.assert_allclose(value(one_axis, CRITIC)[1]["gradient_penalty"], columns, rtol=1e-4)


def test_without_a_map_images_that_are_alike_have_no_distance():
    _, terms = value(va_gan(by_hand()), CRITIC, CASES, CASES)
    np.testing.assert_allclose(terms["wasserstein"], 0, atol=1e-6)


def test_with_tanh_no_map_is_a_change():
    _, terms = value(va_gan(by_hand(), output="tanh"), MAP)
    x = 2 * np.asarray(CASES, np.float64) - 1
    np.testing.assert_allclose(terms["map_size"], np.abs(np.tanh(x) - x).sum((1, 2, 3)).mean(), rtol=1e-5)


def test_a_pixel_moves_where_the_critic_is_steeper_than_the_weight():
    """By proximal steps, as |M| has a corner at 0: M stays there for |a| < weight, and else goes the way of a."""
    weight = float(np.sort(np.abs(A).ravel())[7:9].mean())
    method = va_gan(by_hand(), hyperparameters=VAGAN(map_weight=0.0))
    shrink = lambda tree, hp: jax.tree.map(lambda m: jnp.sign(m) * jax.nn.relu(jnp.abs(m) - 0.01 * weight), tree)  # noqa: E731
    step = method.objectives[MAP]._replace(optimizer=optax.sgd, project=shrink, due=None)
    hp = method.hyperparameters._replace(learning_rate=0.01)
    init, update = compile_method(method._replace(objectives=(step,), hyperparameters=hp), dataset_size=4)
    state = init(jax.random.key(0))
    for _ in range(5):
        state, _ = update(state, {"image": CASES, "control": CONTROLS})
    moved = np.asarray(state.params["map"])
    np.testing.assert_array_equal(moved != 0, np.abs(A) > weight)
    np.testing.assert_array_equal(np.sign(moved[moved != 0]), np.sign(A[moved != 0]))
    # The same threshold in the loss itself: left and right of 0 its slope points back where the weight wins.
    sharp = va_gan(by_hand(), hyperparameters=VAGAN(map_weight=weight))
    for side in (-1e-3, 1e-3):
        gradient = jax.grad(
            lambda m: loss_of(sharp, {"map": m, "critic": A}, {"image": CASES, "control": CONTROLS}, jax.random.key(0))[
                0
            ]
        )(jnp.full((4, 4, 1), side))
        np.testing.assert_allclose(gradient, np.sign(side) * weight - np.asarray(A), rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_the_opponent(batch):
    method = make("va-gan")
    params = {name: network.init(jax.random.key(i)) for i, (name, network) in enumerate(method.networks.items())}
    to_both = jax.grad(lambda p: loss_of(method, p, batch, jax.random.key(0), objective=CRITIC)[0])(params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(to_both["map"]))
    assert any(leaf.any() for leaf in jax.tree.leaves(to_both["critic"]))
    assert [objective.trains for objective in method.objectives] == [("map",), ("critic",)]


def test_two_gaussians_are_moved_onto_each_other():
    """Cases around mu, controls around 0, a linear critic: the map comes to -mu, the distance from |mu| to 0."""
    mu = jnp.array([0.6, -0.3, 0.0, 0.2]).reshape(2, 2, 1)
    noise = 0.1 * jax.random.normal(jax.random.key(0), (2, 512, 2, 2, 1))
    images = {"image": (noise[0] + mu[None] + 1) / 2, "control": (noise[1] + 1) / 2}
    start = jnp.array([0.1, 0.1, 0.1, 0.1]).reshape(2, 2, 1)
    networks = {
        "map": Network(lambda key: jnp.zeros((2, 2, 1)), lambda m, x: jnp.broadcast_to(m[None], x.shape)),
        "critic": Network(lambda key: start, lambda a, x: (a[None] * x).sum((1, 2, 3))),
    }
    method = va_gan(networks, critic_steps=5, long_steps=40, hyperparameters=VAGAN(1e-3, 0.05, 0.0))
    objectives = tuple(objective._replace(optimizer=optax.sgd) for objective in method.objectives)
    init, update = compile_method(method._replace(objectives=objectives), dataset_size=512)
    state, update, distances, maps = init(jax.random.key(0)), jax.jit(update), [], []
    for _ in range(5000):
        state, terms = update(state, images)
        distances.append(terms["wasserstein"])
        maps.append(state.params["map"])
    # They pass by: a linear critic of slope one has to turn around before the map can come back.
    nearest = np.abs(np.stack(maps) + np.asarray(mu)).max((1, 2, 3)).argmin()
    np.testing.assert_allclose(maps[nearest], -mu, atol=0.05)
    np.testing.assert_allclose(max(distances), float(jnp.sqrt((mu**2).sum())), rtol=0.15)
    assert abs(distances[nearest]) < 0.05


def test_the_critic_has_its_steps():
    """Counted as the authors' loop does: 100 for the first 25 steps of the map and every 100th, else 5."""
    due, updates = [], 0
    for step in range(320):
        updates += 100 if step < 25 or step % 100 == 0 else 5
        due.append(updates - 1)
    got = np.flatnonzero(jax.vmap(critic_schedule(5, 100))(jnp.arange(updates)))
    np.testing.assert_array_equal(got, due)
    assert bool(jax.vmap(critic_schedule(1, 1))(jnp.arange(300)).all())


def test_pictures_are_on_the_scale_of_images():
    method = va_gan(by_hand(0.5))
    params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    shown = method.pictures(Nets(method.networks, params), jax.random.key(0), {"image": CASES, "control": CONTROLS})
    np.testing.assert_allclose(shown["as a control"], CASES + 0.25, rtol=1e-5)
    np.testing.assert_allclose(shown["map"], 0.25, rtol=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="weights must be >= 0"):
        va_gan(by_hand(), hyperparameters=VAGAN(map_weight=-1.0))
    with pytest.raises(ValueError, match="at least one step, got 0 and 100"):
        va_gan(by_hand(), critic_steps=0)
    with pytest.raises(ValueError, match="as many controls as cases"):
        value(va_gan(by_hand()), CRITIC, CASES, CONTROLS[:4])
