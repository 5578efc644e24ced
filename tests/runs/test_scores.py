"""Scores of a run: which examples they are of, what is kept beside what, and what has no score."""

import json
import re
import warnings

import jax
import numpy as np
import pytest

from jaxvae.analysis import Representation
from jaxvae.data import from_arrays, split
from jaxvae.data.tabular import from_columns
from jaxvae.method import Method, Network, Posterior
from jaxvae.methods import METHODS
from jaxvae.methods.columns import likelihood_for
from jaxvae.metrics import dcimig, infomec, jemmig, med, mig, mig_sup, modularity, mutual_information_score
from jaxvae.report.collect import collect
from jaxvae.report.page import report_html
from jaxvae.runs import evaluate, represent
from jaxvae.runs.config import default_config
from jaxvae.runs.load import OwnConfig, Run
from jaxvae.runs.score import collapse_in_words, read_scores, score
from jaxvae.schema import schema_of
from jaxvae.training import make_train_step
from jaxvae.training.run_folder import RunFolderError
from jaxvae.training.validation import PosteriorCollapse

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)


def mean_of_rows(net, batch):
    flat = batch["x"].reshape(len(batch["x"]), -1)
    return Posterior(net.same(flat[:, :3]), -2 * jax.numpy.ones((len(flat), 3)))


def drawn(net, codes):
    return jax.numpy.pad(net.same(codes), ((0, 0), (0, 13))).reshape(-1, 4, 4, 1)


def run_of(folder, factors, compiled=None):
    """A run whose code is the first three pixels of 4 x 4."""
    count = [] if compiled is None else compiled

    def same(params, x):
        count.append(x.shape)  # once per compilation
        return x

    source = from_arrays(RNG.random((len(factors), 4, 4)).astype(np.float32), factors)
    method = Method("pixels", {"same": Network(lambda key: {}, same)}, None, (), mean_of_rows, drawn)
    init, _ = make_train_step(method, dataset_size=source.size)
    state = init(jax.random.key(0))
    return Run(folder, OwnConfig("pixels", {}, {}, 8, 0), source, method, state, [])


def test_of_few_examples_each_is_scored_once(tmp_path):
    """Noise with random labels has an informativeness near chance, 0.25; it was 1 with examples drawn with repeats."""
    factors = RNG.integers(0, 4, (300, 3))
    run = run_of(tmp_path, factors)
    codes = represent(run, 10_000)
    assert len(codes.mean) == 300
    assert sorted(map(tuple, codes.factors.tolist())) == sorted(map(tuple, factors.tolist()))
    scores = score(run, codes, ("dci", "explicitness", "mig"))
    assert (scores["num_samples"], scores["num_examples"]) == (300, 300)
    assert scores["metrics"]["dci"]["informativeness"] < 0.35
    assert scores["metrics"]["explicitness"]["score"] < 0.58
    low, high = scores["metrics"]["mig"]["interval"]
    assert 0 < high - low < 0.1
    assert (low + high) / 2 == pytest.approx(scores["metrics"]["mig"]["score"])


def test_scores_of_the_same_codes_are_kept_beside_each_other(tmp_path):
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))
    evaluate(run, represent(run, 50), ("mig", "sap"))
    merged = evaluate(run, represent(run, 50), ("modularity", "mig"))
    kept = json.loads((tmp_path / "scores.json").read_text())
    assert set(merged["metrics"]) == set(kept["metrics"]) == set(kept["sampled"]) == {"mig", "sap", "modularity"}
    assert kept["asked"] == ["mig", "sap", "modularity"]
    evaluate(run, represent(run, 40), ("mcc",))
    assert set(json.loads((tmp_path / "scores.json").read_text())["metrics"]) == {"mcc"}
    later = run._replace(state=run.state._replace(step=run.state.step + 1))
    evaluate(later, represent(later, 40), ("irs",))
    assert set(json.loads((tmp_path / "scores.json").read_text())["metrics"]) == {"irs"}
    for text in ("{", json.dumps({**json.loads((tmp_path / "scores.json").read_text()), "metrics": {"sap": {}}})):
        (tmp_path / "scores.json").write_text(text)  # damaged, or of a stranger: scored anew
        assert set(evaluate(run, represent(run, 40), ("mig",))["metrics"]) == {"mig"}


@pytest.mark.parametrize("result", [{}, {"score": "x"}, {"score": 0.5, "definition": "", "interval": "ab"}])
def test_scores_of_other_kinds_are_refused(tmp_path, result):
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))
    kept = json.loads(json.dumps(evaluate(run, represent(run, 40), ("mig",))))
    (tmp_path / "scores.json").write_text(json.dumps({**kept, "metrics": {"mig": {"definition": "", **result}}}))
    with pytest.raises(RunFolderError, match="can't read .*scores.json"):
        read_scores(tmp_path)


def test_rows_without_a_time_are_reported(tmp_path):
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))._replace(history=[{"step": 5, "loss": 1.0}])
    codes = represent(run, 40)
    data = collect(run, codes, score(run, codes, ("mig",)))
    assert data.summary["training time"] == data.summary["speed"] == ""
    timed = collect(
        run._replace(history=[{"step": 5, "seconds": 2.6}, {"step": 6}]), codes, score(run, codes, ("mig",))
    )
    assert timed.summary["training time"] == "3 s"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_factor_is_the_error_of_metrics_that_compare_factors(tmp_path):
    run = run_of(tmp_path, RNG.integers(0, 4, (80, 1)))
    names = ("beta_vae_score", "factor_vae_score", "dci", "modularity", "mig")
    scores = score(run, represent(run, 80), names)
    for kind in ("metrics", "sampled"):
        for name in names[:-1]:
            assert scores[kind][name]["score"] is None
            assert "needs two factors" in scores[kind][name]["error"]
        assert scores[kind]["mig"]["score"] is not None
        assert "error" not in scores[kind]["mig"]


@pytest.mark.parametrize("factors", [np.zeros((30, 2), int), np.array([[1, 2]])], ids=["constant", "one"])
def test_a_report_where_no_metric_can_be_computed(factors, tmp_path):
    run = run_of(tmp_path, factors)
    codes = represent(run, 100)
    scores = score(run, codes)
    assert scores["metrics"]["mig"]["score"] is None
    page = report_html(collect(run, codes, scores))
    assert "every factor is constant in these examples" in page


def test_latents_of_quantised_codes_are_categories(tmp_path):
    """In metrics of information, of means and samples: neither the distances of the values nor the samples' noise
    matters.
    """
    factors = RNG.integers(0, 4, (300, 2))
    run = run_of(tmp_path, factors)
    chosen = np.c_[factors, RNG.integers(0, 4, 300)]
    codes = Representation(np.array([-0.5, 0.69, 0.7, 0.71])[chosen], np.full((300, 3), -20.0), factors)
    assert codes.sample(0).size == len(np.unique(codes.sample(0)))
    binned = {"mig": mig, "mig_sup": mig_sup, "jemmig": jemmig, "dcimig": dcimig, "med": med, "modularity": modularity}
    plain, found = (
        score(
            run._replace(method=run.method._replace(quantised=quantised)),
            codes,
            ("infomec", "sap", "mutual_information_score", *binned),
        )
        for quantised in (False, True)
    )
    expected = infomec(chosen, factors, discrete_codes=True)
    for kind in ("metrics", "sampled"):
        assert found[kind]["sap"] == plain[kind]["sap"]
        for name, metric in binned.items():
            assert found[kind][name]["score"] == pytest.approx(metric(chosen, factors).score)
            assert found[kind][name]["score"] != pytest.approx(plain[kind][name]["score"], abs=1e-3)
            assert found[kind][name]["definition"].endswith("; values of quantised codes as categories")
        dependence = mutual_information_score(chosen)
        assert found[kind]["mutual_information_score"]["score"] == pytest.approx(dependence.score)
        assert dependence.score != pytest.approx(plain[kind]["mutual_information_score"]["score"], rel=1e-3)
        assert found[kind]["infomec"]["infom"] == pytest.approx(expected.infom)
        assert found[kind]["infomec"]["infoe"] == pytest.approx(expected.infoe)
        assert found[kind]["infomec"]["definition"].startswith("InfoM, plug-in, ")
        assert plain[kind]["infomec"]["definition"].startswith("InfoM, 10 neighbours, ")


def test_a_run_compiles_once_per_shape(tmp_path):
    compiled = []
    run = run_of(tmp_path, RNG.integers(0, 3, (20, 2)), compiled)
    compiled.clear()
    images, codes = np.full((5, 4, 4, 1), 0.5, np.float32), np.zeros((5, 3), np.float32)
    for _ in range(3):
        run.encode(images)
        run.decoder(codes)
    assert compiled == [(5, 3), (5, 3)]
    assert len(run._replace(history=[]).encode(images).mean) == 5
    assert len(compiled) == 2
    run.encode(images[:2])
    assert compiled[2:] == [(2, 3)]
    other = run_of(tmp_path, RNG.integers(0, 3, (20, 2)))
    np.testing.assert_array_equal(other.encode(images).mean, np.full((5, 3), 0.5))


def test_hundreds_of_latents_are_effects_of_fewer_examples():
    from jaxvae.analysis import latent_effects

    asked = []

    def decode(codes):
        asked.append(len(codes))
        return codes

    found = latent_effects(decode, RNG.normal(size=(100, 512)))
    assert sum(asked) == 513 * 8
    assert found.overlap == pytest.approx(0, abs=1e-12)
    assert found.parts == pytest.approx(1)


def test_scores_say_which_rows_they_are_of(tmp_path):
    """Those that are held out for testing, else those for validation, else all."""
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))
    assert score(run, represent(run, 100), ())["rows"] == "all, 60 examples"
    assert score(run, represent(run, 40), ())["rows"] == "all, 40 of 60 examples"
    for shares, told in (((0.2, 0.3), "test, 18 examples"), ((0.2, 0.0), "validation, 12 examples")):
        parts = split(run.source, *shares)
        held = run._replace(source=parts.training, held_out=parts.held_out)
        codes = represent(held, 100)
        part = np.asarray(parts.held_out.source.index)
        rows = np.asarray(run.source.at(part)["x"]).reshape(len(part), -1)[:, :3]
        np.testing.assert_array_equal(np.unique(codes.mean, axis=0), np.unique(rows, axis=0))
        scores = score(held, codes, ())
        assert (scores["rows"], scores["num_examples"]) == (told, len(part))
        assert scores["properties"]["reconstruction_error"] > 0
        assert told in report_html(collect(held, codes, {**scores, "metrics": {}}))


@pytest.mark.parametrize(
    ("method", "flags", "advice"),
    [
        ("beta-vae", {"beta": 32.0}, "lower --beta, which is 32"),
        ("vae", {}, "give the reconstruction more weight"),
        ("vae-sne", {"rate": 5.0}, "lower --rate, which is 5"),
        ("factor-vae", {}, "give the reconstruction more weight"),  # its gamma weighs the total correlation
        ("hfs-vae", {}, "give the reconstruction more weight"),  # its beta is 0
        ("control-vae", {}, "raise --target, which is 18"),
        ("annealed-vae", {}, "raise --c-end, which is 25"),
        ("ivae", {}, "raise --a, which is 1"),
    ],
)
def test_a_posterior_that_has_collapsed_is_told(tmp_path, method, flags, advice):
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))._replace(config=default_config(method).with_flags(**flags))
    codes = represent(run, 60)
    collapsed = codes._replace(mean=0.1 * codes.mean, logvar=0.01 * codes.logvar)
    one_active = collapsed._replace(mean=collapsed.mean.copy())
    one_active.mean[:, 1] += 3.0
    late = run._replace(state=run.state._replace(step=1000))
    with pytest.warns(PosteriorCollapse, match=f"no latent is active.*posterior collapse.*{advice}"):
        evaluate(late, collapsed, ())
    with warnings.catch_warnings():
        warnings.simplefilter("error", PosteriorCollapse)
        evaluate(late, one_active, ())
        evaluate(run, collapsed, ())  # it has just begun


@pytest.mark.parametrize("columns", [("pictures",), ("count",), ("count", "real"), ("binary",)])
def test_the_advice_after_a_collapse_names_flags_that_act(tmp_path, columns):
    values = {"count": RNG.poisson(3.0, 60), "real": RNG.normal(size=60), "binary": np.arange(60) % 2}
    run = run_of(tmp_path, RNG.integers(0, 3, (60, 2)))
    if columns != ("pictures",):
        run = run._replace(source=from_columns({name: values[name] for name in columns}))
    flat = Representation(np.zeros((60, 3)), np.zeros((60, 3)), None)
    schema, told = schema_of(run.source), set()
    for method in METHODS:
        config = default_config(method).with_flags(data="t.csv" if schema else "scene")
        late = run._replace(config=config, state=run.state._replace(step=1000))
        advice = collapse_in_words(late, flat).split("(posterior collapse); ")[1]
        known = config.flags() | ({"beta": 1.0} if "beta-vae with" in advice else {})
        flags = [flag.replace("-", "_") for flag in re.findall(r"--([a-z-]+)", advice)]
        assert flags, advice
        assert set(flags) <= set(known), advice
        if name := re.search("--likelihood ([a-z-]+)", advice):
            assert likelihood_for(name[1], 1.0, run.source.event_shape, schema)
        told |= set(flags)
    assert ("scale" in told) == (columns != ("count",) and columns != ("binary",))
