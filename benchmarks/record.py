"""Writes results together with the machine, the versions, and the ratios that `benchmarks.check` compares."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")


def record(
    name: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, float], **more: Any
) -> None:
    """Writes results/NAME.json. `ratios` are speeds against a peer or an earlier form: larger is better, 1 is level.

    Of the settings, the path of PyTorch's Python stays out: it says nothing elsewhere.
    """
    content = {
        "machine": machine(),
        "settings": {key: value for key, value in settings.items() if key != "torch_python"},
        "ratios": {key: round(ratio, 3) for key, ratio in ratios.items()},
        **more,
        "rows": rows,
    }
    path(name).write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")


def path(name: str) -> Path:
    """Where the results of a benchmark lie."""
    return FOLDER / f"{name}.json"


def earlier_rows(name: str) -> list[dict[str, Any]]:
    """The rows that the results hold already."""
    return json.loads(path(name).read_text("utf-8"))["rows"] if path(name).exists() else []


def machine() -> dict[str, Any]:
    """Processor, cores, accelerators and versions."""
    import jax

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "devices": sorted({device.device_kind for device in jax.devices()}),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
