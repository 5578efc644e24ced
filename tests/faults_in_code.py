"""Forty faults that the tests must find: each is put into a copy of the code, and pytest must fail.

    python -m tests.faults_in_code                      # about a quarter of an hour on two cores
    python -m tests.faults_in_code --only axis_name     # faults whose kind or name contains a word

Not run by pytest. The tests named beside a fault are tried first, of a method its own cases before all others, then all
tests of their folder; where these pass, the whole default suite is run. The table, with the test that found each fault,
is written to benchmarks/results/mutations.json. `--tree` names another checkout whose tests are to be tried, and
`--column` the column of the table for them.
"""

# ruff: noqa: E501 (the table is read by line)

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import tyro

from benchmarks.record import path, record

ROOT = Path(__file__).parents[1]
METHODS = ("tests/methods/test_methods.py", "tests/methods/test_reductions.py")


class Fault(NamedTuple):
    """One replacement in one file of the package."""

    kind: str
    file: str
    """Below jaxvae/."""
    old: str
    """Occurs exactly once."""
    new: str
    first: tuple[str, ...]
    """Tests that are tried before all others."""


def loss(kind: str, file: str, old: str, new: str, *tests: str) -> Fault:
    """A fault of a kernel."""
    return Fault(kind, f"losses/{file}.py", old, new, tests or (f"tests/losses/test_{file}.py",))


def method(kind: str, file: str, old: str, new: str, *tests: str) -> Fault:
    """A fault of a method."""
    return Fault(kind, f"methods/{file}.py", old, new, tests or METHODS)


FAULTS = (
    loss("wrong sign", "gaussian", "return 0.5 * (deviations**2 + jnp.expm1(log_ratio) - log_ratio)", "return 0.5 * (deviations**2 + jnp.expm1(log_ratio) + log_ratio)"),
    loss("wrong scale", "gaussian", "return mean + jnp.exp(0.5 * logvar)", "return mean + jnp.exp(logvar)"),
    loss("forgotten axis_name", "gaussian", "global_rows(examples.shape[0], axis_name)", "global_rows(examples.shape[0], None)"),
    loss("off by one", "aggregate_posterior", "other = math.log((n - 1) / (n * others))", "other = math.log((n - 1) / (n * batch))"),
    loss("forgotten axis_name", "aggregate_posterior", "rows = global_rows(z.shape[0], axis_name)", "rows = global_rows(z.shape[0], None)"),
    loss("swapped factor", "aggregate_posterior", "mutual_information=log_posterior - log_qz.joint,", "mutual_information=log_posterior - log_qz.marginals.sum(axis=-1),"),
    loss("missing stop_gradient", "density_ratio", "working_floats(z=jax.lax.stop_gradient(z))", "working_floats(z=z)"),
    loss("wrong axis", "density_ratio", "axis=0, independent=True", "axis=0, independent=False"),
    loss("swapped factor", "density_ratio", "joint = jax.nn.softplus(-density_ratio_tc(logits_z))", "joint = jax.nn.softplus(density_ratio_tc(logits_z))"),
    loss("forgotten axis_name", "density_ratio", "ratio = global_mean(jnp.exp(shuffled - top[None]).mean(axis=0), axis_name)", "ratio = jnp.exp(shuffled - top[None]).mean(axis=0)"),
    loss("off by one", "mmd", ".sum() / (columns.shape[0] - 1)", ".sum() / columns.shape[0]"),
    loss("wrong axis", "mmd", "lambda squares: kernel(squares).sum(axis=0), axis_name", "lambda squares: kernel(squares.sum(axis=0)), axis_name"),
    loss("dropped term", "moments", "covariance += jnp.diag(global_mean(variance, axis_name))", "pass"),
    loss("dropped term", "likelihoods", "jnp.abs(x - loc) / scale + jnp.log(2 * scale)", "jnp.abs(x - loc) / scale + jnp.log(scale)"),
    loss("missing stop_gradient", "neighbours", "working_floats(x=jax.lax.stop_gradient(x))", "working_floats(x=x)"),
    loss("wrong axis", "neighbours", "p = (p + columns.T) / 2", "p = (p + columns) / 2"),
    loss("dropped term", "bounds", "axis=0) - math.log(log_joint.shape[0])", "axis=0)"),
    loss("swapped factor", "coding_rate", "jnp.asarray(scale, z.dtype) * dimensions / jnp.asarray(eps_squared, z.dtype)", "jnp.asarray(scale, z.dtype) * batch / jnp.asarray(eps_squared, z.dtype)"),
    loss("missing stop_gradient", "adversarial", "real, fake = working_floats(real=jax.lax.stop_gradient(real), fake=jax.lax.stop_gradient(fake))", "real, fake = working_floats(real=real, fake=fake)"),
    loss("forgotten axis_name", "adversarial", "index = global_rows(real.shape[0], axis_name)", "index = global_rows(real.shape[0], None)"),
    loss("wrong scale", "weak_supervision", "low + 0.5 * (high - low)", "low + 0.25 * (high - low)"),
    method("off by one", "beta_tc_vae", "(beta - 1.0) * tc", "beta * tc"),
    method("forgotten axis_name", "beta_tc_vae", "weighting=weighting, axis_name=ctx.axis_name", "weighting=weighting"),
    method("forgotten axis_name", "factor_vae", "permute_dims(permutation, other, axis_name=ctx.axis_name)", "permute_dims(permutation, other)"),
    method("forgotten axis_name", "wae", "mmd_unbiased(z, prior, kernel=similarity, axis_name=ctx.axis_name)", "mmd_unbiased(z, prior, kernel=similarity)"),
    method("forgotten axis_name", "annealed_vae", "if ctx.axis_name is not None:", "if False:", "tests/methods/test_annealed_vae.py", *METHODS),
    method("forgotten axis_name", "decomposition_vae", "kernel=inverse_multiquadric(z.shape[-1]), axis_name=ctx.axis_name", "kernel=inverse_multiquadric(z.shape[-1])"),
    method("forgotten axis_name", "iwae", "reparameterize(key, mean, logvar, axis_name=ctx.axis_name))(keys)", "reparameterize(key, mean, logvar))(keys)"),
    method("forgotten axis_name", "vae_sne", "neighbour_affinities(x, perplexity, axis_name=ctx.axis_name)", "neighbour_affinities(x, perplexity, axis_name=None)"),
    method("off-by-one schedule", "schedules", "step.astype(jnp.float32) / jnp.maximum(steps, 1.0)", "(step + 1).astype(jnp.float32) / jnp.maximum(steps, 1.0)", "tests/methods/test_reductions.py"),
    method("off-by-one schedule", "va_gan", "done = step + 1", "done = step", "tests/methods/test_va_gan.py"),
    method("dropped term", "group_vae", "kl_standard_normal(*shared).mean() / members", "kl_standard_normal(*shared).mean()", "tests/methods/test_group_vae.py"),
    Fault("swapped order", "training/engine.py", "seen = dict(params) if method.sequential else state.params", "seen = state.params", ("tests/training/test_engine.py",)),
    Fault("repeated randomness", "training/engine.py", "jax.random.fold_in(jax.random.fold_in(state.key, state.step), stream)", "jax.random.fold_in(state.key, stream)", ("tests/training/test_engine.py",)),
    Fault("swapped order", "training/microbatch.py", "jnp.concatenate([one, other])", "jnp.concatenate([other, one])", ("tests/training/test_microbatch.py",)),
    Fault("repeated randomness", "training/steps.py", "\"fresh_x\": both[\"x\"][1::2]", "\"fresh_x\": both[\"x\"][0::2]", ("tests/training/test_engine.py", "tests/training/test_loop.py")),
    Fault("dropped term", "metrics/mig.py", "gaps = (first - second) / (information.factor_entropy if normalise == \"factor\" else 1)", "gaps = first - second", ("tests/metrics/test_mig.py",)),
    Fault("wrong axis", "metrics/dci.py", "importance.sum(axis=1) if importance.sum() > 0", "importance.sum(axis=0) if importance.sum() > 0", ("tests/metrics/test_reference.py",)),
    Fault("leaked rows", "metrics/inputs.py", "return order[:train], order[train:]", "return order[:train], order", ("tests/metrics/test_reference.py", "tests/metrics/test_battery.py")),
    Fault("off by one", "metrics/mutual_information.py", "np.searchsorted(edges[:-1], code, side=\"right\") - 1", "np.searchsorted(edges[:-1], code, side=\"left\")", ("tests/metrics/test_mutual_information.py",)),
)  # fmt: skip
EARLIER = {
    "low + 0.5 * (high - low)": ("0.5 * divergence.max", "0.25 * divergence.max"),
    "seen = dict(params) if method.sequential else state.params": (
        "seen = dict(params) if method.in_turn else state.params",
        "seen = state.params",
    ),
    "return 0.5 * (deviations**2 + jnp.expm1(log_ratio) - log_ratio)": (
        "return 0.5 * (mean**2 + jnp.expm1(logvar) - logvar)",
        "return 0.5 * (mean**2 + jnp.expm1(logvar) + logvar)",
    ),
    'gaps = (first - second) / (information.factor_entropy if normalise == "factor" else 1)': (
        "gaps = (first - second) / factor_entropy",
        "gaps = first - second",
    ),
    "return order[:train], order[train:]": (
        "return slice(0, train), slice(train, rows)",
        "return slice(0, train), slice(0, rows)",
    ),
}
"""How version 0.1 wrote what a fault replaces, and what became of it there."""


@dataclass
class Args:
    """Arguments of the command."""

    only: str = ""
    """Word that the kind or the file of a fault must contain."""
    tree: Path = ROOT
    """Checkout whose code and tests are tried."""
    column: str = "found_by"
    """Column of the table that is written."""
    folders_only: bool = False
    """Whether a fault counts as not found where the tests of the named folders pass, without the rest of the suite."""


def name_of(fault: Fault) -> str:
    """Kind and place: `forgotten axis_name: losses/gaussian.py: <what the code becomes>`."""
    return f"{fault.kind}: {fault.file}: {fault.new}"


def copy_of(tree: Path, folder: Path) -> None:
    """Copies the files of a checkout that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=tree, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (tree / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / name, folder / name)


@contextmanager
def broken(folder: Path, fault: Fault) -> Iterator[None]:
    """Puts the fault into the copy, and takes it out again."""
    file = folder / "jaxvae" / fault.file
    text, old, new = file.read_text(), fault.old, fault.new
    if text.count(old) == 0 and old in EARLIER:
        old, new = EARLIER[old]
    if text.count(old) != 1:
        raise SystemExit(f"{fault.file} must hold this once, and holds it {text.count(old)} times: {old}")
    file.write_text(text.replace(old, new))
    yield
    file.write_text(text)


def found_by(folder: Path, fault: Fault, folders_only: bool) -> str | None:
    """The first test that fails, or None where all pass."""
    named = tuple(test for test in fault.first if (folder / test).exists())
    folders = tuple(dict.fromkeys(str(Path(test).parent) for test in named))
    others = [*folders, *(f"--ignore={test}" for test in named)]
    stages: list[list[str]] = [["-n0", *named], others] if named else []
    if fault.file.startswith("methods/"):
        stages.insert(0, ["-n0", "-k", Path(fault.file).stem.replace("_", "-"), *named])
    stages += [] if folders_only else [[]]
    return next((found for arguments in stages if (found := first_failure(folder, arguments))), None)


def first_failure(folder: Path, arguments: Sequence[str]) -> str | None:
    """The first test that fails with these arguments of pytest, or None where none does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"pytest could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1]


def main(args: Args) -> None:
    """Prints a line for each fault and writes the table."""
    earlier = json.loads(path("mutations").read_text()) if path("mutations").exists() else {"settings": {}, "rows": []}
    rows = {row["fault"]: row for row in earlier["rows"]}
    tried = "the named tests, then their folders" + ("" if args.folders_only else ", then the default suite")
    settings = {**earlier["settings"], args.column: tried}
    with tempfile.TemporaryDirectory() as folder:
        copy_of(args.tree, Path(folder))
        for fault in FAULTS:
            name, start = name_of(fault), time.perf_counter()
            if args.only not in name:
                continue
            with broken(Path(folder), fault):
                found = found_by(Path(folder), fault, args.folders_only)
            rows[name] = {"fault": name, **rows.get(name, {}), args.column: found}
            print(f"{time.perf_counter() - start:5.0f} s  {name[:70]:70}  {found or 'NOT FOUND'}", flush=True)
            ordered = [rows[name_of(each)] for each in FAULTS if name_of(each) in rows]
            record("mutations", settings, ordered, {})
    missed = [name for name, row in rows.items() if args.column in row and row[args.column] is None]
    if missed:
        raise SystemExit(f"{len(missed)} faults were not found")


if __name__ == "__main__":
    main(tyro.cli(Args))
