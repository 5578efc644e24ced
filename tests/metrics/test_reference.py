"""Every metric gives the numbers of the public reference code, on eight kinds of codes."""

import math
import warnings

import numpy as np
import pytest
from golden_values import ARRAYS, CASES, FACTORS, REFERENCE, SIZES, codes

from jaxvae.metrics import (
    GridCodes,
    beta_vae_score,
    dci,
    downstream,
    explicitness,
    factor_vae_score,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    infomec,
    irs,
    mcc,
    modularity,
    mutual_information_score,
    sampled_mig,
    sap,
    udr,
)
from jaxvae.metrics.dci import completeness_of, disentanglement_of
from jaxvae.metrics.dci_es import explicitness_of
from jaxvae.metrics.inputs import second_best
from jaxvae.metrics.modularity import modularity_of
from jaxvae.metrics.udr import agreement_of
from jaxvae.metrics.unsupervised import total_correlation_of, wasserstein_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


QUICK = ("identity_noise", "rotation45", "near_dead")
"""Codes of which metrics with learners are tested by default."""


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture(params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.process) for name in CASES])
def learned(request):
    return request.param


def test_modularity(case):
    found = modularity(codes(case), FACTORS)
    assert found.score == pytest.approx(CASES[case]["modularity"], abs=1e-6)
    np.testing.assert_allclose(found.mutual_information, CASES[case]["mi_matrix_nats"], atol=1e-6)


def test_sap_of_correlations(case):
    found = sap(codes(case)[:2000], FACTORS[:2000])
    assert found.score == pytest.approx(CASES[case]["sap_continuous"], abs=1e-6)
    np.testing.assert_allclose(found.predictability, CASES[case]["sap_continuous_matrix"], atol=1e-6)


@pytest.mark.parametrize("case", ["identity", "rotation45", "noise"])
def test_sap_of_classifiers(case):
    found = sap(codes(case), FACTORS, kind="discrete", train_fraction=0.5, shuffle=False)
    assert found.score == pytest.approx(CASES[case]["sap_discrete"], abs=1e-3)
    np.testing.assert_allclose(found.predictability, CASES[case]["sap_discrete_matrix"], atol=2e-3)


def test_explicitness(case):
    expected = CASES[case]["modularity_explicitness_halves"]
    found = explicitness(codes(case), FACTORS, train_fraction=0.5, shuffle=False)
    if "raises" in expected:  # constant codes; without them the case is near_dead's
        expected = CASES["near_dead"]["modularity_explicitness_halves"]
    assert found.score == pytest.approx(expected["explicitness_score_test"], abs=2e-3)
    assert found.train_score == pytest.approx(expected["explicitness_score_train"], abs=2e-3)


def test_irs(case):
    expected, found = CASES[case], irs(codes(case), FACTORS)
    assert found.score == pytest.approx(expected["irs"]["IRS"], abs=1e-6)
    assert irs(codes(case), FACTORS, convention="paper").score == pytest.approx(expected["irs_max"]["IRS"], abs=1e-6)
    assert found.live_codes == expected["irs_num_codes_kept"]
    live = found.parent >= 0
    np.testing.assert_allclose(found.per_code[live], expected["irs_per_code"], atol=1e-6)
    np.testing.assert_allclose(found.weights[live], expected["irs_weights"], atol=1e-6)
    np.testing.assert_array_equal(found.parent[live], expected["irs_parents"])


def test_scores_without_factors(case):
    expected, z = CASES[case]["unsupervised"], codes(case)
    assert mutual_information_score(z).score == pytest.approx(expected["mutual_info_score"], abs=1e-6)
    plain = gaussian_wasserstein_correlation(z).score
    assert plain == pytest.approx(expected["gaussian_wasserstein_correlation"], abs=1e-6)
    over_variance = gaussian_wasserstein_correlation(z, normalised=True).score
    assert over_variance == pytest.approx(expected["gaussian_wasserstein_correlation_norm"], abs=1e-6)
    total = gaussian_total_correlation(z).score
    if expected["gaussian_total_correlation"] == "nan":
        live = np.ptp(z, axis=0) > 0
        assert total == pytest.approx(gaussian_total_correlation(z[:, live]).score, abs=1e-12)
    else:
        assert total == pytest.approx(expected["gaussian_total_correlation"], abs=1e-6)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_mcc(case, kind):
    expected, found = CASES[case]["mcc_own"][kind], mcc(codes(case), FACTORS, correlation=kind)
    assert found.score == pytest.approx(expected["mean_over_matched"], abs=1e-6)
    assert found.over_factors == pytest.approx(expected["sum_over_num_factors"], abs=1e-6)
    if case in ("identity", "identity_noise", "split"):
        np.testing.assert_array_equal(found.match, expected["match"])


def test_infomec(learned):
    expected = CASES[learned]["infomec"]
    reference, paper = (
        infomec(codes(learned), FACTORS, train_fraction=None, convention=kind) for kind in ("reference", "paper")
    )
    np.testing.assert_allclose(
        reference.normalised_information, expected["nmi_mean"], atol=max(1e-4, 2 * expected["nmi_max_spread"])
    )
    np.testing.assert_array_equal(reference.active, expected["active_latents"])
    for name, found in (
        ("infom", reference.infom),
        ("infoc", reference.infoc),
        ("infom_without_empty_codes", paper.infom),
    ):
        assert found == pytest.approx(float(expected[name]["mean"]), abs=2e-3, nan_ok=True)
    assert reference.infoe == pytest.approx(expected["infoe"]["mean"], abs=5e-3)


def test_infomec_of_categories():
    expected, z = REFERENCE["infomec_discrete"], codes(REFERENCE["infomec_discrete"]["case"])
    levels = np.minimum(np.floor(5 * (z - z.min(axis=0)) / np.ptp(z, axis=0)), 4)
    found = infomec(levels, FACTORS, discrete_codes=True, train_fraction=None)
    np.testing.assert_allclose(found.normalised_information, expected["float_levels"]["nmi"], atol=1e-6)
    for name in ("infom", "infoc"):
        assert getattr(found, name) == pytest.approx(expected["float_levels"][name], abs=1e-6)
    assert found.infoe == pytest.approx(expected["float_levels"]["infoe"], abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["split", "noise"])
def test_dci_with_the_references_learner(case):
    found = dci(codes(case)[:2000], FACTORS[:2000], learner="scikit-learn", train_fraction=0.5, shuffle=False)
    expected = CASES[case]["dci"]
    # The reference's trees share one generator over all factors, so seeds agree for the first one only.
    first = np.array(CASES[case]["dci_importance_matrix_seed0"])[:, 0]
    np.testing.assert_allclose(found.importance[:, 0], first, atol=1e-6)
    np.testing.assert_allclose(found.importance, CASES[case]["dci_importance_matrix_seed0"], atol=0.06)
    assert found.disentanglement == pytest.approx(expected["disentanglement"]["mean"], abs=0.01)
    assert found.completeness == pytest.approx(expected["completeness"]["mean"], abs=0.01)
    assert found.informativeness == pytest.approx(expected["informativeness_test"]["mean"], abs=0.01)
    assert found.train_accuracy == pytest.approx(expected["informativeness_train"]["mean"], abs=0.01)


def test_dci_with_the_fast_learner(learned):
    found, expected = (
        dci(codes(learned)[:2000], FACTORS[:2000], train_fraction=0.5, shuffle=False),
        CASES[learned]["dci"],
    )
    assert found.disentanglement == pytest.approx(expected["disentanglement"]["mean"], abs=0.03)
    assert found.completeness == pytest.approx(expected["completeness"]["mean"], abs=0.03)
    assert found.informativeness == pytest.approx(expected["informativeness_test"]["mean"], abs=0.03)


def test_downstream(learned):
    for size in (100, 1000) if learned in ("split", "noise") else (100,):
        expected = CASES[learned]["downstream_logistic"][str(size)]
        found = downstream(
            codes(learned)[: size + 1000], FACTORS[: size + 1000], sizes=(size,), num_test=1000, shuffle=False
        )
        assert found.accuracy[size] == pytest.approx(expected["mean_test_accuracy"], abs=0.01)
        assert np.nanmin(found.per_factor[size]) == pytest.approx(expected["min_test_accuracy"], abs=0.03)


GRID = REFERENCE["sampled_from_grid"]


@pytest.mark.parametrize("case", GRID["cases"])
def test_scores_by_intervention(case):
    grid = GridCodes.of_array(ARRAYS[f"grid_{case}"], SIZES)
    settings = {"num_train": 2000, "num_eval": 1000}
    for name, found in {
        "beta_vae": beta_vae_score(grid, **settings),
        "factor_vae": factor_vae_score(grid, num_variance=5000, **settings),
        "factor_vae_no_pruning": factor_vae_score(grid, num_variance=5000, prune_below=0.0, **settings),
    }.items():
        expected = GRID["cases"][case][name]
        if case == "const_dead" and name == "factor_vae_no_pruning":
            expected = GRID["cases"][case]["factor_vae"]  # there, all votes go to a code that is 0 / 0
        for value, key in ((found.score, "eval_accuracy"), (found.train_score, "train_accuracy")):
            assert value == pytest.approx(expected[key]["mean"], abs=max(0.02, 4 * expected[key]["sd"])), name


@pytest.mark.parametrize("case", ["identity", "rotation45", "tanh_mix"])
def test_scores_by_intervention_among_examples(case):
    settings = {"num_train": 2000, "num_eval": 1000}
    for name, score in {"beta_vae": beta_vae_score, "factor_vae": factor_vae_score}.items():
        expected = GRID["cases"][case][name]["eval_accuracy"]
        found = score(codes(case), FACTORS, **settings).score
        assert found == pytest.approx(expected["mean"], abs=max(0.06, 4 * expected["sd"])), name


@pytest.mark.parametrize("kind", ["lasso", "spearman"])
@pytest.mark.parametrize("filtered", [True, False])
def test_udr(kind, filtered):
    expected = REFERENCE["udr"][f"{kind}_{'kl_filtered' if filtered else 'unfiltered'}"]
    settings = {"similarity": kind, "kl_threshold": 0.01 if filtered else -1.0}
    found = udr(ARRAYS["udr_codes"], ARRAYS["udr_kl"], **settings)
    if (kind, filtered) == ("spearman", False):  # there, one switched-off code makes a score of 0 of all pairs
        assert (found.pairwise >= np.array(expected["pairwise"]) - 1e-6).all()
        return
    np.testing.assert_allclose(found.pairwise, expected["pairwise"], atol=1e-5)
    np.testing.assert_allclose(found.model_scores, expected["model_scores"], atol=1e-5)


def test_the_sampled_mig_against_quadrature():
    expected = REFERENCE["chen_mig_exact"]
    mean, logvar = (np.tile(ARRAYS[name], (1, 1)) for name in ("chen_mean", "chen_logvar"))
    runs = [sampled_mig(mean, logvar, ARRAYS["chen_sizes"], seed=seed) for seed in range(100)]
    np.testing.assert_allclose(
        np.mean([run.marginal_entropy for run in runs], axis=0), expected["marginal_entropy"], atol=0.03
    )
    exact = np.array(expected["mutual_information"]).T
    np.testing.assert_allclose(np.mean([run.mutual_information for run in runs], axis=0), exact, atol=0.03)
    assert np.mean([run.score for run in runs]) == pytest.approx(expected["mig"], abs=0.02)


MATRICES = REFERENCE["matrix_cases"]


@pytest.mark.parametrize("name", MATRICES["importance_like"])
def test_scores_of_a_matrix(name):
    expected = MATRICES["importance_like"][name]
    matrix = np.array(expected["matrix"])
    assert disentanglement_of(matrix)[0] == pytest.approx(expected["dci_disentanglement"], abs=1e-9)
    assert completeness_of(matrix)[0] == pytest.approx(expected["dci_completeness"], abs=1e-9)
    assert modularity_of(matrix).mean() == pytest.approx(expected["modularity"], abs=1e-9)
    first, second = second_best(matrix)
    assert (first - second).mean() == pytest.approx(expected["mean_gap_of_top_two_codes"], abs=1e-9)
    assert agreement_of(matrix) == pytest.approx(expected["udr_relative_strength"], abs=1e-9)


@pytest.mark.parametrize("name", MATRICES["covariance"])
def test_scores_of_a_covariance(name):
    expected = MATRICES["covariance"][name]
    covariance = np.array(expected["covariance"])
    total, distance = total_correlation_of(covariance), wasserstein_of(covariance)
    if math.isfinite(float(expected["gaussian_total_correlation"])):
        assert total == pytest.approx(expected["gaussian_total_correlation"], abs=1e-9)
    if isinstance(expected["gaussian_wasserstein_correlation"], float):
        assert distance == pytest.approx(expected["gaussian_wasserstein_correlation"], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in REFERENCE["dci_es_explicitness"] if name != "two_curves"])
def test_explicitness_of_a_curve(name):
    curve = REFERENCE["dci_es_explicitness"][name]
    found = explicitness_of(curve["capacity"], curve["loss"], curve["baseline_loss"])
    assert found == pytest.approx(curve["explicitness"], abs=1e-9)


def test_a_shorter_curve_is_drawn_out():
    curves = REFERENCE["dci_es_explicitness"]["two_curves"]
    for name in ("short", "long"):
        found = explicitness_of(curves[name]["capacity"], curves[name]["loss"], curves["baseline_loss"], largest=10)
        assert found == pytest.approx(curves[name]["explicitness"], abs=1e-9)


@pytest.mark.process
def test_no_warning_of_a_library_gets_through():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (sap, explicitness, irs, infomec, mcc):
            metric(codes("identity_noise")[:600], FACTORS[:600])
        dci(codes("identity_noise")[:600], FACTORS[:600])
        dci(codes("identity_noise")[:150], FACTORS[:150, 3:], learner="random-forest")
        dci(codes("identity_noise")[:150], FACTORS[:150, 3:], learner="lasso")
        downstream(codes("identity_noise")[:600], FACTORS[:600])
