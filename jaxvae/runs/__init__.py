"""A run on disk: its configuration, its checkpoints loaded again, codes, scores, comparisons, and sweeps of many.

Names are imported when they are first used: metrics and figures take a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxvae.runs.build import build
    from jaxvae.runs.config import Config, default_config
    from jaxvae.runs.load import Run, load_own_run, load_run
    from jaxvae.runs.score import evaluate, represent, score

__all__ = ["Config", "Run", "build", "default_config", "evaluate", "load_own_run", "load_run", "represent", "score"]

_PLACES = {
    "build": "build",
    "Config": "config",
    "default_config": "config",
    "Run": "load",
    "load_own_run": "load",
    "load_run": "load",
    "evaluate": "score",
    "represent": "score",
    "score": "score",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jaxvae.runs.{_PLACES[name]}"), name)
