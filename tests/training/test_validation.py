"""Validation during training: its terms, the best checkpoint, early stopping, and what resuming makes of them."""

import json
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.data import Epochs, Streamed, from_arrays, split
from jaxvae.method import END, Method, Network, Objective
from jaxvae.training import choose_devices, train, train_members
from jaxvae.training.checkpoints import Checkpoints, best_step, saved_steps
from jaxvae.training.optimizers import evaluation_params, with_optimizer
from jaxvae.training.run_folder import RunFolderError
from jaxvae.training.validation import (
    MOST,
    Overfitting,
    StoppedEarly,
    best_row,
    is_out_of_patience,
    make_validation,
    rise_in_words,
    validations_since_best,
)
from tests.faults.tiny import rows, same_bits

RNG = np.random.default_rng(0)


class HP(NamedTuple):
    learning_rate: float = 0.1


def walker(loss=lambda w, batch, ctx: (jnp.abs(w - batch["x"].mean()), {}), optimizer=optax.sgd):
    """A number that starts at 0 and moves by SGD; by default by 0.1 a step, towards the mean of the data."""

    def of_batch(net, batch, ctx):
        value, terms = loss(net.a(), batch, ctx)
        return value, terms

    network = Network(lambda key: {"w": jnp.float32(0.0)}, lambda params: params["w"])
    return Method("walker", {"a": network}, HP(), (Objective(of_batch, ("a",), optimizer),), None, None)


def constant(value, size=20):
    return from_arrays(np.full((size, 1), value, np.float32), real=True, name="constant")


TRAINING, VALIDATION = constant(1.0), constant(0.52)
"""The walker passes the validation examples at step 5, and reaches the training examples at step 10."""


def walk(folder, steps, **settings):
    settings = {"batch_size": 4, "log_every": 3, "checkpoint_every": 100, "validate_every": 1, **settings}
    return train(walker(), TRAINING, steps=steps, folder=folder, validation=VALIDATION, **settings)


def validation_losses(folder):
    return {row["step"]: row["validation_loss"] for row in rows(folder) if "validation_loss" in row}


def test_terms_are_means_over_the_held_out_examples():
    """By their formula in float64: each example counts once, whatever the order."""
    values = RNG.normal(size=(24, 3)).astype(np.float32)

    def loss(w, batch, ctx):
        return ((w - batch["x"]) ** 2).mean(), {"mean": batch["x"].mean()}

    held = Epochs(from_arrays(values, real=True))
    found = []
    state = train(
        walker(loss),
        from_arrays(RNG.normal(size=(50, 3)), real=True),
        steps=4,
        batch_size=8,
        log_every=1,
        validation=held,
        validate_every=2,
        on_row=lambda step, state, row: found.append((step, np.asarray(state.params["a"]["w"]), row)),
    )
    assert int(state.step) == 4
    assert ["validation_loss" in row for _, _, row in found] == [False, True, False, True]
    exact = values.astype(np.float64)
    for _, w, row in found[1::2]:
        np.testing.assert_allclose(row["validation_loss"], ((float(w) - exact) ** 2).mean(), rtol=1e-5)
        np.testing.assert_allclose(row["validation_mean"], exact.mean(), rtol=1e-5)


def test_noise_is_the_same_at_every_validation_and_another_in_every_batch():
    def loss(w, batch, ctx):
        return w, {"noise": jax.random.normal(ctx.key), "step": ctx.step.astype(jnp.float32)}

    found = []
    settings = {"steps": 3, "log_every": 1, "validate_every": 1, "on_row": lambda step, state, row: found.append(row)}
    for size, seed in ((4, 0), (8, 0), (4, 1)):
        train(walker(loss), TRAINING, batch_size=4, validation=constant(0.5, size), seed=seed, **settings)
    one, two, other = ([row["validation_noise"] for row in found[3 * n : 3 * n + 3]] for n in range(3))
    assert len(set(one)) == len(set(two)) == len(set(other)) == 1
    assert len({one[0], two[0], other[0]}) == 3
    assert len({row["noise"] for row in found[:3]}) == 3
    assert {row["validation_step"] for row in found} == {float(END)}  # after all warmups


def test_no_more_than_so_many_examples():
    drawn = []

    def loss(w, batch, ctx):
        jax.debug.callback(lambda x: drawn.append(len(x)), batch["x"])
        return w, {}

    held = Epochs(constant(0.5, 3 * MOST))
    method = walker(loss)
    validate = make_validation(method, held, batch_size=300, dataset_size=10, devices=choose_devices())
    init_state = train(method, TRAINING, steps=1, batch_size=4)
    drawn.clear()
    validate(init_state)
    jax.effects_barrier()
    assert sum(drawn) == 2100


def noisy(w, batch, ctx):
    noise = jax.random.normal(ctx.key, batch["x"].shape[1:])
    return ((w - batch["x"] - noise[None]) ** 2).mean(), {"noise": noise.mean()}


METHOD = walker(noisy, optax.adam)
PARTS = split(from_arrays(RNG.normal(size=(60, 3)), real=True), 0.2, 0.1)


def encode(folder, steps, **settings):
    settings = {"batch_size": 8, "log_every": 4, "checkpoint_every": 6, "validate_every": 5, **settings}
    return train(METHOD, PARTS.training, steps=steps, folder=folder, validation=PARTS.validation, **settings)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validated") / "whole"
    return folder, encode(folder, 15)


@pytest.mark.parametrize("ends", [(3, 8), pytest.param((5, 10), marks=pytest.mark.process)])
def test_a_resumed_run_has_the_same_bits_and_validations(tmp_path, ends, whole_run):
    """Interrupted twice: between the validations, or at them."""
    folder, whole = whole_run
    for end in ends:
        encode(tmp_path, end)
    same_bits(encode(tmp_path, 15), whole)
    expected, found = validation_losses(folder), validation_losses(tmp_path)
    assert list(expected) == [5, 10, 15]
    assert {step: found[step] for step in expected} == expected
    assert rows(tmp_path)[-1] == rows(folder)[-1]
    assert best_step(tmp_path / "checkpoints") in found


def test_validation_does_not_change_the_training(whole_run):
    _, whole = whole_run
    same_bits(train(METHOD, PARTS.training, steps=15, batch_size=8, log_every=4), whole)


def test_another_split_of_the_same_data_is_another_run(tmp_path):
    """Or what was held out before would be trained on."""
    table = from_arrays(RNG.random((40, 4, 4)))
    method = walker()
    for seed in (0, 1):
        parts = split(table, 0.25, seed=seed)
        settings = {"steps": 1 + seed, "batch_size": 4, "folder": tmp_path}
        if seed:
            with pytest.raises(RunFolderError, match="fingerprint was"):
                train(method, parts.training, **settings)
        else:
            train(method, parts.training, **settings)


@pytest.mark.parametrize("epochs", [False, True])
def test_held_out_rows_are_never_trained_on(tmp_path, epochs):
    """Also after resuming: the row of every step is the number of its only example."""
    table = from_arrays(np.arange(30, dtype=np.float32)[:, None], real=True)
    parts = split(table, 0.2, 0.2)

    def loss(w, batch, ctx):
        return w, {"number": batch["x"].mean()}

    training = Epochs(parts.training) if epochs else parts.training
    for steps in (35, 70):
        settings = {"steps": steps, "batch_size": 1, "log_every": 1, "checkpoint_every": 1000}
        train(walker(loss), training, folder=tmp_path, validation=parts.validation, **settings)
    seen = {int(row["number"]) for row in rows(tmp_path)}
    assert len(rows(tmp_path)) == 70
    assert seen <= set(np.asarray(parts.training.index).tolist())
    assert len(seen) >= 17


def test_best_is_the_checkpoint_of_the_lowest_validation_loss(tmp_path):
    """Not that of the lowest training loss; it is saved between checkpoints as well, and kept."""
    with pytest.warns(
        Overfitting, match=r"risen from 0\.02 at step 5 to 0\.48 at step 10, while the training loss fell"
    ):
        state = walk(tmp_path, 10)
    assert int(state.step) == 10
    losses = validation_losses(tmp_path)
    np.testing.assert_allclose([losses[step] for step in (1, 5, 10)], [0.42, 0.02, 0.48], atol=1e-6)
    assert best_step(tmp_path / "checkpoints") == 5
    assert saved_steps(tmp_path / "checkpoints") == [4, 5, 10] or saved_steps(tmp_path / "checkpoints") == [5, 10]


@pytest.mark.parametrize("given", [[3.0, 1.0, 2.0], [3.0, 1.0, None], [3.0, 1.0, float("nan")]])
def test_checkpoints_without_a_validation_loss_are_not_the_best(tmp_path, given):
    state = train(walker(), TRAINING, steps=1, batch_size=4)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step, (loss, validated) in enumerate(zip((5.0, 4.0, 0.5), given, strict=True), 1):
            checkpoints.save(state._replace(step=jnp.int32(step)), loss, validated)
    assert best_step(tmp_path) == 2
    assert saved_steps(tmp_path) == [2, 3]


def test_patience(tmp_path):
    with pytest.warns(
        StoppedEarly, match="early at step 8: the validation loss, lowest at step 5, has not improved in 3"
    ):
        state = walk(tmp_path, 20, patience=3)
    assert int(state.step) == 8
    assert saved_steps(tmp_path / "checkpoints")[-1] == 8
    with pytest.warns(StoppedEarly, match="early at step 8"):
        again = walk(tmp_path, 40, patience=3)  # more steps alone don't make the loss improve
    same_bits(state, again)
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 9))
    with pytest.warns(StoppedEarly, match="early at step 10"):
        longer = walk(tmp_path, 20, patience=5)
    with pytest.warns(StoppedEarly):
        same_bits(longer, walk(tmp_path / "at once", 20, patience=5))
    assert rows(tmp_path) == rows(tmp_path / "at once")
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoppedEarly)
        warnings.simplefilter("ignore", Overfitting)
        assert int(walk(tmp_path, 12).step) == 12


def test_patience_goes_on_counting_where_a_run_was_interrupted(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walk(tmp_path, 7, patience=3)
    with pytest.warns(StoppedEarly, match="step 8"):
        assert int(walk(tmp_path, 20, patience=3).step) == 8


def test_only_validations_at_their_time_count():
    """Not that of a last step in between, which a longer run would not have had."""
    history = [{"step": step, "loss": 1.0, "validation_loss": loss} for step, loss in ((10, 1.0), (17, 2.0), (20, 3.0))]
    assert validations_since_best(history, 10) == 1
    assert not is_out_of_patience(history, 10, 2)
    assert is_out_of_patience(history, 10, 1)
    assert not is_out_of_patience(history, 10, None)


def test_losses_that_are_not_finite_are_no_improvement():
    history = [{"step": step, "loss": 1.0, "validation_loss": float("nan")} for step in (1, 2, 3)]
    assert best_row(history) is None
    assert validations_since_best(history, 1) == 3
    assert rise_in_words(history) is None
    history.insert(0, {"step": 0, "loss": 1.0, "validation_loss": 7.0})
    assert best_row(history)["step"] == 0


@pytest.mark.parametrize(
    ("validated", "trained", "overfits"),
    [
        ([5, 1, 2, 3, 4], [5, 4, 3, 2, 1], True),
        ([5, 1, 1.05, 1.1, 1.15], [5, 4, 3, 2, 1], False),  # within the noise
        ([5, 4, 1, 3, 4], [5, 4, 3, 2, 1], False),  # too few to tell
        ([5, 1, 2, 3, 4], [1, 2, 3, 4, 5], False),  # training diverges as well
        ([5, 4, 3, 2, 1], [5, 4, 3, 2, 1], False),
    ],
)
def test_what_is_called_overfitting(validated, trained, overfits):
    history = [
        {"step": n, "loss": a, "validation_loss": b} for n, (a, b) in enumerate(zip(trained, validated, strict=True))
    ]
    assert (rise_in_words(history) is not None) == overfits


@pytest.mark.process
def test_minutes(tmp_path):
    with pytest.warns(StoppedEarly, match=r"training stopped at step 3 after 1e-06 minutes: resume to go on"):
        state = walk(tmp_path, 9, validate_every=100, max_minutes=1e-6)
    assert int(state.step) == 3
    assert saved_steps(tmp_path / "checkpoints") == [3]
    with pytest.warns(StoppedEarly):
        assert int(walk(tmp_path, 9, validate_every=100, max_minutes=1e-6).step) == 6
    walk(tmp_path, 9, validate_every=100)
    walk(tmp_path / "whole", 9, validate_every=100, max_minutes=100.0)
    assert rows(tmp_path) == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"validate_every": 0}, "validate_every must be at least 1, got 0"),
        ({"max_minutes": 0.0}, "max_minutes must be a positive number, got 0.0"),
        ({"max_minutes": float("nan")}, "max_minutes must be a positive number"),
        (
            {"patience": 2, "validation": None},
            "patience counts validations without improvement: give validation examples",
        ),
    ],
)
def test_limits_that_make_no_sense(settings, told):
    with pytest.raises(ValueError, match=told):
        train(walker(), TRAINING, **{"steps": 1, "batch_size": 4, "validation": VALIDATION, **settings})


def test_averages_are_validated_where_the_optimizer_keeps_them(tmp_path):
    averaged = with_optimizer(walker(optimizer=optax.adam), ema=0.9)
    state = train(averaged, TRAINING, steps=4, batch_size=4, folder=tmp_path, validation=VALIDATION, validate_every=4)
    average = float(evaluation_params(state)["a"]["w"])
    assert average < float(state.params["a"]["w"]) - 0.01
    np.testing.assert_allclose(validation_losses(tmp_path)[4], abs(average - 0.52), atol=1e-6)


@pytest.mark.process
@pytest.mark.parametrize("devices", [{"data": 4}, {"data": 2, "backend": "pmap"}])
def test_devices_do_not_matter(tmp_path, devices, whole_run):
    folder, _ = whole_run
    encode(tmp_path, 15, devices=choose_devices(**devices))
    for found, expected in zip(rows(tmp_path), rows(folder), strict=True):
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4, atol=1e-4)


@pytest.mark.process
def test_members_are_validated_as_each_alone(tmp_path, whole_run):
    folder, _ = whole_run
    settings = {"batch_size": 8, "log_every": 4, "checkpoint_every": 6, "validate_every": 5, "steps": 15}
    names = [tmp_path / "0", tmp_path / "1"]
    for steps in (8, 15):
        train_members(
            METHOD, PARTS.training, names, seeds=[0, 1], **{**settings, "steps": steps}, validation=PARTS.validation
        )
    expected, found = validation_losses(folder), validation_losses(names[0])
    np.testing.assert_allclose([found[step] for step in expected], list(expected.values()), rtol=1e-4)
    assert found.keys() == validation_losses(names[1]).keys() == {5, 8, 10, 15}
    assert found != validation_losses(names[1])
    for name in names:
        losses = validation_losses(name)
        assert best_step(name / "checkpoints") == min(losses, key=losses.get)


def test_the_best_checkpoint_of_a_member_is_kept(tmp_path):
    """Between its other checkpoints as well."""
    settings = {"steps": 10, "batch_size": 4, "validation": VALIDATION, "validate_every": 1}
    train_members(walker(), TRAINING, [tmp_path / "0", tmp_path / "1"], seeds=[0, 1], **settings)
    for name in "01":
        assert best_step(tmp_path / name / "checkpoints") == 5


def test_held_out_examples_may_stay_in_their_file(tmp_path):
    np.save(tmp_path / "x.npy", RNG.random((40, 16, 16)).astype(np.float32))
    images = np.load(tmp_path / "x.npy", mmap_mode="r")
    losses = []

    def loss(w, batch, ctx):
        return ((w - batch["x"]) ** 2).mean(), {}

    for number, source in enumerate((from_arrays(np.array(images)), Streamed(from_arrays(images)))):
        parts = split(source, 0.25)
        folder = tmp_path / str(number)
        settings = {"steps": 4, "batch_size": 8, "folder": folder, "validate_every": 2}
        train(walker(loss), parts.training, validation=Epochs(parts.validation), **settings)
        losses.append(validation_losses(folder))
    assert losses[0] == losses[1]
    assert json.loads((tmp_path / "0" / "trained.json").read_text())["data"]["images"] == 30
