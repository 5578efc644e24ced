"""What networks of tables see, and the likelihood of a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvae.data.tabular import Columns, from_columns
from jaxvae.method import Network
from jaxvae.methods import by_columns, likelihood_for
from jaxvae.methods.columns import likelihoods_in_words
from jaxvae.networks import autoencoder, inputs, neighbour_features, with_parameters
from jaxvae.networks.tabular import inputs_width
from jaxvae.schema import Column, Schema
from tests.losses.compiled import grad, one_program

RNG = np.random.default_rng(0)
N = 60


def table(missing):
    real = RNG.normal(5, 2, N)
    real[:3] = np.nan if missing else 1.0
    city = RNG.choice(["Bern", "Oslo", "Rome"], N).astype(object)
    if missing:
        city[3] = None
    columns = {"real": real, "count": RNG.poisson(4, N), "yes": RNG.integers(0, 2, N), "city": city}
    return from_columns(columns, Columns(kinds=("count=count",)))


def test_an_encoder_sees_zeros_and_what_is_observed():
    source = table(missing=True)
    schema, x = source.schema, jnp.asarray(source.pixels[:5])
    seen = one_program(lambda x: inputs(schema, x))(x)
    assert seen.shape == (5, inputs_width(schema)) == (5, 8)
    np.testing.assert_array_equal(seen[:, 6], [0, 0, 0, 1, 1])  # the real column
    np.testing.assert_array_equal(seen[:, 7], [1, 1, 1, 0, 1])  # the city
    assert np.isnan(np.asarray(x)[:3, 0]).all()
    np.testing.assert_array_equal(seen[:3, 0], 0)
    np.testing.assert_array_equal(seen[3, 3:6], 0)
    np.testing.assert_allclose(seen[:, 1], np.log1p(source.pixels[:5, 1]) - np.log1p(schema.columns[1].mean), rtol=1e-6)


def test_further_inputs_stay_as_they_are():
    source = table(missing=True)
    further = np.arange(8, dtype=np.float32).reshape(4, 2)
    x = np.concatenate([source.pixels[:4], further], axis=1)
    np.testing.assert_array_equal(one_program(lambda x: inputs(source.schema, x))(x)[:, -2:], further)


def counts(genes, factor=1.0):
    """Counts of two cells, the second of which was sequenced `factor` times as deeply, and a missing count."""
    means = np.arange(genes) % 7 + 1.0
    schema = Schema(tuple(Column(f"g{g}", "count", mean, has_missing=g == 3) for g, mean in enumerate(means)))
    rows = np.stack([means, factor * means])
    rows[1, 3] = np.nan
    return schema, jnp.asarray(rows, jnp.float32)


def test_distances_of_cells_do_not_depend_on_their_totals():
    schema, x = counts(60, 30.0)
    np.testing.assert_allclose(neighbour_features(schema, x)[:, :60], 0, atol=1e-5)
    assert np.abs(inputs(schema, x)[1, :3]).min() > 1
    np.testing.assert_array_equal(neighbour_features(schema, x)[:, 60], [1, 0])
    assert np.isfinite(neighbour_features(schema, x * 0)).all()


def test_totals_of_few_counts_and_of_other_tables_are_information():
    schema, x = counts(40, 30.0)
    np.testing.assert_array_equal(neighbour_features(schema, x), inputs(schema, x))
    schema, x = counts(60, 30.0)
    mixed = Schema((*schema.columns, Column("age", "real")))
    x = jnp.concatenate([x, jnp.ones((2, 1))], axis=1)
    np.testing.assert_array_equal(neighbour_features(mixed, x), inputs(mixed, x))


def oracle(source, raw, scales, thetas, row):
    """The negative log-likelihood of a row, from the formulas of scipy, in float64."""
    x = np.asarray(source.pixels[row], np.float64)
    mean = np.asarray([column.mean for column in source.schema.columns])
    total = 0.0
    if not np.isnan(x[0]):
        total -= stats.norm.logpdf(x[0], raw[0], scales[0])
    mu, theta = np.exp(raw[1] + np.log(mean[1] + 1e-3)), np.exp(thetas[0])
    total -= stats.nbinom.logpmf(x[1], theta, theta / (theta + mu))
    total -= stats.bernoulli.logpmf(x[2], 1 / (1 + np.exp(-raw[2])))
    if not np.isnan(x[3]):
        total -= (raw[3:6] - np.log(np.exp(raw[3:6]).sum()))[np.argmax(x[3:6])]
    return total


@pytest.mark.parametrize("missing", [False, True])
def test_the_likelihood_of_a_row_is_that_of_its_columns(missing):
    source = table(missing)
    likelihood = by_columns(source.schema)
    assert len(likelihood.start) == 2  # a scale and a dispersion
    learned = np.array([0.3, -0.4], np.float32)
    outputs = RNG.normal(size=(6, 6)).astype(np.float32)
    raw = np.concatenate([outputs, np.broadcast_to(learned, (6, 2))], axis=1)
    x = jnp.asarray(source.pixels[:6])
    wanted = [oracle(source, outputs[row].astype(np.float64), np.exp([0.3]), [-0.4], row) for row in range(6)]
    np.testing.assert_allclose(one_program(likelihood.nll)(raw, x), wanted, rtol=2e-5)
    gradient = grad(lambda raw: likelihood.nll(raw, x).sum())(raw)
    assert np.isfinite(gradient).all()
    if missing:
        np.testing.assert_allclose(likelihood.nll(jnp.asarray(raw), x), wanted, rtol=2e-5)
        np.testing.assert_array_equal(gradient[:3, 0], 0)
        np.testing.assert_array_equal(gradient[3, 3:6], 0)


def test_expected_values_are_those_of_the_columns():
    source = table(missing=False)
    likelihood = by_columns(source.schema, counts="poisson")
    raw = np.array([[0.5, 0.0, 0.0, 0.0, np.log(2.0), 0.0, 0.0]], np.float32)
    mean = source.schema.columns[1].mean
    np.testing.assert_allclose(
        one_program(likelihood.mean)(raw)[0], [0.5, mean + 1e-3, 0.5, 0.25, 0.5, 0.25], rtol=1e-6
    )


def test_further_zeros_are_learned_for_each_count():
    source = from_columns({"a": RNG.poisson(3, 50), "b": RNG.poisson(5, 50)}, Columns(kinds=("a=count", "b=count")))
    likelihood = by_columns(source.schema, counts="zero-inflated")
    theta, zero = np.array([0.5, 1.5]), np.array([-1.0, 0.7])
    outputs = RNG.normal(size=(50, 2)) * 0.3
    learned = np.broadcast_to(np.concatenate([theta, zero]), (50, 4))
    raw = np.concatenate([outputs, learned], axis=1).astype(np.float32)
    x = np.asarray(source.pixels, np.float64)
    mean = np.exp(outputs + np.log([column.mean + 1e-3 for column in source.schema.columns]))
    share = 1 / (1 + np.exp(-zero))
    mass = (1 - share) * stats.nbinom.pmf(x, np.exp(theta), np.exp(theta) / (np.exp(theta) + mean))
    wanted = -np.log(mass + share * (x == 0)).sum(axis=1)
    np.testing.assert_allclose(one_program(likelihood.nll)(raw, np.asarray(source.pixels)), wanted, rtol=1e-5)
    np.testing.assert_allclose(one_program(likelihood.mean)(raw), (1 - share) * mean, rtol=1e-5)


def test_a_learned_scale_does_not_vanish():
    source = from_columns({"a": np.arange(20.0) ** 1.5})
    likelihood = by_columns(source.schema)
    x = np.asarray(source.pixels)
    raw = np.concatenate([x, np.full((20, 1), -50, np.float32)], axis=1)
    np.testing.assert_allclose(one_program(likelihood.nll)(raw, x), np.log(0.01) + 0.5 * np.log(2 * np.pi), rtol=1e-5)


def test_parameters_of_the_likelihood_follow_the_outputs():
    decoder = Network(lambda key: jnp.ones((2, 3)), lambda params, z: z @ params)
    network = with_parameters(decoder, np.array([7.0, 8.0]))
    params = network.init(jax.random.key(0))
    z = np.ones((4, 2), np.float32)
    raw = one_program(network.apply)(params, z)
    np.testing.assert_array_equal(raw, np.tile([2.0, 2, 2, 7, 8], (4, 1)))
    gradient = grad(lambda params: network.apply(params, z).sum())(params)
    np.testing.assert_array_equal(gradient["likelihood"], [4, 4])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("poisson", "is for count columns, and the table has none"),
        ("bernoulli", "is for binary columns, and the table has none: choose auto"),
        ("continuous-bernoulli", "not for the columns of a table: choose auto"),
    ],
)
def test_likelihoods_of_other_columns_are_refused(name, message):
    schema = from_columns({"a": np.arange(20.0) ** 1.5}).schema
    with pytest.raises(ValueError, match=message):
        likelihood_for(name, 1.0, (1,), schema)


def test_a_likelihood_is_for_the_columns_of_its_kind_and_others_keep_theirs():
    source = table(missing=True)
    shape, x = source.event_shape, jnp.asarray(source.pixels[:6])
    raw = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    raw[:, 6:] = 0.2  # a scale and a dispersion
    usual = likelihood_for("auto", 1.0, shape, source.schema)

    def without(entries, likelihood):
        """The terms of the columns but some, which are missing."""
        return one_program(likelihood.nll)(
            raw[:, : 6 + len(likelihood.start)], x.at[:, np.array(entries, int)].set(jnp.nan)
        )

    for name, entries, learned in (("poisson", [1], 1), ("laplace", [0], 1), ("bernoulli", [], 2)):
        likelihood = likelihood_for(name, 1.0, shape, source.schema)
        assert len(likelihood.start) == learned
        if name == "bernoulli":
            np.testing.assert_array_equal(one_program(likelihood.nll)(raw, x), one_program(usual.nll)(raw, x))
        else:
            np.testing.assert_allclose(without(entries, likelihood), without(entries, usual), rtol=1e-6)
            assert np.abs(without([], likelihood) - without([], usual)).max() > 1e-3


def test_a_line_says_which_columns_a_likelihood_is_for():
    schema = table(missing=False).schema
    assert likelihoods_in_words("auto", schema) == ""
    assert likelihoods_in_words("zero-inflated", schema) == (
        "--likelihood zero-inflated is for 1 count column; the others keep the likelihood of their kind: 1 real column "
        "(gaussian with learned scales), 1 binary column (bernoulli), 1 categorical column (categorical)"
    )
    named = likelihoods_in_words("bernoulli", schema)
    assert named.startswith("--likelihood bernoulli is for 1 binary column;")
    assert "1 count column (negative-binomial)" in named
    counts_only, _ = counts(60)
    assert likelihoods_in_words("poisson", counts_only) == ""


def test_the_default_likelihood_follows_the_data():
    x, raw = np.full((1, 2), 0.25, np.float32), np.zeros((1, 2), np.float32)
    vectors, images = likelihood_for("auto", 1.0, (2,)), likelihood_for("auto", 1.0, (1, 2, 1))
    np.testing.assert_allclose(one_program(vectors.nll)(raw, x), 0.25**2 + np.log(2 * np.pi), rtol=1e-6)
    np.testing.assert_allclose(one_program(images.nll)(raw, x), 2 * np.log(2), rtol=1e-6)
    with pytest.raises(ValueError, match="for the counts of a table"):
        likelihood_for("poisson", 1.0, (2,))


def test_conv_networks_need_pictures():
    with pytest.raises(ValueError, match="network 'conv' needs pictures, and the examples are vectors of 6 numbers"):
        autoencoder("conv", (6,))
