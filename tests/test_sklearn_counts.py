"""The estimator DRVI: counts in any form, and what its latents do."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from jaxvae.data.anndata import NotCounts
from jaxvae.method import Nets
from jaxvae.sklearn import DRVI, VAESNE

pytestmark = pytest.mark.process

QUICK = {"n_components": 4, "max_iter": 3, "batch_size": 16, "random_state": 0}


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    found = rng.negative_binomial(2, 0.4, (40, 7)).astype(float)
    found[:, 2] = 0
    found[:, 3] = np.arange(40) % 2  # would be binary, alone
    return found


@pytest.fixture(scope="module")
def trained(counts):
    return DRVI(**QUICK).fit(counts)


def test_sparse_arrays_and_frames_hold_the_same_counts(counts, trained):
    assert {column.kind for column in trained.schema_.used} == {"count"}
    assert trained.schema_.width == 6
    codes = trained.transform(counts)
    for form in (sparse.csr_matrix, sparse.csc_array, lambda x: x.astype(np.int32)):
        np.testing.assert_array_equal(trained.transform(form(counts)), codes)
    again = DRVI(**QUICK).fit(sparse.csr_matrix(counts))
    np.testing.assert_array_equal(again.transform(counts), codes)
    frame = pd.DataFrame(counts, columns=[f"gene{g}" for g in range(7)])
    of_frame = DRVI(**QUICK).fit(frame)
    np.testing.assert_array_equal(of_frame.transform(frame), codes)
    assert list(of_frame.inverse_transform(codes).columns) == [f"gene{g}" for g in range(7) if g != 2]


def test_defaults_are_those_of_the_method():
    params = DRVI().get_params()
    assert (params["n_components"], params["network"], params["batch_size"]) == (32, "elu", 128)
    assert (params["splits"], params["pooling"], params["warmup"]) == (None, "logsumexp", None)


def test_the_warmup_is_the_whole_fit(trained):
    assert trained.method_.hyperparameters.warmup == 3


@pytest.mark.parametrize(("kind", "asked"), [(DRVI, {}), (VAESNE, {"library": "rows", "kinds": "count"})])
def test_scores_have_the_rows_own_library(kind, asked, counts):
    model = kind(**QUICK, **asked, likelihood="poisson").fit(counts)
    x = counts[:, [int(column.name[1:]) for column in model.schema_.used]].astype(np.float32)
    net = Nets(model.method_.networks, model.state_.params)
    expected = np.asarray(model.method_.expected(net, model.transform(counts), {"x": x}), np.float64)
    np.testing.assert_allclose(expected.sum(axis=1), x.sum(axis=1), rtol=1e-4)
    want = stats.poisson.logpmf(x, expected).sum(axis=1).mean()
    assert model.score(counts) == pytest.approx(want, rel=1e-4)


def test_what_latents_do(counts, trained):
    effects = trained.split_effects(counts)
    assert effects.in_data.shape == (4, 6)
    names = trained.get_feature_names_learned()
    assert names == ["x0", "x1", "x3", "x4", "x5", "x6"]
    assert {name for named in effects.top(names).values() for name in named} <= set(names)


def test_pickles(counts, trained):
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(again.transform(counts), trained.transform(counts))
    np.testing.assert_array_equal(again.split_effects(counts).in_data, trained.split_effects(counts).in_data)


def test_bad_counts(counts):
    with pytest.warns(NotCounts, match=r"\d % of the values other than 0 are no whole numbers"):
        model = DRVI(**QUICK).fit(np.where(np.arange(7) == 1, counts + 0.5, counts))
    assert model.schema_ is None
    with pytest.raises(ValueError, match="negative or fractional values, and can't be a count"):
        DRVI(**QUICK, kinds="count").fit(counts - 1)
    empty = counts.copy()
    empty[[4, 9]] = 0
    with pytest.raises(ValueError, match="2 rows have no counts at all: row 4, row 9: remove them"):
        DRVI(**QUICK).fit(empty)
