"""Class matching against values of drvi-py 0.2.8, and what the package leaves undefined."""

import itertools

import numpy as np
import pandas as pd
import pytest

from jaxvae.metrics import class_matching
from jaxvae.metrics.class_matching import POOLINGS

REFERENCE = {
    "good": {
        "SMI": (1.000000, 1.000000, 0.540366),
        "SPN": (1.000000, 1.000000, 0.558044),
        "BMMI": (1.000000, 1.000000, 0.537507),
    },
    "rand": {
        "SMI": (0.027212, 0.029205, 0.006585),
        "SPN": (0.079668, 0.095541, 0.039324),
        "BMMI": (0.014024, 0.014675, 0.001799),
    },
    "mixed": {
        "SMI": (0.959914, 0.971482, 0.037941),
        "SPN": (0.984366, 0.992183, 0.029209),
        "BMMI": (0.960839, 0.985150, 0.059461),
    },
}
"""Codes -> similarity -> LMS, MSAS and MSGS."""


def reference_codes():
    r = np.random.RandomState(0)
    labels = np.repeat([0, 1, 2], [200, 100, 50])
    y = np.eye(3)[labels]
    good, rand = r.normal(y, 0.1), r.normal(0, 1, y.shape)
    mixed = np.concatenate([good @ np.array([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1]]), rand], axis=1)
    order = r.permutation(350)
    return {name: codes[order] for name, codes in {"good": good, "rand": rand, "mixed": mixed}.items()}, labels[order]


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values(name):
    codes, labels = reference_codes()
    scores = class_matching(codes[name], labels).scores
    for similarity, wanted in REFERENCE[name].items():
        got = [scores[f"{pooling}-{similarity}"] for pooling in POOLINGS]
        np.testing.assert_allclose(got, wanted, atol=6e-7, err_msg=similarity)


def test_labels_are_words_or_numbers():
    codes, labels = reference_codes()
    words = np.array(["B cell", "T cell", "NK cell"])[labels]
    of_words, of_numbers = class_matching(codes["mixed"], words), class_matching(codes["mixed"], labels[:, None])
    assert of_words.scores == pytest.approx(of_numbers.scores)
    assert sorted(of_words.match) == [0, 1, 2]


def test_several_labels_are_matched_alone():
    codes, labels = reference_codes()
    other = np.random.default_rng(0).integers(0, 2, len(labels))
    alone = [class_matching(codes["mixed"], each).score for each in (labels, other)]
    with pytest.warns(UserWarning, match=r"factors \[1\] are constant"):
        both = class_matching(codes["mixed"], np.stack([labels, 0 * labels, other], axis=1))
    np.testing.assert_allclose(both.per_factor, [alone[0], np.nan, alone[1]])
    assert both.score == pytest.approx(np.mean(alone))
    np.testing.assert_array_equal(both.classes, [[0, 0], [0, 1], [0, 2], [2, 0], [2, 1]])


def test_ties_are_an_expectation_over_orders():
    code, labels = np.array([0.0, 0, 0, 1, 1, 2, 3, 3]), np.array([1, 0, 1, 1, 0, 1, 0, 1])
    orders = [
        [*first, *second, 5, *last]
        for first in itertools.permutations([0, 1, 2])
        for second in itertools.permutations([3, 4])
        for last in itertools.permutations([6, 7])
    ]
    found = []
    for order in orders:
        member = labels[order] == 1
        found.append((member[1:] & member[:-1]).sum() / 4)
    wanted = (np.mean(found) - 5 / 8) / (3 / 8)
    assert wanted < 0  # so that the other class is looked at as well, whose share is above chance
    similarity = class_matching(code[:, None], labels).similarity["SPN"][0]
    assert similarity[1] == 0
    pairs = np.mean([((labels[o] == 0)[1:] & (labels[o] == 0)[:-1]).sum() for o in orders]) / 2
    assert similarity[0] == pytest.approx(max(pairs - 3 / 8, 0) / (5 / 8))
    runs = np.array([1, 1, 0, 0, 0, 0, 1, 1])
    assert class_matching(code[:, None], runs).similarity["SPN"][0][1] > 0


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 4, (60, 3)), rng.integers(0, 3, 60)
    order = rng.permutation(60)
    one, other = class_matching(codes, labels), class_matching(codes[order], labels[order])
    assert one.scores == pytest.approx(other.scores)


def test_a_class_of_one_example_is_left_out_of_spn():
    codes, labels = reference_codes()
    extended = np.append(labels, 3)
    with pytest.warns(UserWarning, match="1 classes have a single example and are left out of SPN"):
        found = class_matching(np.vstack([codes["good"], [[5, 5, 5]]]), extended)
    assert np.isnan(found.similarity["SPN"][:, 3]).all()
    assert np.isfinite(list(found.scores.values())).all()
    assert found.scores["MSAS-SPN"] == pytest.approx(1, abs=0.02)


def test_a_constant_latent_and_fewer_latents_than_classes():
    codes, labels = reference_codes()
    found = class_matching(np.stack([codes["good"][:, 0], np.ones(350)], axis=1), labels)
    for similarity in ("SMI", "BMMI", "ASC"):
        assert found.similarity[similarity][1].tolist() == [0, 0, 0]
    assert found.scores["LMS-SMI"] <= 2 / 3
    assert (found.match == -1).sum() == 1


def test_spearman():
    stats = pytest.importorskip("scipy.stats")
    codes, labels = reference_codes()
    found = class_matching(codes["mixed"], labels).similarity["ASC"]
    wanted = [[abs(stats.spearmanr(z, labels == c).statistic) for c in range(3)] for z in codes["mixed"].T]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="every factor is constant"):
        class_matching(np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(ValueError, match="num_bins must be at least 2"):
        class_matching(np.zeros((4, 1)), np.arange(4), num_bins=1)


def test_a_missing_label_is_no_class():
    codes, labels = reference_codes()[0]["good"], np.array(["a", "b", None, "b", "a"] * 70, object)
    known = np.array([label is not None for label in labels])
    numbers = np.where(labels == "a", 0.0, np.where(known, 1.0, np.nan))
    alone = class_matching(codes[known], labels[known].astype(str)).scores
    nullable = np.where(known, labels, pd.NA)
    for given in (labels, numbers, nullable):
        with pytest.warns(UserWarning, match="70 of 350 rows without factor 0"):
            found = class_matching(codes, given)
        assert len(found.classes) == 2
        assert found.scores["LMS-BMMI"] == pytest.approx(alone["LMS-BMMI"])
