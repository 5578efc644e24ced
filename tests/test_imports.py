"""Arrows only go one way: losses and metrics know nobody, training knows no method."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxvae

PACKAGE = Path(jaxvae.__file__).parent
ALLOWED = {
    "choose": set(),
    "dates": set(),
    "texts": set(),
    "streams": set(),
    "files": set(),
    "method": set(),
    "losses": set(),
    "metrics": {"choose"},
    "schema": {"choose", "dates", "texts"},
    "data": {"streams", "choose", "files", "schema", "texts"},
    "networks": {"choose", "method", "schema"},
    "methods": {"schema", "streams", "choose", "method", "losses", "data", "networks"},
    "training": {"schema", "streams", "choose", "", "method", "data", "files"},
    "analysis": {"method", "data", "losses"},
    "baselines": set(),
    "runs": {
        "schema",
        "texts",
        "streams",
        "choose",
        "files",
        "method",
        "methods",
        "networks",
        "data",
        "losses",
        "training",
        "analysis",
        "metrics",
        "baselines",
    },
    "report": {"schema", "data", "method", "methods", "metrics", "analysis", "training", "runs", "files"},
    "explorer": {"", "schema", "data", "files", "method", "methods", "analysis", "runs", "report"},
    "study": {"", "choose", "runs", "report", "metrics", "analysis", "training", "files"},
    "sklearn": {
        "choose",
        "files",
        "schema",
        "texts",
        "losses",
        "method",
        "methods",
        "data",
        "analysis",
        "training",
        "runs",
        "networks",
    },
    "anndata": {"schema", "texts", "data", "analysis", "metrics", "training", "runs"},
    "cli": {
        "schema",
        "choose",
        "",
        "files",
        "method",
        "methods",
        "networks",
        "data",
        "training",
        "metrics",
        "runs",
        "report",
        "explorer",
        "study",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
"""Part of the package -> the other parts it may import."""

THIRD_PARTY = {
    "losses": {"jax", "jaxtyping", "numpy"},
    "methods": {"jax", "optax", "numpy"},
    "metrics": {"jax", "numpy", "scipy", "sklearn", "joblib", "threadpoolctl", "lightgbm", "optax", "scib_metrics"},
    "method": {"jax", "optax"},
    "data": {
        "jax",
        "numpy",
        "scipy",
        "PIL",
        "h5py",
        "zarr",
        "grain",
        "sklearn",
        "tensorflow_datasets",
        "pandas",
        "pyarrow",
        "anndata",
    },
    "networks": {"jax", "flax", "equinox", "numpy"},
    "schema": {"numpy"},
    "texts": {"numpy"},
    "baselines": {"jax", "numpy", "scipy", "sklearn", "tensorly"},
}
"""Part of the package -> the libraries it may import; parts not named here may import what they need, but no flax."""


def parts():
    return {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}


def imports(part):
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else (PACKAGE / part).rglob("*.py")
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module


def test_every_part_has_a_rule():
    assert parts() == set(ALLOWED)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_arrows(part):
    ours = {name.removeprefix("jaxvae").removeprefix(".").split(".")[0] for name in imports(part) if "jaxvae" in name}
    assert ours - {part} <= ALLOWED[part]
    theirs = {name.split(".")[0] for name in imports(part) if "jaxvae" not in name} - set(sys.stdlib_module_names)
    if part in THIRD_PARTY:
        assert theirs <= THIRD_PARTY[part]
    else:
        assert "flax" not in theirs


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("jaxvae.losses", {"flax", "optax", "orbax"}),
        ("jaxvae.metrics", {"jax", "flax"}),
        ("jaxvae", {"jax", "numpy", "starlette"}),
    ],
)
def test_importing_one_part_does_not_pull_in_the_rest(module, absent):
    code = f"import sys, {module}; print(*(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_files_stay_short():
    root = PACKAGE.parent
    files = [
        path for folder in ("jaxvae", "tests", "experiments", "benchmarks") for path in (root / folder).rglob("*.py")
    ]
    lengths = {path.relative_to(root): len(path.read_text().splitlines()) for path in files}
    limit = {path: 190 if path.parts[:2] == ("jaxvae", "methods") else 400 for path in lengths}
    assert {path: length for path, length in lengths.items() if length > limit[path]} == {}
