"""Dropout is in the losses alone, keyed by the place of an example, whatever the devices or microbatches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import from_arrays
from jaxvae.method import Context, Nets
from jaxvae.methods import gaussian, iwae, vae
from jaxvae.networks import DenseLayers, autoencoder
from jaxvae.streams import Stream
from jaxvae.training import choose_devices, in_microbatches, make_train_step, with_dropout, without_dropout
from jaxvae.training.validation import make_validation
from tests.losses.compiled import one_program

KEY = jax.random.key(3)
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6)), jnp.float32)
PLAIN = vae(autoencoder("mlp-small", (6,), 2, layers=DenseLayers((16,), dropout=0.5)), likelihood=gaussian())
NOISY = with_dropout(PLAIN, ("encoder", "decoder"))
STATE = jax.jit(make_train_step(PLAIN, dataset_size=8)[0])(jax.random.key(0))


def loss_of(method, x=X, key=KEY):
    return one_program(lambda x, key: traced_loss(method, x, key))(x, key)


def traced_loss(method, x, key, axis_name=None):
    ctx = Context(key, STATE.hyperparameters, STATE.step, 8, axis_name)
    return method.objectives[0].loss(Nets(method.networks, STATE.params), {"x": x}, ctx)[0]


def test_the_loss_is_that_of_networks_with_keys():
    class ByHand(Nets):
        def keys(self, call):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(KEY, Stream.DROPOUT), call), 0)
            return jnp.stack([jax.random.fold_in(key, row) for row in range(8)])

        def __getattr__(self, name):
            network = self._networks[name]
            return lambda x: network.apply(self._params[name], x, self.keys(("encoder", "decoder").index(name)))

    ctx = Context(KEY, STATE.hyperparameters, STATE.step, 8)
    want = one_program(lambda x: PLAIN.objectives[0].loss(ByHand(PLAIN.networks, STATE.params), {"x": x}, ctx)[0])(X)
    np.testing.assert_allclose(loss_of(NOISY), want, rtol=1e-5)
    assert abs(loss_of(NOISY) - loss_of(PLAIN)) > 1e-3
    assert abs(loss_of(NOISY) - loss_of(with_dropout(PLAIN, ("encoder",)))) > 1e-3


def test_codes_and_reconstructions_have_no_dropout():
    net = Nets(NOISY.networks, STATE.params)
    want = PLAIN.encode(Nets(PLAIN.networks, STATE.params), {"x": X})
    np.testing.assert_array_equal(NOISY.encode(net, {"x": X}).mean, want.mean)
    np.testing.assert_array_equal(NOISY.decode(net, want.mean), PLAIN.decode(net, want.mean))
    np.testing.assert_array_equal(loss_of(without_dropout(NOISY)), loss_of(PLAIN))
    assert without_dropout(PLAIN).objectives == PLAIN.objectives


SAMPLED = with_dropout(iwae(PLAIN.networks, likelihood=gaussian(), samples=3), ("encoder", "decoder"))


@pytest.mark.parametrize("method", [NOISY, SAMPLED], ids=["one sample", "three samples"])
def test_the_noise_of_a_split_batch_is_that_of_the_whole(method):
    halves = jax.jit(jax.vmap(lambda x: traced_loss(method, x, KEY, "data"), axis_name="data"))(X.reshape(2, 4, 6))
    np.testing.assert_allclose(halves.mean(), loss_of(method), rtol=1e-5)


def test_samples_of_an_example_have_noise_of_their_own():
    """The decoder sees three equal codes of each example."""
    outputs = []

    def loss(net, batch, ctx):
        outputs.append(net.decoder(jnp.ones((3 * len(batch["x"]), 2))).reshape(3, -1))
        return outputs[0].sum(), {}

    method = PLAIN._replace(objectives=(PLAIN.objectives[0]._replace(loss=loss),))
    traced_loss(with_dropout(method, ("decoder",)), X, KEY)
    assert len(np.unique(np.asarray(outputs[0]).round(5), axis=0)) == 3
    traced_loss(method, X, KEY)
    assert len(np.unique(np.asarray(outputs[1]).round(5), axis=0)) == 1


def test_microbatches_change_nothing():
    np.testing.assert_allclose(loss_of(in_microbatches(NOISY, 3)), loss_of(NOISY), rtol=1e-5)


def test_steps_differ_and_gradients_are_finite():
    losses = [float(loss_of(NOISY, key=jax.random.fold_in(KEY, step))) for step in range(3)]
    assert len(set(losses)) == 3
    state, terms = jax.jit(make_train_step(NOISY, dataset_size=8)[1])(STATE, {"x": X})
    assert np.isfinite(terms["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_validations_are_without_dropout():
    source = from_arrays(np.asarray(X), real=True)
    settings = {"batch_size": 8, "dataset_size": 8, "devices": choose_devices()}
    noisy, plain = (make_validation(method, source, **settings)(STATE) for method in (NOISY, PLAIN))
    assert noisy == plain


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match=r"vae has no networks \['critic'\] for dropout; there are"):
        with_dropout(PLAIN, ("encoder", "critic"))
