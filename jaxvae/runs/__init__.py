"""Runs on disk: their settings, their checkpoints, codes, scores, comparisons, and sweeps over many.

`load_run("runs/mine")` loads a run of the command line, with the model and the data it was trained on. `represent`
encodes examples and `evaluate` scores them. What `jaxvae.training.train` trains in Python, with `folder=`, is a run
as well:

```python
import jax
from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.report import write_report
from jaxvae.runs import evaluate, load_own_run, represent
from jaxvae.training import train

source = Sprites(resolution=16)
method = beta_vae(autoencoder("mlp-small", source.event_shape), hyperparameters=BetaVAE(beta=2.0))
train(method, source, steps=20, batch_size=32, folder="runs/two")

run = load_own_run("runs/two", method, source)
codes = represent(run, 1000)
print(write_report(run, codes, evaluate(run, codes)))
means = run.encode(source.sample(jax.random.key(0), 8)["x"]).mean  # [8, 10]
images = run.decoder(means)  # [8, 16, 16, 1]
```

A folder belongs to one method with one set of hyperparameters; another one is refused. Changes to the code of a loss
are not detected; use a new folder after editing one.

## The folder of a run

- `config.json`: all settings of a run of the command line, nested, with the version of the format
- `trained.json`: the settings that affect the results; `--resume` refuses to change them. For a baseline it holds a
  fingerprint of the data; loading the run warns if the data has changed
- `metrics.jsonl`: one row of loss terms per 100 steps (`--log-every`), and one at every checkpoint and at the end
- `checkpoints/`: the two newest checkpoints and the one with the lowest loss, named by their steps, each with a
  manifest
- `scores.json`: the metrics of posterior means and of samples, with their definitions and parts
- `compared.json`: scores that `jaxvae compare` computed in addition
- `images/`: pictures during training, `STEP-reconstructions.png` and so on, of a run with `--images-every`
- `report/index.html`: the report, a single page that needs no other file

`jaxvae train --run runs/mine --resume` resumes a run, even after `kill -9`, and ends with bitwise the same result as
a run that was never stopped. See `jaxvae.training` for what happens when something goes wrong.

## Trackers

`--tensorboard`, `--wandb` and `--mlflow` also send the rows to a tracker, each after `pip install 'jaxvae[NAME]'`:
TensorBoard to event files in the folder of the run; Weights & Biases to the project `jaxvae`, or that of
`WANDB_PROJECT` (`WANDB_MODE=offline` keeps everything on disk); MLflow to `mlflow.db` in the folder of the run, or to
`MLFLOW_TRACKING_URI`. MLflow reports usage data unless `MLFLOW_DISABLE_TELEMETRY=true`. Pass the flag again when
resuming to continue the same tracked run.

`--images-every 500` draws reconstructions, latent traversals and samples of the prior every 500 steps, into the folder
`images/` and to the trackers, which get histograms of the codes as well (MLflow: their quartiles). `--score-every 500`
computes MIG and DCI of 2,000 examples, or the dependence of the codes where the factors are unknown; they are the
columns `score_NAME` of `metrics.jsonl`, and curves in the report. Both always use the same examples, neither changes
the training, and a resumed run ends with the same numbers and pictures. With `--on-nan skip`, choose multiples of
`--log-every`: each score has a row, and a run ends where all steps between two rows had to be skipped.

In Python, they are `jaxvae.training.train(..., observers=[score_observer(method, source, 500)], writers=[writer])`,
where a `jaxvae.training.writers.Writer` takes rows, pictures and histograms; `jaxvae.report.image_observer` draws the
pictures.

## Comparing runs

`jaxvae compare runs`, or with the folders of single runs, prints a table and writes `comparison.html`. Runs that differ
only by their seed share one row, with means and 95% confidence intervals. The table sorts, and the page shows below it
what each row learned. `--csv FILE`, `--latex FILE` and `--markdown FILE` write the table, and
`jaxvae.runs.table("runs")` returns the runs as a pandas DataFrame. Runs without scores are scored first; runs that were
trained in Python have to be scored there, with `evaluate`. The table also lists the reconstruction error and properties
of the code: how far the changes that two latents make to an image are from orthogonal (`overlap`, an absolute cosine),
how few pixels a latent changes (`parts`, a Hoyer sparsity), what share of a pixel's change is due to a single latent
(`exclusive`), and how far the latents are from a Gaussian (`negentropy`, nats).

## Codes in files

`jaxvae encode RUN --out codes.csv` writes the codes of all examples of the run's data, and `jaxvae encode RUN DATA`
those of other data, named as for `--data`, or of a picture. If the run holds examples out, the column part says which
rows it was trained on: train, validation or test. The id of a row is the name of the picture file, or else the number
of the row. `jaxvae decode RUN codes.csv --out decoded.npz` decodes the codes with the
model of the run. `jaxvae.runs.codes` describes the files.

`jaxvae score codes.csv --factors factors.csv`, or with names of columns in one file, computes the metrics of codes
from any program. The same in Python:

```python
import numpy as np
from pathlib import Path
from jaxvae.runs import read_foreign, score_foreign

sources = np.random.default_rng(0).integers(0, 4, (500, 2))
np.save("codes.npy", sources + 0.1)
np.save("factors.npy", sources)
scores = score_foreign(read_foreign(Path("codes.npy"), ["factors.npy"]), ["mig", "dci"])
print(scores["metrics"]["mig"]["score"], scores["factors"])
```

## Exploring and exporting runs

`jaxvae explore RUN` opens a page on which latents are moved, see `jaxvae.explorer`. `jaxvae export RUN --format
stablehlo` writes encoder and decoder as programs that plain JAX runs, `--format onnx` as programs that onnxruntime
runs, and `--format safetensors` writes the weights, which `jaxvae.load` reads; `jaxvae.runs.export` describes the
files. `jaxvae push RUN USER/NAME` writes the weights and a model card to the Hugging Face Hub, from which `jaxvae pull
USER/NAME --run FOLDER` makes a folder of a run without checkpoints and data; `jaxvae.runs.hub` does so in Python.

The names of this module are imported on first use, since metrics and figures take a second to import. With
`EAGER_IMPORT=1` in the environment they are imported at once, which pdoc needs to document them.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxvae.runs.build import build
    from jaxvae.runs.codes import Codes, write_codes
    from jaxvae.runs.config import Config, default_config
    from jaxvae.runs.encode import decode_all, encode_all
    from jaxvae.runs.foreign import read_foreign, score_foreign
    from jaxvae.runs.frame import table
    from jaxvae.runs.load import Run, load_own_run, load_run
    from jaxvae.runs.observe import score_observer
    from jaxvae.runs.score import evaluate, represent, score
    from jaxvae.runs.splits import parts_of, split_effects_of

__all__ = [
    "Codes",
    "Config",
    "Run",
    "build",
    "decode_all",
    "default_config",
    "encode_all",
    "evaluate",
    "load_own_run",
    "load_run",
    "parts_of",
    "read_foreign",
    "represent",
    "score",
    "score_foreign",
    "score_observer",
    "split_effects_of",
    "table",
    "write_codes",
]

_PLACES = {
    "build": "build",
    "Codes": "codes",
    "write_codes": "codes",
    "Config": "config",
    "default_config": "config",
    "decode_all": "encode",
    "encode_all": "encode",
    "read_foreign": "foreign",
    "score_foreign": "foreign",
    "table": "frame",
    "Run": "load",
    "load_own_run": "load",
    "load_run": "load",
    "evaluate": "score",
    "represent": "score",
    "score": "score",
    "score_observer": "observe",
    "parts_of": "splits",
    "split_effects_of": "splits",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jaxvae.runs.{_PLACES[name]}"), name)


if os.environ.get("EAGER_IMPORT"):  # as SPEC 1 of Scientific Python has it, for tools that read a module's names
    globals().update({name: __getattr__(name) for name in _PLACES})
