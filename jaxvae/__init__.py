"""Disentangled representation learning in JAX.

Importing this package imports nothing heavy: `jaxvae.losses` needs JAX only, and everything else is one import away.

- `jaxvae.losses`: loss kernels, pure functions of arrays
- `jaxvae.methods`: the methods, one module per paper, and how to write your own; `jaxvae.method`: the interface of a
  method
- `jaxvae.networks`: encoders and decoders; networks from Flax Linen, Flax NNX and Equinox
- `jaxvae.data`: data sets
- `jaxvae.training`: the training loop, optimizers, populations, devices, several processes, and handling of failures
- `jaxvae.runs`: runs on disk, loading, scoring and exporting them (`jaxvae.load` reads an exported one), trackers,
  comparisons; `jaxvae.report`: the page of a run
- `jaxvae.explorer`: an interactive page of a run, which `jaxvae.explore(run)` shows in a notebook
- `jaxvae.metrics`: scores of codes against factors; `jaxvae.analysis`: analyses of trained models
- `jaxvae.sklearn`: the methods as scikit-learn estimators; `jaxvae.baselines`: representations without deep networks
- `jaxvae.study`: the large-scale study
- `jaxvae.cli`: the command line

The README of the repository is an introduction, and experiments/tutorial.md (also a notebook,
experiments/tutorial.ipynb) leads from the installation to a loss of your own.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {"explore": "jaxvae.explorer.notebook", "load": "jaxvae.runs.export"}
"""Functions of this module, and the modules that they are imported from on first use."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
