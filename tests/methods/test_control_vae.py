"""The controller of the KL by hand, step by step, and cyclical annealing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import SOURCE, loss_of, make, own

from jaxvae.losses import kl_standard_normal
from jaxvae.method import END
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.methods.schedules import controlled_weight, cyclical_ramp
from jaxvae.training import make_train_step

GAINS = {"proportional_gain": 0.01, "integral_gain": 0.005, "least": 0.0, "most": 1.0}


@pytest.mark.parametrize(
    ("error", "integral", "beta", "move"),
    [
        (0.0, 0.3, 0.005 + 0.3, 0.0),  # at the set point: half of the proportional gain
        (-100.0, 0.3, 0.01 + 0.3 + 0.5, 0.5),  # the KL is 100 nats too large: the weight grows
        (40.0, 0.3, 0.3 - 0.2, -0.2),  # too small: it falls
        (40.0, 0.1, 0.1, 0.0),  # it would fall below its bound: the integral waits
        (-100.0, 0.9, 0.91, 0.0),  # it would grow beyond its bound
        (-100.0, 1.5, 1.0, 0.0),  # beyond it already: no further out
        (100.0, 1.5, 1.0, -0.5),  # and back in
        (-100.0, -0.7, 0.0, 0.5),
    ],
)
def test_the_controller_by_hand(error, integral, beta, move):
    got = controlled_weight(jnp.float32(error), jnp.float32(integral), **GAINS)
    np.testing.assert_allclose(got, (beta, move), rtol=1e-5, atol=1e-6)


def test_the_integral_follows_the_kl_of_the_steps(batch):
    """Each step's weight from the KL of that step and the sum of the errors before it, within the bounds."""
    hp = {"target": 3.0, "target_start": 1.0, "warmup": 4.0, "integral_gain": 0.02, "beta_min": 0.5, "beta_max": 2.0}
    method = make("control-vae", hp=hp)
    init, update = make_train_step(method, dataset_size=SOURCE.size)
    encode, step = jax.jit(method.networks["encoder"].apply), jax.jit(update)
    state, integral = jax.jit(init)(jax.random.key(0)), 0.0
    for number in range(6):
        kl = float(kl_standard_normal(*encode(state.params["encoder"], batch["x"])).mean())
        error = 1.0 + 2.0 * min(1.0, number / 4) - kl
        free = 0.01 / (1 + np.exp(error)) + integral - 0.02 * error + 0.5
        if 0.5 <= free <= 2.0 or (free > 2.0) == (error > 0):
            integral -= 0.02 * error
        state, terms = step(state, batch)
        beta = np.clip(0.01 / (1 + np.exp(error)) + integral + 0.5, 0.5, 2.0)
        np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)
        np.testing.assert_allclose(terms["beta"], beta, rtol=1e-4)
        np.testing.assert_allclose(state.params["controller"]["integral"], integral, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + terms["beta"] * terms["kl"], rtol=1e-5)


def test_the_weight_is_a_constant_of_the_gradient(params, batch):
    method = make("control-vae", hp={"proportional_gain": 5.0})
    given = own(method, params)

    @jax.jit
    def both(params, batch):
        found, terms = jax.grad(lambda p: loss_of(method, p, batch, jax.random.key(0)), has_aux=True)(params)
        wanted = jax.grad(
            lambda p: (lambda t: t["reconstruction"] + jax.lax.stop_gradient(terms["beta"]) * t["kl"])(
                loss_of(method, p, batch, jax.random.key(0))[1]
            )
        )(params)
        return found, wanted

    found, wanted = both(given, batch)
    for a, b in zip(jax.tree.leaves(found["encoder"]), jax.tree.leaves(wanted["encoder"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(np.abs(b).max()))


def test_all_cycles_have_ended_at_the_end():
    """The losses of validations are taken there, whatever the cycle."""
    ramp = jax.jit(lambda cycle: cyclical_ramp(0.0, jnp.float32(4), jnp.int32(END), jnp.float32(5), 512))(0)
    assert ramp == 4
    with pytest.raises(ValueError, match="the warmup must be above 0 and at most the cycle, got 0"):
        beta_vae(make("vae").networks, cycle=10)
    with pytest.raises(ValueError, match="the warmup must be above 0 and at most the cycle, got 50"):
        beta_vae(make("vae").networks, cycle=10, hyperparameters=BetaVAE(warmup=50.0))


def test_cycles_begin_again():
    steps = jnp.arange(25, dtype=jnp.int32)
    ramp = jax.jit(jax.vmap(lambda step: cyclical_ramp(0.0, jnp.float32(4), step, jnp.float32(5), 10)))(steps)
    want = [4 * min(1, (step % 10) / 5) for step in range(25)]
    np.testing.assert_allclose(ramp, want, rtol=1e-6)
    once = jax.jit(jax.vmap(lambda step: cyclical_ramp(0.0, jnp.float32(4), step, jnp.float32(5), 0)))(steps)
    np.testing.assert_allclose(once, np.minimum(4, 0.8 * np.arange(25)), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("control-vae", hp={"integral_gain": 0.0}), "integral gain positive, .* integral_gain=0"),
        (lambda: make("control-vae", hp={"beta_min": 200.0}), "beta_min < beta_max; got .*beta_min=200.0"),
        (lambda: beta_vae(make("vae").networks, cycle=-1), "must be >= 0, got -1"),
    ],
)
def test_what_a_controller_can_not_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()
