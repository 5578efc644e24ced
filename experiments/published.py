"""Trains models at published settings, one after another, and keeps a table of their scores.

python -m experiments.published --hours 6      # goes on where it was stopped, at the lowest priority
python -m experiments.published --list         # what is finished, and what comes next

Each finished model is a row of experiments/results/published.json: settings, seed, steps, device, hours, all fast
metrics of posterior means and of samples, the terms of the KL over 10,000 examples, and the version of the code. Run
folders are kept outside of the repository and resume to the same bits; a model that was interrupted comes first. The
next model is the one that the table lacks most: the first seed of each setting, block by block, then the second.

Data sets are redrawn: `sprites` is the grid of dSprites, `rooms` that of Shapes3D. On an accelerator all lacking seeds
of a setting are trained together as a population.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro

import jaxvae
from jaxvae.analysis import exact_kl_terms
from jaxvae.runs.build import build
from jaxvae.runs.config import Config, default_config
from jaxvae.runs.folder import newest_saved, open_run
from jaxvae.runs.load import load_run
from jaxvae.runs.score import THOROUGH, represent, score
from jaxvae.training import train, train_members, tune_allocator
from jaxvae.training.run_folder import read_history, write_json

TABLE = Path(__file__).parent / "results" / "published.json"
SEEDS = range(5)
IMAGES = {"sprites": 737_280, "rooms": 480_000}
EPOCHS_30 = 30 * IMAGES["sprites"]
"""Examples of 30 epochs, the length of a run in two published settings."""


class Setting(NamedTuple):
    """A method with its flags."""

    name: str
    """As in the table: method, and the flag that sets it apart."""
    method: str
    flags: dict[str, Any]
    preset: str | None = "study"


class Block(NamedTuple):
    """Settings that belong together, in the order in which they are trained."""

    name: str
    settings: tuple[Setting, ...]
    flags: dict[str, Any]
    """Flags of all of them."""
    rank: float
    """How many seeds of the first block come before the first seed of this one."""


STUDY = (
    Setting("vae", "vae", {}),
    Setting("factor-vae, gamma 35", "factor-vae", {"gamma": 35.0}),
    Setting("beta-tc-vae, beta 6", "beta-tc-vae", {"beta": 6.0}),
    Setting("beta-vae, beta 4", "beta-vae", {"beta": 4.0}),
    Setting("dip-vae-ii", "dip-vae-ii", {}),
    Setting("dip-vae-i", "dip-vae-i", {}),
    Setting("annealed-vae", "annealed-vae", {}),
    Setting("factor-vae, gamma 20", "factor-vae", {"gamma": 20.0}),
    Setting("factor-vae, gamma 40", "factor-vae", {"gamma": 40.0}),
)
DISENTANGLING_VAE = (
    Setting("vae, disentangling-vae", "vae", {}),
    Setting("beta-vae, beta 4, disentangling-vae", "beta-vae", {"beta": 4.0}),
    Setting("factor-vae, gamma 6.4, disentangling-vae", "factor-vae", {"gamma": 6.4}),
)
BLOCKS = (
    Block("sprites, 100,000 steps", STUDY, {"data": "sprites", "image_size": 64, "steps": 100_000}, 0.0),
    Block("rooms, 100,000 steps", STUDY, {"data": "rooms", "image_size": 64, "steps": 100_000}, 1.5),
    Block(
        "disentangling-vae: 30 epochs of sprites",
        DISENTANGLING_VAE,
        {
            "data": "sprites",
            "image_size": 64,
            "network": "burgess",
            "learning_rate": 5e-4,
            "sampling": "epochs",
            "steps": EPOCHS_30 // 64,
        },
        2.5,
    ),
    Block(
        "beta-TCVAE's authors: 30 epochs of sprites",
        (Setting("beta-tc-vae, beta 6, authors", "beta-tc-vae", {"beta": 6.0}),),
        {
            "data": "sprites",
            "image_size": 64,
            "network": "mlp",
            "learning_rate": 1e-3,
            "batch_size": 2048,
            "sampling": "epochs",
            "steps": EPOCHS_30 // 2048,
        },
        2.5,
    ),
    Block("sprites, 300,000 steps", STUDY, {"data": "sprites", "image_size": 64, "steps": 300_000}, 3.5),
)


class Job(NamedTuple):
    """A model to train."""

    block: Block
    setting: Setting
    seed: int

    @property
    def key(self) -> str:
        """Identifies the row."""
        return f"{self.block.name} | {self.setting.name} | seed {self.seed}"

    def config(self) -> Config[Any, Any, Any, Any]:
        """All settings of the run."""
        steps = self.block.flags["steps"]
        flags = {**self.block.flags, **self.setting.flags, "seed": self.seed}
        every = {"log_every": max(1, steps // 100), "checkpoint_every": max(1, steps // 50)}
        return default_config(self.setting.method, self.setting.preset).with_flags(**flags, **every)

    def folder(self, root: Path) -> Path:
        """Folder of the run."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.key)
        return root / "-".join(filter(None, words.split("-")))


@dataclass
class Args:
    """Flags of the script."""

    hours: float = 1.0
    """Number of hours to train for; a model that is not finished then is resumed the next time."""
    folder: Path = Path.home() / ".cache" / "jaxvae" / "published"
    """Folder of the run folders."""
    table: Path = TABLE
    """Table to append to."""
    num_samples: int = 10_000
    """Number of examples that a model is scored on."""
    list: bool = False
    """Prints what is finished and what comes next, and trains nothing."""


def jobs() -> list[Job]:
    """Every model of the queue."""
    return [Job(block, setting, seed) for block in BLOCKS for setting in block.settings for seed in SEEDS]


def in_order(finished: Sequence[str], root: Path) -> list[Job]:
    """The models that are not finished: interrupted ones first, then what the table lacks most."""
    lacking = [job for job in jobs() if job.key not in finished]

    def priority(job: Job) -> tuple[bool, float, int]:
        place = job.block.settings.index(job.setting)
        return newest_saved(job.folder(root)) == 0, job.seed + job.block.rank, place

    return sorted(lacking, key=priority)


def row_of(job: Job, folder: Path, num_samples: int) -> dict[str, Any]:
    """The row of a finished model."""
    run = load_run(folder)
    codes = represent(run, num_samples)
    scores = score(run, codes, THOROUGH)
    terms = exact_kl_terms(jax.random.key(job.seed), jnp.asarray(codes.mean), jnp.asarray(codes.logvar))
    ignored = ("step", "seconds", "steps_per_second")
    return {
        "key": job.key,
        "block": job.block.name,
        "setting": job.setting.name,
        "seed": job.seed,
        "steps": int(run.state.step),
        "config": job.config().to_json(),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "hours": round(sum(entry["seconds"] for entry in read_history(folder)) / 3600, 2),
        "last_row": {name: value for name, value in run.history[-1].items() if name not in ignored},
        "num_samples": scores["num_samples"],
        "means": {name: result["score"] for name, result in scores["metrics"].items()},
        "samples": {name: result["score"] for name, result in scores["sampled"].items()},
        "properties": scores["properties"],
        "kl_terms": {name: round(float(value), 4) for name, value in terms._asdict().items()},
        "version": f"{jaxvae.__version__} {_commit()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def train_jobs(together: Sequence[Job], root: Path, asked: Any) -> bool:
    """Trains models of one setting until they are finished or training is asked to stop: whether they are."""
    configs = [job.config() for job in together]
    folders = [job.folder(root) for job in together]
    for config, folder in zip(configs, folders, strict=True):
        open_run(folder, config, resume=True)
    source, method = build(configs[0])
    training = configs[0].training
    settings = {name: getattr(training, name) for name in ("steps", "batch_size", "log_every", "checkpoint_every")}
    if len(together) == 1:
        state = train(method, source, seed=configs[0].seed, folder=folders[0], stop=asked, **settings)
        return int(state.step) >= training.steps
    outcomes = train_members(method, source, folders, seeds=[config.seed for config in configs], stop=asked, **settings)
    return all(outcome.diverged or outcome.step >= training.steps for outcome in outcomes)


def give_way() -> None:
    """Gives this process the lowest priority.

    Linux shares processors between sessions first, and a niceness counts only within a session, which has its own.
    """
    os.nice(19)
    group = Path("/proc/self/autogroup")
    if group.exists():
        with contextlib.suppress(OSError):
            group.write_text("19", "utf-8")


def main(args: Args) -> None:
    """Trains what the table lacks until the time is over or SIGTERM comes."""
    rows = json.loads(args.table.read_text("utf-8"))["rows"] if args.table.exists() else []
    if args.list:
        for row in rows:
            print(f"finished  {row['key']}  MIG {row['means']['mig']:.3f}  {row['hours']} hours")
        for job in in_order([row["key"] for row in rows], args.folder)[:10]:
            print(f"next      {job.key}  (at step {newest_saved(job.folder(args.folder))})")
        return
    give_way()
    tune_allocator()
    end, came = time.monotonic() + 3600 * args.hours, []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))

    def asked() -> bool:
        return bool(came) or time.monotonic() > end

    while not asked():
        queue = in_order([row["key"] for row in rows], args.folder)
        if not queue:
            return
        first = queue[0]
        alike = [job for job in queue if job[:2] == first[:2]] if jax.default_backend() != "cpu" else [first]
        print(f"training  {first.key}" + (f" and {len(alike) - 1} more seeds" if len(alike) > 1 else ""), flush=True)
        if not train_jobs(alike, args.folder, asked):
            print(f"stopped at step {newest_saved(first.folder(args.folder))}; the same command goes on", flush=True)
            return
        for job in alike:
            rows.append(row_of(job, job.folder(args.folder), args.num_samples))
            write_json(args.table, {"rows": rows})
            mig = rows[-1]["means"].get("mig", math.nan)
            print(f"finished  {job.key}  MIG {mig:.3f}  {rows[-1]['hours']} hours", flush=True)


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    main(tyro.cli(Args))
