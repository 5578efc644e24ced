"""A run loaded from its folder: which checkpoint, which examples, and what a damaged one says."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.method import Context, Nets
from jaxvae.report.collect import reproduce_command
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import load_run
from jaxvae.runs.score import QUICK, read_scores, represent, score
from jaxvae.training import train
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.engine import make_train_step
from jaxvae.training.run_folder import RunFolderError

pytestmark = pytest.mark.process

CONFIG = default_config("beta-tc-vae").with_flags(
    learning_rate=1e-3,
    data="sprites",
    image_size=16,
    latents=3,
    steps=6,
    batch_size=4,
    log_every=2,
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    open_run(folder, CONFIG, resume=False)
    source, method = build(CONFIG)
    train(method, source, steps=6, batch_size=4, folder=folder, log_every=2, checkpoint_every=2)
    return folder


def test_a_checkpoint_is_chosen_by_step_and_cuts_the_history(trained):
    latest = load_run(trained)
    assert (int(latest.state.step), latest.history[-1]["step"]) == (6, 6)
    step = {row["loss"]: row["step"] for row in latest.history if row["step"] in (4, 6)}
    earlier = load_run(trained, "4")
    assert (int(earlier.state.step), earlier.history[-1]["step"]) == (4, 4)
    assert int(load_run(trained, "best").state.step) == min((row["loss"], row["step"]) for row in latest.history)[1], (
        step
    )
    with pytest.raises(RunFolderError, match="no checkpoint '3' in .*: there are latest, best"):
        load_run(trained, "3")


def test_best_is_the_lowest_loss(tmp_path):
    open_run(tmp_path, CONFIG, resume=False)
    source, method = build(CONFIG)
    init, _ = make_train_step(method, dataset_size=source.size)
    state = init(jax.random.key(0))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
            checkpoints.save(state._replace(step=jnp.int32(step)), loss)
    assert int(load_run(tmp_path, "best").state.step) == 2
    assert int(load_run(tmp_path).state.step) == 3


def test_evaluation_has_randomness_of_its_own(trained):
    run = load_run(trained)
    other = run._replace(config=CONFIG.with_flags(seed=1))
    keys = [run.evaluation_key, other.evaluation_key, run.state.key, jax.random.key(0)]
    keys += list(jax.random.split(jax.random.key(0), 4))
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys[:4]}) == 4
    assert not any((jax.random.key_data(keys[0]) == jax.random.key_data(key)).all() for key in keys[1:])


@pytest.mark.process
@pytest.mark.parametrize("empty", [True, False])
def test_a_damaged_checkpoint_is_passed_over_in_a_line(trained, tmp_path, empty, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for path in sorted((folder / "checkpoints" / "6").rglob("*"), reverse=True):
        if path.is_file():
            path.unlink() if empty else path.write_bytes(b"")
    reason = "not finished" if empty else "not as it was written"
    main(["evaluate", str(folder), "--metrics", "mig", "--num-samples", "50"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"jaxvae: checkpoint {folder / 'checkpoints' / '6'} is left out, ")
    assert reason in error
    assert read_scores(folder)["step"] == 4
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(folder), "--checkpoint", "6"])
    assert stop.value.code == 2
    assert "checkpoints/6 can't be read" in capsys.readouterr().err
    main(["train", "--run", str(folder), "--resume", "--steps", "8"])
    error = capsys.readouterr().err
    assert f"jaxvae: checkpoint {folder / 'checkpoints' / '6'} was moved to {folder / 'damaged' / '6'}, " in error
    assert int(load_run(folder).state.step) == 8


def test_the_command_to_reproduce_a_run_gives_its_configuration(trained, monkeypatch):
    from jaxvae.cli.train import parse_train

    words = reproduce_command(load_run(trained)).replace("\\\n", "").split()
    assert words[:2] == ["jaxvae", "train"]
    assert not {"--hidden", "--columns", "--drop"} & set(words)  # empty, as they are by default
    assert parse_train(words[2:]).config == CONFIG


def test_the_scale_of_a_likelihood_reaches_the_loss():
    def loss(scale):
        source, method = build(CONFIG.with_flags(likelihood="gaussian", scale=scale))
        init, _ = make_train_step(method, dataset_size=source.size)

        @jax.jit
        def reconstruction(key):
            state, batch = init(key), source.sample(jax.random.key(1), 4)
            ctx = Context(jax.random.key(2), state.hyperparameters, state.step, source.size)
            return method.objectives[0].loss(Nets(method.networks, state.params), batch, ctx)[1]["reconstruction"]

        return float(reconstruction(jax.random.key(0))) - 16 * 16 * (np.log(scale) + 0.5 * np.log(2 * np.pi))

    np.testing.assert_allclose(loss(0.1), 100 * loss(1.0), rtol=1e-4)


def test_every_metric_of_a_run_is_computed(trained):
    """None is left without a score, but for what the data have no use for."""
    run = load_run(trained)
    scores = score(run, represent(run, 600), QUICK)
    assert {name for name, result in scores["metrics"].items() if result["score"] is None} == set()
    assert {name for name, result in scores["sampled"].items() if result["score"] is None} == set()
