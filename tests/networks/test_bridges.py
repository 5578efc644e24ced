"""Modules of Flax NNX and Equinox are what the same module of Flax Linen is."""

import inspect
import re
import sys
from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxvae.method import Context, Nets, Posterior
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import from_equinox, from_linen, from_nnx
from jaxvae.training import train
from jaxvae.training.checkpoints import restore
from tests.faults.tiny import SOURCE, same_bits

PIXELS, HIDDEN, LATENTS = 256, 8, 3
LAYERS = {"encoder": {"hidden": (PIXELS, HIDDEN), "mean": (HIDDEN, LATENTS), "logvar": (HIDDEN, LATENTS)}}
LAYERS["decoder"] = {"hidden": (LATENTS, HIDDEN), "pixels": (HIDDEN, PIXELS)}


def encoded(hidden, mean, logvar, image):
    features = jnp.tanh(hidden(image))
    return mean(features), logvar(features)


class LinenEncoder(nn.Module):
    @nn.compact
    def __call__(self, image):
        hidden, mean, logvar = (nn.Dense(size[1], name=name) for name, size in LAYERS["encoder"].items())
        return Posterior(*encoded(hidden, mean, logvar, image.reshape(len(image), -1)))


class LinenDecoder(nn.Module):
    @nn.compact
    def __call__(self, z):
        hidden, pixels = (nn.Dense(size[1], name=name) for name, size in LAYERS["decoder"].items())
        return pixels(jnp.tanh(hidden(z))).reshape(-1, 16, 16, 1)


class NNXEncoder(nnx.Module):
    def __init__(self, rngs):
        for name, size in LAYERS["encoder"].items():
            setattr(self, name, nnx.Linear(*size, rngs=rngs))

    def __call__(self, image):
        return encoded(self.hidden, self.mean, self.logvar, image.reshape(len(image), -1))


class NNXDecoder(nnx.Module):
    def __init__(self, rngs):
        for name, size in LAYERS["decoder"].items():
            setattr(self, name, nnx.Linear(*size, rngs=rngs))

    def __call__(self, z):
        return self.pixels(jnp.tanh(self.hidden(z))).reshape(-1, 16, 16, 1)


class EquinoxEncoder(eqx.Module):
    hidden: eqx.nn.Linear
    mean: eqx.nn.Linear
    logvar: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        for (name, size), one in zip(LAYERS["encoder"].items(), keys, strict=True):
            setattr(self, name, eqx.nn.Linear(*size, key=one))

    def __call__(self, image):
        return encoded(self.hidden, self.mean, self.logvar, image.reshape(-1))


class EquinoxDecoder(eqx.Module):
    hidden: eqx.nn.Linear
    pixels: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 2)
        for (name, size), one in zip(LAYERS["decoder"].items(), keys, strict=True):
            setattr(self, name, eqx.nn.Linear(*size, key=one))

    def __call__(self, z):
        return self.pixels(jnp.tanh(self.hidden(z))).reshape(16, 16, 1)


class Batched(eqx.Module):
    """A module that is called with a batch."""

    one: eqx.Module

    def __call__(self, batch):
        return jax.vmap(self.one)(batch)


NETWORKS = {
    "linen": {"encoder": from_linen(LinenEncoder(), (16, 16, 1)), "decoder": from_linen(LinenDecoder(), (LATENTS,))},
    "nnx": {"encoder": from_nnx(NNXEncoder), "decoder": from_nnx(lambda rngs: NNXDecoder(rngs))},
    "equinox": {
        "encoder": from_equinox(EquinoxEncoder),
        "decoder": from_equinox(lambda key: Batched(EquinoxDecoder(key)), batched=True),
    },
}
every_library = pytest.mark.parametrize("library", NETWORKS)


def weights():
    """Of the networks, as Linen names them."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(
        lambda size: {"kernel": draw(*size), "bias": draw(size[1])}, LAYERS, is_leaf=lambda x: isinstance(x, tuple)
    )


def renamed(library, params, *, back=False):
    """From Linen's names to a library's, or back."""
    if library != "equinox":
        return params
    theirs = params | {"decoder": params["decoder"]["one"] if back else params["decoder"]}
    turned = {
        network: {
            layer: {"kernel": array["weight"].T, "bias": array["bias"]}
            if back
            else {"weight": array["kernel"].T, "bias": array["bias"]}
            for layer, array in layers.items()
        }
        for network, layers in theirs.items()
    }
    return turned if back else turned | {"decoder": {"one": turned["decoder"]}}


def outputs_and_gradient(library):
    """Posterior, logits and the gradient of a beta-VAE's loss, by Linen's names."""
    networks = NETWORKS[library]
    method = beta_vae(networks, hyperparameters=BetaVAE(beta=2.0))
    image = SOURCE.sample(jax.random.key(1), 5)["x"]
    ctx = Context(jax.random.key(2), method.hyperparameters, jnp.int32(0), 100)

    def loss(params):
        net = Nets(networks, params)
        posterior = method.encode(net, {"x": image})
        assert type(posterior) is Posterior
        outputs = (*posterior, net.decoder(posterior.mean))
        return method.objectives[0].loss(net, {"x": image}, ctx)[0], outputs

    (value, outputs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(renamed(library, weights()))
    return value, outputs, renamed(library, gradient, back=True)


def test_the_same_weights_give_the_same_outputs_and_the_same_gradient():
    value, outputs, gradient = outputs_and_gradient("linen")
    assert outputs[2].shape == (5, 16, 16, 1)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradient))
    for library in ("nnx", "equinox"):
        other = outputs_and_gradient(library)
        assert jax.tree.structure(other) == jax.tree.structure((value, outputs, gradient))
        for theirs, ours in zip(jax.tree.leaves(other), jax.tree.leaves((value, outputs, gradient)), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=2e-5, atol=2e-5)


@every_library
def test_init_depends_on_the_key_alone_and_makes_populations(library):
    keys = jax.random.split(jax.random.key(0), 3)
    for network in NETWORKS[library].values():
        members = jax.jit(jax.vmap(network.init))(keys)
        for i, key in enumerate(keys):
            same_bits(jax.tree.map(lambda leaf, i=i: leaf[i], members), network.init(key))
        kernel = max(jax.tree.leaves(members), key=lambda leaf: leaf.ndim)
        assert len(np.unique(np.asarray(kernel), axis=0)) == 3


def is_plain(tree):
    """Whether it is nested dicts of arrays by name."""
    if isinstance(tree, dict):
        return all(isinstance(name, str) and is_plain(value) for name, value in tree.items())
    return isinstance(tree, jax.Array)


@pytest.mark.process
@every_library
def test_a_beta_vae_trains_and_resumes_to_the_same_bits(library, tmp_path):
    run = partial(train, beta_vae(NETWORKS[library]), SOURCE, batch_size=4, log_every=2, checkpoint_every=2)
    with jax.numpy_dtype_promotion("standard"):
        whole = run(steps=4)
        run(steps=2, folder=tmp_path)
        resumed = run(steps=4, folder=tmp_path)
    same_bits(resumed, whole)
    assert is_plain(whole.params)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), whole)
    half, saved = (restore(tmp_path / "checkpoints", step, like) for step in (2, 4))
    same_bits(saved, whole)
    for before, after in zip(jax.tree.leaves(half.params), jax.tree.leaves(saved.params), strict=True):
        assert np.any(before != after)


class Gridded(nnx.Module):
    """Constants that are no variables, and a layer that is used twice."""

    def __init__(self, rngs):
        self.grid, self.scale = jnp.linspace(0.0, 1.0, 4), np.float32([2.0])
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.blocks = nnx.List([self.first, nnx.Linear(4, 4, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5, deterministic=True)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.dropout(x) + self.grid[None] * self.scale[None]


class Permuted(eqx.Module):
    """Integers, and attention, whose dropout has a rate of 0."""

    order: jax.Array
    layer: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention

    def __init__(self, key):
        self.order = jnp.arange(4)[::-1]
        self.layer = eqx.nn.Linear(4, 4, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=key)

    def __call__(self, x):
        rows = self.attention(x[None], x[None], x[None])
        return self.layer(rows[0])[self.order]


@pytest.mark.parametrize(
    ("network", "build", "names"),
    [
        (from_nnx(Gridded), lambda key: Gridded(nnx.Rngs(key)), {"blocks", "first"}),
        (from_equinox(Permuted), lambda key: jax.vmap(Permuted(key)), {"attention", "layer"}),
    ],
    ids=["nnx", "equinox"],
)
def test_constants_are_kept_and_not_trained(network, build, names):
    key = jax.random.key(3)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    params = jax.jit(network.init)(key)
    assert set(params) <= names
    assert is_plain(params)
    np.testing.assert_allclose(jax.jit(network.apply)(params, x), build(key)(x), rtol=1e-5, atol=1e-6)


def test_examples_of_another_size_are_refused():
    network = from_linen(nn.Dense(3), (4,))
    params = network.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"made for inputs of shape \(4,\) is given \(5,\).*event_shape of the data"):
        network.apply(params, jnp.zeros((2, 5)))


def test_a_network_is_made_while_jax_traces():
    @jax.jit
    def output(key, x):
        network = from_nnx(Gridded)
        return network.apply(network.init(key), x)

    network, key, x = from_nnx(Gridded), jax.random.key(0), jnp.ones((2, 4))
    np.testing.assert_allclose(output(key, x), network.apply(network.init(key), x), rtol=1e-6)


class Holding(nnx.Module):
    def __init__(self, **parts):
        for name, part in parts.items():
            setattr(self, name, part)


class Key(eqx.Module):
    noise: jax.Array

    def __call__(self, x):
        return x


NNX_STATE = "keeps nothing but nnx.Param, and Holding has {}: replace BatchNorm by LayerNorm or GroupNorm, keep"
EQUINOX_STATE = "keeps nothing but floating-point arrays, and {}: replace BatchNorm by LayerNorm or GroupNorm, give"


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (
            lambda: from_nnx(lambda rngs: Holding(norm=nnx.BatchNorm(3, rngs=rngs))),
            ValueError,
            NNX_STATE.format("norm/mean, norm/var"),
        ),
        (
            lambda: from_nnx(lambda rngs: Holding(a=nnx.Dropout(0.5, rngs=rngs), b=nnx.Dropout(0.5, rngs=rngs))),
            ValueError,
            NNX_STATE.format("a/rngs/count, a/rngs/key, b/rngs/count and 1 more"),
        ),
        (lambda: from_nnx(lambda rngs: Holding(count=nnx.Variable(0))), ValueError, NNX_STATE.format("count")),
        (
            lambda: from_nnx(lambda rngs: Holding(noise=jax.random.normal(rngs(), (3,)))),
            ValueError,
            NNX_STATE.format("noise"),
        ),
        (
            lambda: from_nnx(Holding()),
            TypeError,
            r"as every seed has parameters of its own: give it `lambda rngs: Holding\(rngs=rngs\)`, not a Holding",
        ),
        (lambda: from_nnx(lambda rngs: nnx.relu), TypeError, "returns an nnx.Module, this one returns"),
        (
            lambda: from_equinox(lambda key: eqx.nn.Sequential([eqx.nn.BatchNorm(3, "batch", mode="ema")])),
            ValueError,
            EQUINOX_STATE.format("Sequential has layers/0/ema_first_time_index, layers/0/ema_state_index"),
        ),
        (
            lambda: from_equinox(lambda key: eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="ema")),
            ValueError,
            EQUINOX_STATE.format("tuple has 0/ema_first_time_index, 0/ema_state_index"),
        ),
        (
            lambda: from_equinox(lambda key: eqx.nn.Sequential([eqx.nn.Dropout(0.5)])),
            ValueError,
            EQUINOX_STATE.format("Sequential has layers/0"),
        ),
        (lambda: from_equinox(Key), ValueError, EQUINOX_STATE.format("Key has noise")),
        (
            lambda: from_equinox(Key(jnp.ones(3))),
            TypeError,
            r"as every seed has parameters of its own: give it `lambda key: Key\(key=key\)`, not a Key",
        ),
        (lambda: from_equinox(lambda key: (key,)), ValueError, EQUINOX_STATE.format("tuple has 0")),
        (lambda: from_equinox(lambda key: (1,)), TypeError, "returns a module to call, this one returns tuple"),
    ],
)
def test_what_is_no_network_is_refused(make, error, told):
    with pytest.raises(error, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_dropout_that_is_switched_off_is_none():
    network = from_equinox(lambda key: eqx.nn.Sequential([eqx.nn.Dropout(0.5, inference=True)]))
    np.testing.assert_array_equal(network.apply(network.init(jax.random.key(0)), jnp.ones((2, 3))), 1)


def test_a_missing_equinox_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match="from_equinox needs Equinox: pip install equinox"):
        from_equinox(EquinoxEncoder)


@pytest.mark.process
@pytest.mark.parametrize("function", [from_nnx, from_equinox])
def test_the_example_runs(function):
    code = re.search(r"```python\n(.*?)```", inspect.getdoc(function), re.DOTALL)[1]
    names = {"__name__": "example"}
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(code, function.__name__, "exec"), names)
    assert names["state"].step == 4
