"""Every flag that `jaxvae train METHOD --help` shows has an effect, and all others are refused."""

import dataclasses
import re
from functools import cache, partial
from typing import Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import tyro
from jax.interpreters.partial_eval import dce_jaxpr
from PIL import Image

from jaxvae.cli.flags import field_help, parser_of
from jaxvae.cli.train import RunFlags, parse_train
from jaxvae.data.options import TABLE_FLAGS
from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config, default_flags
from jaxvae.training import make_train_step
from jaxvae.training.steps import draw_batch

KEY = jax.random.key(0)
LONG = ("alae", "equivariant-rendering", "icam", "va-gan")
"""Methods whose updates take seconds to trace: slow cases."""
QUICK = ("vae", "beta-tc-vae", "factor-vae", "semi-supervised-vae", "vae-sne")
"""Methods whose updates are traced by default; those of the others in the second layer."""
OTHER = {
    "most_gap": 3,
    "data": "color-sprites",
    "image_size": 64,
    "correlation": "sun~sky:0.1",
    "hold_out": "sun=1:4,sky=2",
    "shared": 1,
    "common": ("ground",),
    "aux": "sun",
    "case_factor": "second",
    "constrained_factor": "sun",
    "class_factor": "scale",
    "members": 4,
    "copies": 5,
    "network": "mlp",
    "discriminator": (8, 9),
    "optimizer": "lion",
    "clip_norm": 1.0,
    "clip_value": 0.5,
    "weight_decay": 0.5,
    "ema": 0.9,
    "warmup_steps": 7,
    "label_noise": 0.5,
    "hidden": (8, 9),
    "splits": 4,
    "covariates": ("sun",),
    "dropout": 0.5,
    "likelihood": "laplace",
    "validation": 0.25,
    "test": 0.25,
    "cycle": 10,
}
"""Another value of flags whose type does not tell one."""
BESIDE = {
    "net_size": {"image_size": 64},
    "weight_decay": {"optimizer": "adamw"},
    "scale": {"likelihood": "gaussian"},
    "space": {"latents": 3},
    "split_seed": {"validation": 0.25},
    "class_factor": {"data": "sprites", "image_size": 16},
    "cycle": {"warmup": 5},
    ("tripod", "dtype"): {"derivatives": "exact"},
}
"""Flags without which another has no effect, and is refused or hidden."""
NEED_FILES = ("stream", "skip_bad", "texture", "groups", "library")
"""Flags that are tried with data of their own."""
BEHAVIOUR = {
    **dict.fromkeys(("analogy", "distances"), "tests/methods/test_constrained_autoencoder.py"),
    "steps": "tests/training/test_loop.py",
    "microbatch": "tests/training/test_microbatch.py",
    "seed": "tests/training/test_loop.py",
    "log_every": "tests/training/test_loop.py",
    "checkpoint_every": "tests/training/test_loop.py",
    "on_nan": "tests/training/test_loop.py",
    **dict.fromkeys(TABLE_FLAGS, "tests/data/test_tabular.py"),
    "validate_every": "tests/training/test_validation.py",
    "patience": "tests/training/test_validation.py",
    "max_minutes": "tests/training/test_validation.py",
    "images_every": "tests/training/test_observers.py",
    "score_every": "tests/training/test_observers.py",
    "preset": "tests/runs/test_config.py",
    "run": "tests/cli/test_commands.py",
    "resume": "tests/cli/test_commands.py",
    "seeds": "tests/cli/test_commands.py",
    "sweep": "tests/runs/test_sweep.py",
    "score": "tests/cli/test_commands.py",
    "dry_run": "tests/cli/test_commands.py",
    "devices": "tests/cli/test_commands.py",
    "backend": "tests/cli/test_commands.py",
    "distributed": "tests/training/test_processes.py",
    "coordinator_timeout": "tests/training/test_processes.py",
    "tensorboard": "tests/training/test_trackers.py",
    "wandb": "tests/training/test_trackers.py",
    "mlflow": "tests/training/test_trackers.py",
}
"""Flags that change no step but the run around it -> where that is tested."""

OF_STEPS = ("steps_discriminator", "content_steps", "critic_steps", "long_steps")
"""Options that decide which objective is active at a step, and change no loss."""


def sections(config):
    return {
        name: getattr(config, name) for name in ("options", "source", "batches", "networks", "optimization", "training")
    }


def other_value(section, name):
    value, hint = getattr(section, name), get_type_hints(type(section))[name]
    if name == "likelihood":
        return "bernoulli" if value == "gaussian" else "gaussian"
    if get_origin(hint) is Literal:
        return next(each for each in get_args(hint) if each != value)
    if name in OTHER:
        return OTHER[name]
    return not value if isinstance(value, bool) else value + 1


def cases():
    """Of what is the same for all methods, one stands for all."""
    seen = set()
    for method in METHODS:
        config = default_config(method)
        for section in sections(config).values():
            for field in dataclasses.fields(section):
                place = (type(section), field.name)
                if field.name not in (*BEHAVIOUR, *NEED_FILES, *config.idle()) and place not in seen:
                    seen.add(place)
                    marks = [pytest.mark.slow] if method in LONG else []
                    yield pytest.param(method, field.name, marks=marks)


@cache
def program(config, updates=False):
    """Of the losses of a step, or of the whole step, with its shapes and constants, as text."""
    source, method = build(config)
    init, update = make_train_step(method, dataset_size=source.size)
    state = jax.eval_shape(init, jax.random.key(0))
    batch = jax.eval_shape(partial(draw_batch, method, source, config.training.batch_size), state)

    def losses(state, batch):
        ctx = Context(state.key, state.hyperparameters, state.step, source.size)
        net = Nets(method.networks, state.params)
        return [objective.loss(net, batch, ctx) for objective in method.objectives]

    traced = jax.make_jaxpr(update if updates else losses)(state, batch)
    return str(traced), [np.asarray(const).tobytes() for const in traced.consts]


@cache
def batch_of(config):
    """The bytes of the first batch."""
    source, _ = build(config)
    batch = jax.jit(lambda key: source.batch(key, jnp.int32(0), config.training.batch_size))(jax.random.key(0))
    return {name: np.asarray(values).tobytes() for name, values in batch.items()}


@pytest.mark.process  # a step of each is traced
@pytest.mark.parametrize(("method", "flag"), list(cases()))
def test_a_flag_changes_the_program_or_the_data(method, flag):
    beside = {"batch_size": 20, **BESIDE.get(flag, {}), **BESIDE.get((method, flag), {})}
    config = default_config(method).with_flags(**beside)
    section = next(each for each in sections(config).values() if hasattr(each, flag))
    changed = config.with_flags(**{flag: other_value(section, flag)})
    assert parse_train([method, *words(beside), *words({flag: changed.flags()[flag]})]).config == changed.settled()
    if section in (config.source, config.batches):
        assert batch_of(changed) != batch_of(config)
    else:
        updates = section == config.optimization or flag in OF_STEPS
        assert program(changed, updates) != program(config, updates)


def layer_of(method):
    """A case of the layer in which a method's whole update is traced."""
    if method in LONG:
        return pytest.param(method, marks=pytest.mark.slow)
    return method if method in QUICK else pytest.param(method, marks=pytest.mark.process)


@pytest.mark.parametrize("method", [layer_of(method) for method in METHODS])
def test_every_hyperparameter_is_read(method):
    config = default_config(method).with_flags(batch_size=20)
    source, built = build(config)
    init, _ = make_train_step(built, dataset_size=source.size)
    state = jax.eval_shape(init, jax.random.key(0))
    batch = jax.eval_shape(partial(draw_batch, built, source, config.training.batch_size), state)
    rates = {each.rate_of(network) for each in built.objectives for network in each.trains}

    def losses_and_weights(hyperparameters, state, batch):
        ctx = Context(state.key, hyperparameters, state.step, source.size)
        projected = [
            each.project({name: state.params[name] for name in each.trains}, hyperparameters)
            for each in built.objectives
        ]
        return projected, [each.loss(Nets(built.networks, state.params), batch, ctx)[0] for each in built.objectives]

    traced = jax.make_jaxpr(losses_and_weights)(state.hyperparameters, state, batch).jaxpr
    _, used = dce_jaxpr(traced, [True] * len(traced.outvars))
    fields = config.hyperparameters._fields
    read = {name for name, is_used in zip(fields, used, strict=False) if is_used} | rates
    assert read == set(fields) - set(config.idle())
    for place, name in enumerate(read):
        value = 0.25 + place
        assert getattr(parse_train([method, *words({name: value})]).config.hyperparameters, name) == value


def test_flags_of_some_data(tmp_path):
    """Those that need files, or variants of the data, are shown there alone."""
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8), np.uint8))
    arrays, pictures = f"arrays:{tmp_path / 'images.npy'}", f"pictures:{tmp_path}"
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    (tmp_path / "two.png").write_text("no picture")
    Image.new("RGB", (400, 400), "red").save(tmp_path / "red.jpg")
    of_data = ((arrays, "stream"), (pictures, "skip_bad"), (str(tmp_path), "skip_bad"), ("scream-sprites", "texture"))
    for data, flag in of_data:
        assert flag not in default_config("vae").with_flags(data=data).idle()
        assert flag in default_config("vae").idle()
    streamed = parse_train(["vae", "--data", arrays, "--stream"]).config
    assert type(build(streamed).source).__name__ == "Streamed"
    (tmp_path / "red.jpg").rename(tmp_path / "texture")
    assert build(parse_train(["vae", "--data", pictures, "--skip-bad"]).config).source.size == 1
    with pytest.raises(ValueError, match="two.png: can't be read"):
        build(parse_train(["vae", "--data", pictures]).config)
    (tmp_path / "table.csv").write_text("a_x,a_y,b\n" + "".join(f"{i}.5,{-i}.25,{i * i}.1\n" for i in range(8)))
    on_table = ["oi-vae", "--data", f"table:{tmp_path / 'table.csv'}"]
    assert build(parse_train(on_table).config).source.event_shape == (3,)
    of_b = {"columns": ("a_x", "a_y"), "drop": ("b",), "label_columns": ("b",), "kind": ("b=constant",)}
    assert TABLE_FLAGS == ("columns", "drop", "label_columns", "id_column", "group_column", "split_column", "kind")
    for flag in (flag for flag in TABLE_FLAGS if flag != "split_column"):
        config = parse_train([*on_table, f"--{flag.replace('_', '-')}", *of_b.get(flag, ("b",))]).config
        assert build(config).source.event_shape == (2,), flag
    each, grouped = (build(parse_train([*on_table, *more]).config).method for more in ([], ["--groups", "prefix"]))
    shapes = [jax.eval_shape(one.networks["loadings"].init, KEY)["weights"].shape[0] for one in (each, grouped)]
    assert shapes == [3, 2]
    with pytest.raises(ValueError, match="--noise is for images and vectors: leave it out"):
        parse_train([*on_table, "--noise", "learned"])
    with pytest.raises(ValueError, match="--groups is for tables, such as table:PATH: leave it out"):
        parse_train(["oi-vae", "--groups", "prefix"])
    plain, red = (["vae", "--data", "scream-sprites", *more] for more in ([], ["--texture", str(tmp_path / "texture")]))
    assert batch_of(parse_train(plain).config) != batch_of(parse_train(red).config)


def csv_of(tmp_path):
    """Three columns of numbers, a class and a name; the numbers are whole."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.poisson(3, (30, 3)) + 2, columns=["a", "b", "b2"])
    frame.assign(kind=["x", "y", "z"] * 10, name=[f"row{i}" for i in range(30)]).to_csv(tmp_path / "t.csv", index=False)
    return f"table:{tmp_path / 't.csv'}"


def h5ad_of(tmp_path):
    """The same as AnnData."""
    anndata = pytest.importorskip("anndata", reason="needs pip install 'jaxvae[anndata]'")
    frame = pd.read_csv(csv_of(tmp_path).removeprefix("table:"))
    numbers = frame[["a", "b", "b2"]]
    obs = frame[["kind", "name"]].set_axis([f"cell{i}" for i in range(30)])
    data = anndata.AnnData(numbers.to_numpy(np.float32), obs=obs, var=pd.DataFrame(index=numbers.columns))
    data.write_h5ad(tmp_path / "t.h5ad")
    return f"anndata:{tmp_path / 't.h5ad'}"


@pytest.mark.parametrize("file", [csv_of, h5ad_of])
def test_flags_of_tables(file, tmp_path):
    """Each is shown for tables alone, and changes what is learned from or known of the rows."""
    data = file(tmp_path)
    for flag in (flag for flag in TABLE_FLAGS if flag != "split_column"):
        assert flag not in default_config("vae").with_flags(data=data).idle()
        assert flag in default_config("vae").idle()

    def source(*flags):
        return build(parse_train(["vae", "--data", data, *flags]).config).source

    assert source("--columns", "b*").schema.entry_names == ("b", "b2")
    assert source("--columns", "a", "b", "--drop", "b").schema.entry_names == ("a",)
    assert source("--label-columns", "kind").factor_sizes == (3,)
    assert list(source("--columns", "a", "--id-column", "name").ids[:2]) == ["row0", "row1"]
    assert list(source("--columns", "a", "--group-column", "kind").origin.groups[:4]) == [0, 1, 2, 0]
    real = source("--columns", "a", "b", "--kind", "a=real").schema
    assert [column.kind for column in real.used] == ["real", "count"]


@pytest.mark.parametrize("method", METHODS)
def test_layers_are_for_dense_networks(method):
    if "hidden" not in default_flags(method):
        return
    for flag in (["--hidden", "8"], ["--layer-norm"], ["--dropout", "0.5"]):
        name = flag[0][2:].replace("-", "_")
        changed = parse_train([method, "--network", "selu", *flag]).config.networks
        assert getattr(changed, name) != default_flags(method)[name]
        for network in ("conv", "xtanh", "conv1d", *(["elu"] if name == "layer_norm" else [])):
            known = "mlp, mlp-small, selu" + (" and gelu" if network == "elu" else ", elu and gelu")
            with pytest.raises(ValueError, match=f"{flag[0]} is for --network {known}: leave it out"):
                parse_train([method, "--network", network, *flag])


@pytest.mark.parametrize("method", METHODS)
def test_flags_of_other_methods_are_refused_with_where_they_belong(method):
    known = default_flags(method)
    others = {flag: name for name in METHODS for flag in default_flags(name) if flag not in known}
    assert len(others) > 10
    for flag in others:
        with pytest.raises(ValueError, match=rf"{method} has no flag --{flag.replace('_', '-')}; it is for .*"):
            parse_train([method, f"--{flag.replace('_', '-')}", "1"])
    for flag in default_config(method).idle():
        with pytest.raises(ValueError, match=rf"--{flag.replace('_', '-')} is for .*: leave it out"):
            parse_train([method, f"--{flag.replace('_', '-')}", "1"])


def test_every_flag_is_tried_or_named_above():
    tried = {case.values[1] for case in cases()}
    every = {flag for method in METHODS for flag in default_flags(method)}
    hyperparameters = {name for entry in METHODS.values() for name in entry.hyperparameters()._fields}
    assert every - hyperparameters - set(BEHAVIOUR) - set(NEED_FILES) == tried - hyperparameters
    assert {field.name for field in dataclasses.fields(RunFlags)} <= set(BEHAVIOUR)


@pytest.mark.parametrize("method", METHODS)
def test_help_is_in_whole_sentences_and_groups(method, capsys):
    with pytest.raises(SystemExit):
        parse_train([method, "--help"])
    shown = capsys.readouterr().out
    titles = [line.split()[0] for line in shown.splitlines() if line.rstrip().endswith("options")]
    assert titles == ["options", "method", "data", "networks", "optimization", "run"]
    flags = default_config(method).flags()
    for flag in flags:
        there = re.search(rf"^\W*--{flag.replace('_', '-')}\b", shown, re.MULTILINE) is not None
        assert there == (flag not in default_config(method).idle()), flag


@pytest.mark.parametrize("method", METHODS)
def test_every_flag_is_explained_in_whole_sentences(method):
    """None is empty, and none is cut off."""
    default = parser_of(default_config(method)).default
    for section in (*vars(default).values(), RunFlags()):
        for name, hint in get_type_hints(type(section), include_extras=True).items():
            if tyro.conf.Fixed in get_args(hint):
                continue
            told = [each.help for each in get_args(hint)[1:] if getattr(each, "help", None)]
            told = told or [field_help(type(section))[name]]
            assert re.fullmatch(r"[A-Z`].*[.]", told[-1]), f"--{name}: {told[-1]}"


def words(flags):
    """As on the command line."""
    said = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        said += [flag] if value is True else [flag, *map(str, value if isinstance(value, tuple) else [value])]
    return said
