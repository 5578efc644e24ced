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
from jaxvae.training import make_train_step

MAP, CRITIC = range(2)
RNG = np.random.default_rng(0)
CASES, CONTROLS = RNG.uniform(size=(2, 16, 4, 4, 1)).astype(np.float32)
A = RNG.normal(size=(4, 4, 1)).astype(np.float32)


def by_hand(change=0.0):
    """One map for all images, and the critic a.x."""
    return {
        "map": Network(
            lambda key: jnp.full((4, 4, 1), change), lambda params, x: jnp.broadcast_to(params[None], x.shape)
        ),
        "critic": Network(lambda key: jnp.asarray(A), lambda a, x: (a[None] * x).sum((1, 2, 3))),
    }


def value(method, objective, cases=CASES, controls=CONTROLS):
    @jax.jit
    def evaluate(batch):
        params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
        return loss_of(method, params, batch, jax.random.key(3), objective=objective)

    return evaluate({"x": cases, "control": controls})


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
    step = method.objectives[MAP]._replace(optimizer=optax.sgd, project=shrink, active=None)
    hp = method.hyperparameters._replace(learning_rate=0.01)
    init, update = make_train_step(method._replace(objectives=(step,), hyperparameters=hp), dataset_size=4)

    @jax.jit
    def after_5_steps(images):
        return jax.lax.fori_loop(0, 5, lambda _, state: update(state, images)[0], init(jax.random.key(0)))

    images = {"x": CASES, "control": CONTROLS}
    state = after_5_steps(images)
    moved = np.asarray(state.params["map"])
    np.testing.assert_array_equal(moved != 0, np.abs(A) > weight)
    np.testing.assert_array_equal(np.sign(moved[moved != 0]), np.sign(A[moved != 0]))
    # The same threshold in the loss itself: left and right of 0 its slope points back where the weight wins.
    sharp = va_gan(by_hand(), hyperparameters=VAGAN(map_weight=weight))
    value_at = lambda m: loss_of(sharp, {"map": m, "critic": jnp.asarray(A)}, images, jax.random.key(0))[0]  # noqa: E731
    gradient_at = jax.jit(jax.grad(value_at))
    for side in (-1e-3, 1e-3):
        gradient = gradient_at(np.full((4, 4, 1), side, np.float32))
        np.testing.assert_allclose(gradient, np.sign(side) * weight - np.asarray(A), rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_the_opponent(batch):
    method = make("va-gan")

    shapes = jax.eval_shape(
        lambda: {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
    )
    params = jax.tree.map(lambda leaf: RNG.normal(scale=0.1, size=leaf.shape).astype(np.float32), shapes)
    to_both = jax.jit(jax.grad(lambda p: loss_of(method, p, batch, jax.random.key(0), objective=CRITIC)[0]))
    gradient = jax.device_get(to_both(params))
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["map"]))
    assert any(leaf.any() for leaf in jax.tree.leaves(gradient["critic"]))
    assert [objective.trains for objective in method.objectives] == [("map",), ("critic",)]


def test_two_gaussians_are_moved_onto_each_other():
    """Cases around mu, controls around 0, a linear critic: the map comes to -mu, the distance from |mu| to 0."""
    mu = np.array([0.6, -0.3, 0.0, 0.2], np.float32).reshape(2, 2, 1)
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 512, 2, 2, 1)).astype(np.float32)
    images = {"x": (noise[0] + mu[None] + 1) / 2, "control": (noise[1] + 1) / 2}
    start = jnp.full((2, 2, 1), 0.1)
    networks = {
        "map": Network(lambda key: jnp.zeros((2, 2, 1)), lambda m, x: jnp.broadcast_to(m[None], x.shape)),
        "critic": Network(lambda key: start, lambda a, x: (a[None] * x).sum((1, 2, 3))),
    }
    method = va_gan(networks, critic_steps=5, long_steps=40, hyperparameters=VAGAN(1e-3, 0.05, 0.0))
    objectives = tuple(objective._replace(optimizer=optax.sgd) for objective in method.objectives)
    init, update = make_train_step(method._replace(objectives=objectives), dataset_size=512)

    @jax.jit
    def trained(images):
        def step(state, _):
            state, terms = update(state, images)
            return state, (terms["wasserstein"], state.params["map"])

        return jax.lax.scan(step, init(jax.random.key(0)), length=5000)[1]

    distances, maps = map(np.asarray, trained(images))
    # They pass by: a linear critic of slope one has to turn around before the map can come back.
    nearest = np.abs(maps + mu).max((1, 2, 3)).argmin()
    np.testing.assert_allclose(maps[nearest], -mu, atol=0.05)
    np.testing.assert_allclose(max(distances), np.sqrt((mu**2).sum()), rtol=0.15)
    assert abs(distances[nearest]) < 0.05


def test_the_critic_has_its_steps():
    """Counted as the authors' loop does: 100 for the first 25 steps of the map and every 100th, else 5."""
    active, updates = [], 0
    for step in range(320):
        updates += 100 if step < 25 or step % 100 == 0 else 5
        active.append(updates - 1)
    due_of = lambda schedule, count: np.asarray(jax.jit(jax.vmap(schedule))(np.arange(count, dtype=np.int32)))  # noqa: E731
    np.testing.assert_array_equal(np.flatnonzero(due_of(critic_schedule(5, 100), updates)), active)
    assert due_of(critic_schedule(1, 1), 300).all()


def test_pictures_are_on_the_scale_of_images():
    method = va_gan(by_hand(0.5))

    @jax.jit
    def pictures(images):
        params = {name: network.init(jax.random.key(0)) for name, network in method.networks.items()}
        return method.pictures(Nets(method.networks, params), jax.random.key(0), images)

    shown = pictures({"x": CASES, "control": CONTROLS})
    np.testing.assert_allclose(shown["as a control"], CASES + 0.25, rtol=1e-5)
    np.testing.assert_allclose(shown["map"], 0.25, rtol=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="weights must be >= 0"):
        va_gan(by_hand(), hyperparameters=VAGAN(map_weight=-1.0))
    with pytest.raises(ValueError, match="at least one step, got 0 and 100"):
        va_gan(by_hand(), critic_steps=0)
    with pytest.raises(ValueError, match="as many controls as cases"):
        value(va_gan(by_hand()), CRITIC, CASES, CONTROLS[:4])
