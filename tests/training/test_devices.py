"""A run is the same on any number of devices, with either backend."""

import dataclasses
import functools
import itertools
import math
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from method_table import LATENTS, SOURCE, Everything, draw, make  # noqa: F401

from jaxvae.data import Epochs, Sprites, Streamed, from_arrays
from jaxvae.data.source import UNSHARDED
from jaxvae.methods import METHODS, BetaVAE, beta_vae, factor_vae
from jaxvae.networks import discriminator
from jaxvae.training import check, choose_devices, make_train_step, train, train_population
from jaxvae.training.steps import empty_accumulator, make_step
from tests.methods.tiny_networks import tiny_autoencoder

pytestmark = pytest.mark.process

STEPS = 20
WAYS = [(4, "shard_map"), (8, "shard_map"), (2, "pmap")]
ON_DEVICES = ("beta-tc-vae", "factor-vae", "vae-sne")
"""Losses of the whole batch, an opponent, neighbours: they stand for all methods, whose losses are tried in parts."""
QUICK = {*((name, 4, "shard_map") for name in ON_DEVICES), ("factor-vae", 2, "pmap")}
CASES = [
    case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow)
    for case in ((name, *way) for name in METHODS for way in WAYS)
]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class Noisy(Everything):
    """Without flat areas: their pixels tie in a critic's maxima, and rounding decides where the slope goes."""

    def batch(self, key, step, n, part=UNSHARDED):
        batch, (first, count) = super().batch(key, step, n, part), part.rows(n)
        keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(key, step), row))(first + jnp.arange(count))
        shape = (2, *batch["x"].shape[1:])
        noise = jax.vmap(lambda key: 0.1 * jax.random.uniform(key, shape))(keys)
        return {**batch, "x": batch["x"] + noise[:, 0], "control": batch["control"] + noise[:, 1]}


def source_of(name):
    """What the method needs, and no more where that is images alone: the rest is traced in every step."""
    if set(make(name).needs) <= {"x", "fresh_x"}:
        return Sprites(16)
    return Noisy(SOURCE.source, SOURCE.known) if name == "va-gan" else SOURCE


def rows_of(method, source=SOURCE, **settings):
    """The terms of every single step."""
    rows = []
    settings = {"steps": STEPS, "batch_size": 16, "seed": 1, "log_every": 1, **settings}
    train(method, source, writers=[lambda step, row: rows.append(row)], **settings)
    return [{name: value for name, value in row.items() if not name.startswith(("seconds", "steps"))} for row in rows]


def slowly(name):
    """The method with small steps, and smaller ones where Adam has no momentum: they are large for small gradients.

    Derivatives are exact, as finite differences multiply the rounding.
    """
    without = {"learning_rate": 1e-6, "critic_learning_rate": 1e-6}
    exact = {"derivatives": "exact"} if name == "tripod" else {}
    return make(name, hp=without if name == "va-gan" else {"learning_rate": 1e-4}, **exact)


@functools.cache
def on_one_device(name):
    return rows_of(slowly(name), source_of(name))


def compare(rows, expected, name=""):
    """Opponents who answer each other's moves make rounding grow."""
    assert len(rows) == STEPS
    tolerance = 2e-4 if name == "icam" else 1e-5
    for row, want in zip(rows, expected, strict=True):
        for term in want:
            size = tolerance * max(1, abs(want["loss"]))
            np.testing.assert_allclose(row[term], want[term], rtol=tolerance, atol=size)


@pytest.mark.parametrize(("name", "count", "backend"), CASES)
def test_every_method_takes_the_same_way(name, count, backend):
    method = slowly(name)
    rows = rows_of(method, source_of(name), devices=choose_devices(count, backend=backend))
    compare(rows, on_one_device(name), name)


@pytest.mark.parametrize("layout", [pytest.param((1, 1), marks=pytest.mark.slow), (1, 2)], ids=["in turn", "together"])
@pytest.mark.parametrize(
    "name", [name if name == "factor-vae" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_a_member_of_a_population_takes_the_same_way(name, layout):
    method = slowly(name)
    devices = choose_devices(layout[0], population=layout[1])
    settings = {"seeds": [0, 1], "steps": STEPS, "batch_size": 16, "log_every": 1, "devices": devices}
    rows = [
        {term: means[1] for term, means in terms.items()}
        for _, _, terms in train_population(method, source_of(name), **settings)
    ]
    compare(rows, on_one_device(name), name)


@pytest.mark.parametrize(("saved", "restored"), [(4, 1), (1, 4), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_a_run_goes_on_on_other_devices(saved, restored, tmp_path):
    method = make("beta-vae", hp={"learning_rate": 1e-4})
    settings = {"folder": tmp_path, "checkpoint_every": 5}
    source = source_of("beta-vae")
    first = rows_of(method, source, devices=choose_devices(saved), steps=12, **settings)
    rest = rows_of(method, source, devices=choose_devices(restored), **settings)
    compare(first + rest, on_one_device("beta-vae"))


def in_order(source):
    return source


STREAMED = [(beta_vae, in_order, "shard_map"), (factor_vae, Epochs, "shard_map"), (beta_vae, Epochs, "pmap")]


@pytest.mark.parametrize(
    ("build", "order", "backend"),
    [
        case if case in STREAMED else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product((beta_vae, factor_vae), (in_order, Epochs), ("shard_map", "pmap"))
    ],
)
def test_streamed_rows_reach_the_devices_they_belong_to(build, order, backend, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    table = from_arrays(np.load(tmp_path / "images.npy", mmap_mode="r"))
    networks = tiny_autoencoder((16, 16, 1), 3) | {"discriminator": discriminator(3, 2, (16,))}
    settings = {"steps": STEPS, "batch_size": 8}
    one = rows_of(build(networks), order(table), **settings)
    many = rows_of(build(networks), order(Streamed(table)), devices=choose_devices(4, backend=backend), **settings)
    compare(many, one)


def test_what_can_not_be():
    with pytest.raises(ValueError, match=r"16 devices were asked for; there are 8 \(cpu\)"):
        choose_devices(16)
    with pytest.raises(ValueError, match="0 devices were asked for"):
        choose_devices(0)
    with pytest.raises(ValueError, match="must be shard_map or pmap, got 'xmap'"):
        choose_devices(2, backend="xmap")
    with pytest.raises(ValueError, match="use shard_map"):
        choose_devices(2, population=2, backend="pmap")
    method = beta_vae(tiny_autoencoder(SOURCE.event_shape, 3), hyperparameters=BetaVAE())
    with pytest.raises(ValueError, match="a batch of 10 images can't be split over 4 devices"):
        check(method, SOURCE, batch_size=10, parts=4)
    with pytest.raises(ValueError, match="a batch of 10 images can't be split over 4 devices"):
        train(method, SOURCE, steps=1, batch_size=10, devices=choose_devices(4))


def test_devices_send_each_other_gradients_and_posteriors_once():
    """2 B D numbers are gathered and as many scattered back, and the gradient of every parameter is added up once."""
    batch, latents = 16, LATENTS
    method = make("beta-tc-vae")
    init, update = make_train_step(method, dataset_size=SOURCE.size)
    devices, source = choose_devices(4), Sprites(16)
    state = devices.create(lambda: init(jax.random.key(0)))
    empty = devices.place(empty_accumulator(method, update, batch, state, source))
    program = devices.compile(make_step(method, update, batch, devices.axis_name), state, empty, source).as_text()
    numbers = {"all-gather": 0, "all-reduce": 0, "reduce-scatter": 0}
    for shapes, kind in re.findall(r"= (.*?) (all-gather|all-reduce|reduce-scatter)(?:-start)?\(", program):
        for sides in re.findall(r"f32\[([\d,]*)\]", shapes):
            numbers[kind] += math.prod(int(side) for side in sides.split(",") if side)
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert numbers["all-gather"] == 2 * batch * latents
    assert numbers["reduce-scatter"] == 2 * batch * latents / 4
    assert weights <= numbers["all-reduce"] < weights + 20  # and the loss with its terms


def test_the_state_is_whole_on_every_device():
    state = train(make("beta-vae"), Sprites(16), steps=1, batch_size=8, devices=choose_devices(4))
    for leaf in jax.tree.leaves(state.params):
        assert len(leaf.addressable_shards) == 4
        assert all(shard.data.shape == leaf.shape for shard in leaf.addressable_shards)
