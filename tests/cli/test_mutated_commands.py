"""Command lines of random words and values end in a result or in a line that says what is wrong."""

import os
import random
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

import jaxvae.cli.explore
import jaxvae.cli.study
import jaxvae.runs.hub
from jaxvae.cli.compare import CompareArgs
from jaxvae.cli.encode import DecodeArgs, EncodeArgs
from jaxvae.cli.evaluate import EvaluateArgs, ReportArgs
from jaxvae.cli.explore import ExploreArgs
from jaxvae.cli.export import ExportArgs
from jaxvae.cli.figures import FiguresArgs
from jaxvae.cli.flags import GROUPS
from jaxvae.cli.hub import PullArgs, PushArgs
from jaxvae.cli.main import COMMANDS, main
from jaxvae.cli.score import ScoreArgs
from jaxvae.cli.study import StudyArgs
from jaxvae.cli.train import RunFlags
from jaxvae.methods import METHODS
from jaxvae.metrics import BY_NAME
from jaxvae.runs.baseline import BASELINES, BaselineConfig
from jaxvae.runs.config import default_config

LINES = 300
PATIENCE = 300
"""Seconds after which a command hangs."""
STRANGE = (
    "",
    " ",
    "x",
    "-1",
    "0",
    "nan",
    "-inf",
    "1e400",
    "9" * 30,
    "1,2",
    "[",
    "{}",
    "--",
    "--x",
    "../..",
    "\x1b[31m",
    "é",
)
SMALL = {"steps": "1", "batch_size": "8", "image_size": "16", "checkpoint_every": "1", "log_every": "1"}
LARGE = ("steps", "batch_size", "latents", "examples", "num_samples", "microbatch", "members", "copies", "image_size")
"""Numbers of which any other valid value may take all memory, or hours."""
VALID = {
    "optimizer": ("adam", "lion", "adamw"),
    "latents": ("2", "4"),
    "data": (
        *("digits", "sprites", "squares", "color-sprites", "arrays:IMAGES", "pictures:PICTURES"),
        *("table:TABLE", "TABLE", "series:SERIES", "clusters"),
    ),
    "network": ("mlp-small",),
    "num_samples": ("100",),
    "microbatch": ("4",),
    "members": ("2",),
    "copies": ("2",),
    "examples": ("40",),
    "seeds": ("0:2", "3"),
    "sweep": ("learning_rate=1e-3,1e-4", "beta=1"),
    "devices": ("1", "2"),
    "run": ("RUN", "NEW"),
    "checkpoint": ("latest", "best", "2"),
    "metrics": tuple(BY_NAME),
    "options": ("max_iter=5",),
    "out": ("OUT.html",),
    "factors": ("z0", "shape", "CODES"),
    "columns": ("z0", "z1", "x*"),
    "drop": ("x1",),
    "label_columns": ("kind",),
    "id_column": ("name",),
    "group_column": ("group",),
    "kind": ("x0=real", "x*=real", "group=categorical"),
    "validation": ("0.2",),
    "test": ("0.2",),
    "csv": ("NEW.csv",),
    "latex": ("NEW.tex",),
    "markdown": ("NEW.md",),
    "folder": ("NEW",),
    "style": ("ggplot",),
    "score": ("mig", "dci"),
    "license": ("mit",),
    "revision": ("main",),
    "scib": ("shape", "z0"),
    "bins": ("2", "5"),
    "limit": ("3", "20"),
    "model_num": ("0", "23"),
    "shard": ("0/24",),
    "common": ("shape", "scale"),
    "aux": ("shape",),
    "class_factor": ("shape",),
    "case_factor": ("second",),
    "texture": ("PICTURES/0.png",),
}
OFTEN = {"train": 12, "fit": 4, "evaluate": 3, "compare": 3, "score": 2}
"""How often these commands are drawn; each of the others once, and a word that is none a tenth as often."""
FLAGS = {
    "fit": BaselineConfig,
    "evaluate": EvaluateArgs,
    "report": ReportArgs,
    "compare": CompareArgs,
    "figures": FiguresArgs,
    "explore": ExploreArgs,
    "encode": EncodeArgs,
    "decode": DecodeArgs,
    "score": ScoreArgs,
    "export": ExportArgs,
    "push": PushArgs,
    "pull": PullArgs,
    "study": StudyArgs,
}
"""Classes whose fields are the flags of a command."""
PLACES = ("run", "runs", "codes", "examples", "repository", "config", "baseline")
"""Fields that are no flags, or that every line has."""
NO_COMMANDS = ("", "trian", "--help", "--version")
STUDY = Path(__file__).parents[2] / "benchmarks" / "results" / "study" / "small.parquet"
NEVER = ("distributed", "coordinator_timeout", "wandb", "mlflow")
"""Flags that reach other processes or servers."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of two kinds and a run."""
    place = tmp_path_factory.mktemp("mutated")
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), np.uint8)
    np.savez(place / "images.npz", images=images, factors=np.stack([np.arange(24) % 2, np.arange(24) % 3], axis=1))
    (place / "pictures").mkdir()
    for number, image in enumerate(images[:9]):
        Image.fromarray(image[..., 0]).save(place / "pictures" / f"{number}.png")
    small = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    rng = np.random.default_rng(1)
    rows = [f"row{i},{i % 3},{'ab'[i % 2]},{x:.3f},{y:.3f}" for i, (x, y) in enumerate(rng.normal(size=(24, 2)))]
    (place / "table.csv").write_text("\n".join(["name,group,kind,x0,x1", *rows]), encoding="utf-8")
    np.savez(place / "series.npz", series=rng.normal(size=(24, 16, 2)), factors=np.arange(24)[:, None] % 2)
    main(["train", "vae", "--data", "sprites", *small, "--network", "mlp-small", "--run", str(place / "run")])
    main(["encode", str(place / "run"), "--limit", "60", "--out", str(place / "codes.csv")])
    return place


def flag(rng, name, hint):
    """A flag with a value that fits, or, in a third of the cases, with one that may not."""
    word = f"--{name.replace('_', '-')}"
    if rng.random() < 1 / 3:
        return (
            [rng.choice(["--no-" + word[2:], word, word + "s"])] if rng.random() < 0.2 else [word, rng.choice(STRANGE)]
        )
    words = [each for kind in (hint, *get_args(hint)) for each in get_args(kind) if isinstance(each, str)]
    if hint is bool:
        return [rng.choice([word, "--no-" + word[2:]])]
    if name in VALID or words:
        return [word, rng.choice(VALID.get(name) or words)]
    return [word, rng.choice(["1", "2", "3"]) if name not in LARGE else SMALL.get(name, "4")]


def run_of(rng):
    return "RUN" if rng.random() < 0.8 else rng.choice(STRANGE)


def train_line(rng):
    method, data = rng.choice([*METHODS]), rng.choice(VALID["data"])
    config = default_config(method)
    hints = {name: hint for section in GROUPS for name, hint in get_type_hints(type(getattr(config, section))).items()}
    hints |= {name: hint for name, hint in get_type_hints(RunFlags).items() if name not in NEVER}
    if rng.random() < 0.8:  # flags of other data are refused at once
        idle = config.with_flags(data=data).idle()
        hints = {name: hint for name, hint in hints.items() if name not in idle}
    if rng.random() < 0.1:
        method = rng.choice(["", "vaes", *STRANGE])
    flags = [part for name in rng.sample([*hints], rng.randint(0, 5)) for part in flag(rng, name, hints[name])]
    small = {**SMALL, "run": "NEW"}
    if data in ("table:TABLE", "TABLE", "series:SERIES", "clusters") and rng.random() < 0.9:
        small.pop("image_size")
    small |= {"network": "mlp-small"} if "network" in hints and rng.random() < 0.7 else {}
    given = [part for name, value in small.items() for part in (f"--{name.replace('_', '-')}", value)]
    return [
        method,
        *("--data", data),
        *given,
        *flags,
        *(["--no-score"] if rng.random() < 0.9 else []),
        *(["--dry-run"] * (rng.random() < 0.5)),
    ]


def other_line(rng, word):
    hints = get_type_hints(FLAGS[word]) if word in FLAGS else {"data": str}
    hints = {name: hint for name, hint in hints.items() if name not in PLACES}
    flags = [
        part
        for name in rng.sample([*hints], rng.randint(0, min(3, len(hints))))
        for part in flag(rng, name, hints[name])
    ]
    first = {
        "fit": [
            rng.choice([*BASELINES, "pcas"]),
            "--data",
            "digits",
            "--examples",
            "40",
            "--latents",
            "2",
            "--run",
            "NEW",
        ],
        "study": rng.choice(
            [
                *(["--model-num", "5"], ["--model-num", rng.choice(STRANGE)], ["merge", "RUN"], ["report", "RUN"]),
                *(["report", "STUDY", "--out", "NEW.html"], ["speed", "--out", "NEW.json"]),
            ]
        ),
        "list": [],
        "encode": [
            *rng.choice([["RUN"], ["RUN", "arrays:IMAGES"], ["RUN", "PICTURES/0.png"], ["RUN", rng.choice(STRANGE)]]),
            *["--out", rng.choice(["NEW.csv", "NEW.npz", "NEW.h5ad", rng.choice(STRANGE)])],
            *["--limit", "20"],
        ],
        "figures": [rng.choice([run_of(rng), "STUDY"]), "--out", "NEW"],
        "export": [run_of(rng), "--out", rng.choice(["NEW", "NEW.zip", "RUN"])],
        "push": [run_of(rng), rng.choice(["me/model", rng.choice(STRANGE)])],
        "pull": [rng.choice(["me/model", "model", rng.choice(STRANGE)]), "--run", rng.choice(["NEW", "RUN"])],
        "decode": [
            *["RUN", rng.choice(["CODES", "CODES", "IMAGES", rng.choice(STRANGE)])],
            *["--out", rng.choice(["NEW.csv", "NEW.npz", "NEW"])],
        ],
        "score": [rng.choice(["CODES", "CODES", "IMAGES"]), "--factors", rng.choice(["CODES", "z0", "IMAGES"])],
    }.get(word, [run_of(rng), *(["RUN"] * (rng.random() < 0.1))])
    small = [] if word not in ("evaluate", "report", "compare", "figures", "explore") else ["--num-samples", "100"]
    return [*first, *small, *flags]


def command_line(rng):
    words = [*COMMANDS, *NO_COMMANDS]
    word = rng.choices(words, [OFTEN.get(each, 0.1 if each in NO_COMMANDS else 1) for each in words])[0]
    words = train_line(rng) if word == "train" else other_line(rng, word) if word in COMMANDS else []
    if words and rng.random() < 0.15:
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice([[], [words[place]] * 2, [rng.choice(STRANGE)]])
    return [word, *words]


@contextmanager
def no_longer_than(seconds):
    def ring(number, frame):
        raise TimeoutError(f"hangs for {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(line):
    """None, or what a user would see as a traceback."""
    try:
        with no_longer_than(PATIENCE):
            main(line)
    except SystemExit as stop:
        return None if stop.code in (None, 0, 1, 2) else f"exit {stop.code}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def without_network(*given, **more):
    raise ValueError("there is no network here")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("MUTATED_SEEDS", "1"))))
def test_mutated_command_lines(place, tmp_path, monkeypatch, capsys, seed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxvae.cli.explore, "server_of", lambda *given: SimpleNamespace(run=lambda **sockets: None))
    monkeypatch.setattr(jaxvae.runs.hub, "check_token", lambda: None)
    monkeypatch.setattr(jaxvae.runs.hub, "push", lambda *given, **more: "pushed nowhere")
    monkeypatch.setattr(jaxvae.runs.hub, "fetch", without_network)
    speed = SimpleNamespace(_asdict=dict, hours=1.0, device="none")
    monkeypatch.setattr(jaxvae.cli.study, "measure_speed", lambda: speed)
    bad, usable = [], 0
    for number in range(LINES):
        names = {
            "IMAGES": place / "images.npz",
            "PICTURES": place / "pictures",
            "RUN": place / "run",
            "CODES": place / "codes.csv",
            "TABLE": place / "table.csv",
            "SERIES": place / "series.npz",
            "STUDY": STUDY,
            "NEW": tmp_path / f"{number}",
        }
        line = command_line(random.Random(1000 * seed + number))
        for name, path in names.items():
            line = [word.replace(name, str(path)) for word in line]
        told = outcome(line)
        shown = capsys.readouterr()
        usable += told is None and not shown.err
        if told or "Traceback" in shown.err:
            bad.append((line, told or shown.err[-300:]))
    assert not bad, "\n".join(map(str, bad))
    assert usable > LINES / 5


def test_every_command_has_lines():
    """So that a new one, or a new flag, is among the mutated lines as well."""
    assert {"train", "list", *FLAGS} == set(COMMANDS)
    drawn = {word: [] for word in COMMANDS}
    for number in range(3000):
        word, *line = command_line(random.Random(number))
        drawn.get(word, []).extend(line)
    for word, kind in FLAGS.items():
        flags = [name for name in get_type_hints(kind) if name not in PLACES]
        assert [name for name in flags if f"--{name.replace('_', '-')}" not in drawn[word]] == []
