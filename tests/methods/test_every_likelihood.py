"""Every method that takes a likelihood takes each one that suits the data, and refuses the others in a line.

Methods are built as the command builds them, and their losses are only traced.
"""

from typing import get_args

import jax
import numpy as np
import pytest

from jaxvae.data import from_arrays
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.method import Context, Nets
from jaxvae.methods.likelihoods import COUNTS, LikelihoodName
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config, methods_with
from jaxvae.training import make_train_step
from jaxvae.training.steps import draw_batch
from tests.mixed_table import mixed_table

pytestmark = pytest.mark.process

NAMES = get_args(LikelihoodName)
METHODS = methods_with("likelihood")
ROWS = 12
SMALL = {"latents": 5, "hidden": (4,), "network": "gelu", "components": 4, "batch_size": ROWS, "labels": ROWS}


@pytest.fixture(scope="module")
def table():
    """All kinds of columns, some with missing values, two of counts, and two labels that make a grid."""
    spikes = mixed_table()["spikes"].to_numpy() + 1
    labels = {"a": np.arange(120) // 12, "b": np.arange(120) % 12}
    roles = Columns(labels=("a", "b"), drop=("same",))
    source = from_columns({**mixed_table(), "spikes": spikes, "more": spikes * (np.arange(120) % 7), **labels}, roles)
    assert {column.kind for column in source.schema.used} == {"real", "count", "binary", "categorical"}
    assert source.is_grid
    return source


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).random((12, 16, 16, 1)).astype(np.float32)
    return from_arrays(pixels, np.stack(np.divmod(np.arange(12), 4), axis=1))


def refused(method, source, data):
    """The likelihoods that a method refuses for data, with the reason; the losses of the others are numbers."""
    reasons = {}
    for likelihood in NAMES:
        try:
            built, wrapped = built_with(method, likelihood, source, data)
        except ValueError as error:
            reasons[likelihood] = str(error)
            continue
        shapes = [loss.shape for loss in jax.eval_shape(losses_of(built, wrapped), jax.random.key(0))]
        assert shapes == [() for _ in built.objectives]
    return reasons


def built_with(method, likelihood, source, data):
    config = default_config(method)
    known = {name: value for name, value in SMALL.items() if name in config.flags()}
    config = config.with_flags(data=data, **known).with_flags(likelihood=likelihood)
    wrapped = config.batches.wrap(source, method)
    return build_method(config, networks_of(config, wrapped), wrapped), wrapped


def losses_of(method, source):
    init, _ = make_train_step(method, dataset_size=source.size)

    def losses(key):
        state = init(key)
        batch = draw_batch(method, source, ROWS, state)
        ctx = Context(key, state.hyperparameters, state.step, source.size)
        return [each.loss(Nets(method.networks, state.params), batch, ctx)[0] for each in method.objectives]

    return losses


@pytest.mark.parametrize("method", METHODS)
def test_a_mixed_table_has_all_but_the_continuous_bernoulli(method, table):
    reason = "the continuous-bernoulli likelihood is not for the columns of a table: choose auto"
    assert refused(method, table, "table:none.csv") == {"continuous-bernoulli": reason}


@pytest.mark.parametrize("method", METHODS)
def test_images_have_all_but_those_of_counts(method, images):
    reason = "the {} likelihood is for the counts of a table: choose gaussian, laplace or bernoulli"
    assert refused(method, images, "scene") == {name: reason.format(name) for name in COUNTS}


@pytest.mark.parametrize("method", ["vae", "oi-vae"])
def test_each_likelihood_of_images_is_a_loss_of_its_own(method, images):
    names = [name for name in NAMES if name not in ("auto", *COUNTS)]
    assert "continuous-bernoulli" in names
    losses = [losses_of(*built_with(method, name, images, "scene")) for name in names]
    programs = {str(jax.make_jaxpr(each)(jax.random.key(0))) for each in losses}
    assert len(programs) == len(names) == 4
