"""QLAE, Tripod and the HFS-VAE: their terms against the kernels, what is encoded, and how they are trained."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_table import LATENTS, build_and_trace, loss_of, make, networks, own
from scipy.special import entr, softmax

from jaxvae import losses
from jaxvae.data import Sprites
from jaxvae.method import END, Nets, Network
from jaxvae.methods import QLAE, Tripod, beta_vae, hfs_vae, qlae, tripod
from jaxvae.methods.qlae import decayed
from jaxvae.networks import shared_values, value_lists, with_parameters
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.streams import Stream

KEY = jax.random.key(1)


def codes_of(method, params, batch):
    return method.encode(Nets(method.networks, params), batch)


@pytest.fixture(scope="module")
def told(params, batch):
    """Losses and codes of all forms, in one program."""
    methods = {
        "qlae": make("qlae"),
        "qlae fixed": make("qlae", values="fixed"),
        "tripod": make("tripod"),
        "tripod none": make("tripod", penalties="none"),
        "tripod information": make("tripod", penalties="information"),
        "tripod mixing": make("tripod", penalties="mixing"),
        "tripod continuous": make("tripod", code="continuous", penalties="information"),
    }

    @jax.jit
    def evaluate(params, batch):
        found = {}
        for name, method in methods.items():
            own_params = own(method, params)
            found[name] = (*loss_of(method, own_params, batch, KEY), codes_of(method, own_params, batch).mean)
        net, smooth = Nets(make("vae").networks, params), Nets(make("tripod").networks, params)
        x = net.encoder(batch["x"]).mean
        scale = losses.code_scale(jnp.tanh(x))
        z = losses.fixed_grid(x, 12)
        lists = jnp.linspace(-0.5, 0.5, 10)
        q = losses.nearest_value(x, lists).value

        def nll(net, codes):
            return losses.bernoulli_nll(net.decoder(codes), batch["x"]).mean()

        return found, {
            "x": x,
            "z": z,
            "q": q,
            "nll of q": nll(net, q),
            "nll of z": nll(smooth, z),
            "commitment": losses.commitment_loss(x, q).mean(),
            "information": losses.kernel_multi_information(z, scale).mean(),
            "mixing": losses.hessian_penalty(lambda c: smooth.hidden("decoder", c), z, KEY, scale=scale).mean(),
            "information of c": losses.kernel_multi_information(jnp.tanh(x), scale).mean(),
        }

    return jax.device_get(evaluate(params, batch))


def test_qlae_is_its_equation(told):
    found, want = told
    pixels = 16 * 16
    for name, weights in (("qlae", 0.02), ("qlae fixed", 0.01)):
        total, terms, codes = found[name]
        np.testing.assert_allclose(terms["reconstruction"], want["nll of q"], rtol=1e-5)
        np.testing.assert_allclose(terms["commitment"], want["commitment"], rtol=1e-5)
        np.testing.assert_allclose(total, want["nll of q"] / pixels + weights * want["commitment"], rtol=1e-5)
        np.testing.assert_allclose(codes, want["q"], rtol=1e-6)
    assert np.abs(found["qlae"][2][..., None] - np.linspace(-0.5, 0.5, 10)).min(axis=-1).max() < 1e-6


def test_tripod_is_its_equation(told):
    found, want = told
    plain = want["nll of z"] / 256
    information, mixing = 1e-4 * want["information"], 1e-2 * want["mixing"]
    for name, total in (
        ("tripod none", plain),
        ("tripod information", plain + information),
        ("tripod mixing", plain + mixing),
        ("tripod", plain + information + mixing),
    ):
        np.testing.assert_allclose(found[name][0], total, rtol=1e-4)
        np.testing.assert_allclose(found[name][2], want["z"], atol=1e-6)
    assert want["mixing"] > 1e-2
    _, terms, codes = found["tripod continuous"]
    np.testing.assert_allclose(codes, np.tanh(want["x"]), rtol=1e-5)
    np.testing.assert_allclose(terms["multi_information"], want["information of c"], rtol=1e-4)
    assert set(found["tripod none"][1]) == {"reconstruction"}


def test_codes_on_a_grid_say_so():
    on_a_grid = (make("qlae"), make("qlae", values="fixed"), make("tripod"), make("factor-qvae"))
    others = (make("tripod", code="continuous"), make("hfs-vae"))
    assert [method.quantised for method in (*on_a_grid, *others)] == [True] * 4 + [False] * 2


def test_fixed_values_are_no_network():
    assert set(make("qlae", values="fixed").networks) == {"encoder", "decoder"}
    assert set(make("qlae").networks) == {"encoder", "decoder", "values"}
    for values in ("learned", "fixed"):
        with pytest.raises(ValueError, match="qlae needs the network 'values' .*: see jaxvae.networks.value_lists"):
            qlae(make("vae").networks, values=values)


def test_tripod_warns_of_networks_with_kinks():
    config = default_config("tripod").with_flags(network="mlp-small", latents=2)
    with pytest.warns(UserWarning, match="no meaning for --network mlp-small, which has ReLU: take --network gelu"):
        networks_of(config, Sprites(16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        networks_of(config.with_flags(network="gelu"), Sprites(16))


def test_weights_decay_and_neither_biases_nor_lists():
    """With a gradient of 0, and clipped at 1 with a large one."""
    params = {"kernel": jnp.full((3, 4), 2.0), "bias": jnp.ones(4)}
    for tree, shrinks in ((params, {"kernel": 1 - 1e-3 * 0.1, "bias": 1.0}), (value_lists(3).init(KEY), 1.0)):
        optimizer = decayed(1e-3)
        updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, tree), optimizer.init(tree), tree)
        after = optax.apply_updates(tree, updates)
        expected = jax.tree.map(lambda leaf, factor: leaf * factor, tree, shrinks)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7), after, expected)
    large = {"kernel": jnp.full((3, 4), 1e6), "bias": jnp.array([-1e6, 0.5, 0, 1])}
    _, memory = decayed(1e-3).update(large, decayed(1e-3).init(params), params)
    moments = next(leaf for leaf in jax.tree.leaves(memory, is_leaf=lambda x: hasattr(x, "mu")) if hasattr(leaf, "mu"))
    np.testing.assert_allclose(moments.mu["bias"], [-0.1, 0.05, 0, 0.1], rtol=1e-6)


@pytest.mark.parametrize(("name", "build", "hp"), [("qlae", qlae, QLAE()), ("tripod", tripod, Tripod())])
def test_the_command_trains_as_the_method_does(name, build, hp):
    """The optimizer of the command's defaults is that of the builder, to the bit, also where biases are matrices."""
    made = networks(name)
    config = default_config(name)

    class Source:
        event_shape, factor_names, factor_sizes = (16, 16, 1), (), ()

    of_command, of_builder = build_method(config, made, Source()), build(made, hyperparameters=hp)
    rng = np.random.default_rng(0)
    shapes = {"kernel": (2, 5, 4), "bias": (2, 4)}  # of two networks side by side
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    gradient = jax.tree.map(lambda leaf: 3 * leaf, params)
    steps = []
    for method in (of_command, of_builder):
        optimizer = method.objectives[0].optimizer_of("encoder")(1e-3)
        steps.append(optimizer.update(gradient, optimizer.init(params), params)[0])
    jax.tree.map(np.testing.assert_array_equal, *steps)


def test_values_are_learned_from_the_quantisation_loss_alone(params, batch):
    method = make("qlae", hp={"quantisation_weight": 0.0})
    still, moves = (
        jax.jit(jax.grad(lambda p, m=m: loss_of(m, p, batch, KEY)[0]))(own(m, params))["values"]
        for m in (method, make("qlae"))
    )
    np.testing.assert_array_equal(still, 0)
    assert np.abs(moves).max() > 0


@pytest.fixture(scope="module")
def seen(params, batch):
    """What the FactorQVAE's discriminator sees, by objective and step, with the losses, and what they are made of."""
    method = make("factor-qvae", hp={"kl_weight": 0.5, "gamma": 0.25, "temperature_decay": 1e-3})
    inputs, real = [], method.networks["discriminator"]

    def spied(params, x):
        inputs.append(x)
        return real.apply(params, x)

    spy = method._replace(networks={**method.networks, "discriminator": Network(real.init, spied)})
    places = [(0, 0), (0, 1000), (0, END), (1, 0)]

    @jax.jit
    def evaluate(params, batch):
        found = {}
        for objective, step in places:
            inputs.clear()
            loss = loss_of(spy, params, batch, KEY, step=step, objective=objective)
            found[objective, step] = loss, list(inputs), [real.apply(params["discriminator"], x) for x in inputs]
        net = Nets(method.networks, params)
        codes, values = net.encoder(batch["x"]).mean, net.values()
        z = found[0, 0][1][0].reshape(*codes.shape, -1) @ values
        nll = losses.bernoulli_nll(net.decoder(z), batch["x"]).mean()
        return found, codes, values, nll, codes_of(method, params, batch).mean

    return jax.device_get(evaluate(own(method, params), batch))


def gumbel_noise(key, shape):
    rows = [jax.random.gumbel(jax.random.fold_in(key, row), shape[1:]) for row in range(shape[0])]
    return np.stack(rows).astype(np.float64)


def test_factor_qvae_is_its_equation(seen):
    found, codes, values, nll, encoded = seen
    logits = -((codes[..., None].astype(np.float64) - values) ** 2)
    noisy = logits + gumbel_noise(KEY, logits.shape)
    for step, temperature in ((0, 1.0), (1000, np.exp(-1)), (END, 0.1)):
        np.testing.assert_allclose(
            found[0, step][1][0], softmax(noisy / temperature, axis=-1).reshape(len(codes), -1), rtol=1e-3, atol=1e-6
        )
    (total, terms), _, (told,) = found[0, 0]
    kl = (np.log(len(values)) - entr(softmax(logits, axis=-1)).sum(axis=-1)).mean()
    np.testing.assert_allclose(terms["kl_per_latent"], kl, rtol=1e-4)
    np.testing.assert_allclose(total, nll / 256 + 0.5 * kl + 0.25 * (told[:, 0] - told[:, 1]).mean(), rtol=1e-4)
    np.testing.assert_array_equal(encoded, values[np.abs(codes[..., None] - values).argmin(axis=-1)])


def test_whole_rows_of_weights_are_permuted(seen):
    """Each latent by a permutation of its own, over the second batch; the loss is that of two classes."""
    (total, terms), (own_batch, permuted), (told, told_permuted) = seen[0][1, 0]
    codes, values = seen[1], seen[2]
    shape = (*codes.shape, len(values))
    one, two = own_batch.reshape(shape), permuted.reshape(shape)
    orders = [[tuple(row) for row in part[:, latent].round(6)] for part in (one, two) for latent in range(LATENTS)]
    assert all(len(set(order)) == len(codes) for order in orders)
    assert not any(set(order) & set(other) for order, other in zip(orders[:LATENTS], orders[LATENTS:], strict=True))
    np.testing.assert_allclose(two.sum(axis=-1), 1, rtol=1e-5)
    fall, rise = told[:, 0] - told[:, 1], told_permuted[:, 0] - told_permuted[:, 1]
    np.testing.assert_allclose(total, (np.logaddexp(0, -fall) + np.logaddexp(0, rise)).mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(terms["discriminator_accuracy"], ((fall > 0).mean() + (rise < 0).mean()) / 2)


def test_one_batch_is_permuted_against_itself(params, batch):
    """The rows of every latent are those of the batch, in an order of their own."""
    method, inputs = make("factor-qvae", batches="one"), []
    spied = Network(method.networks["discriminator"].init, lambda params, x: inputs.append(x) or x[:, :2])
    spy = method._replace(networks={**method.networks, "discriminator": spied})

    @jax.jit
    def evaluate(params, batch):
        loss_of(spy, params, batch, KEY, objective=1)
        return list(inputs)

    only_x = {name: value for name, value in batch.items() if name != "fresh_x"}
    shape = (len(batch["x"]), LATENTS, -1)
    one, two = (np.reshape(part, shape) for part in jax.device_get(evaluate(own(method, params), only_x)))
    order = [[np.flatnonzero((one[:, d] == row).all(axis=-1)) for row in two[:, d]] for d in range(LATENTS)]
    orders = np.array(order)[..., 0]
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(len(one)), (LATENTS, 1)))
    assert len({tuple(row) for row in orders}) == LATENTS


def test_support_is_one_term_in_all_methods_that_take_it(params, batch):
    """The beta-VAE with it is the HFS-VAE, and in the beta-TCVAE it is added once."""
    made = make("vae").networks
    hp = {"beta": 4.0, "support_weight": 7.0}
    methods = {
        "hfs": make("hfs-vae", hp=hp),
        "beta": make("beta-vae", hp={"beta": 4.0}, support_weight=7.0),
        "tc": make("beta-tc-vae", support_weight=7.0),
        "plain tc": make("beta-tc-vae"),
    }

    @jax.jit
    def evaluate(params, batch):
        mean = Nets(made, params).encoder(batch["x"]).mean
        pairs = losses.latent_pairs(jax.random.fold_in(KEY, Stream.LATENT_PAIRS), LATENTS)
        want = losses.factorised_support(mean, pairs), mean.std(axis=0).mean()
        return want, {name: loss_of(method, params, batch, KEY) for name, method in methods.items()}

    (support, scale), found = jax.device_get(evaluate({k: params[k] for k in made}, batch))
    assert support > 1e-3
    for name in ("hfs", "beta", "tc"):
        np.testing.assert_allclose(found[name][1]["support"], support, rtol=1e-5)
        np.testing.assert_allclose(found[name][1]["code_scale"], scale, rtol=1e-4)
    np.testing.assert_allclose(found["beta"][0], found["hfs"][0], rtol=1e-6)
    np.testing.assert_allclose(found["tc"][0] - found["plain tc"][0], 7 * support, rtol=1e-3)
    assert "support" not in found["plain tc"][1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make("qlae", hp={"commitment_weight": -1.0}),
            "commitment_weight is a weight .*, got -1",
        ),
        (lambda: make("tripod", hp={"mixing_weight": -1.0}), "mixing_weight is a weight and must be >= 0, got -1"),
        (lambda: make("tripod", num_values=1), "raise num_values from 1"),
        (lambda: make("hfs-vae", hp={"beta": -1.0}), "beta is a weight and must be >= 0, got -1"),
        (lambda: hfs_vae({"encoder": None}), r"hfs-vae needs the networks \['decoder'\]"),
        (lambda: beta_vae(make("vae").networks, support_weight=-1.0), "support weight must be >= 0, got -1.0"),
        (lambda: make("beta-tc-vae", support_weight=-1.0), "support weight must be >= 0, got -1.0"),
        (lambda: value_lists(3, 1), "num_values=1"),
        (lambda: shared_values(1), "num_values=1"),
        (lambda: make("factor-qvae", hp={"gamma": -1.0}), "gamma must be >= 0, got -1"),
        (lambda: make("factor-qvae", hp={"temperature": 0.0}), "temperature must be > 0, got 0"),
        (lambda: make("hfs-vae", hp={"hinge_weight": -1.0}), "hinge_weight is a weight and must be >= 0, got -1"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_hidden_layers_are_those_of_the_decoder_inside():
    """Behind the learned parameters of a likelihood, and without keys where dropout gives them."""
    decoder = make("tripod").networks["decoder"]
    wrapped = with_parameters(decoder, np.zeros(2))
    codes = jnp.ones((3, LATENTS))

    @jax.jit
    def told():
        params = decoder.init(KEY)
        return decoder.hidden(params, codes), wrapped.hidden({"decoder": params, "likelihood": np.zeros(2)}, codes)

    (plain,), (inside,) = told()
    np.testing.assert_array_equal(plain, inside)
    assert plain.shape == (3, 64)
    build_and_trace(["tripod", "--data", "sprites", "--image-size", "16", "--dropout", "0.5"])
