"""Training: from a method to a trained model.

`train` trains one model and `train_population` trains many together. Both use `make_train_step`, which turns a
`Method` into a pure `init` and `update`, for loops of your own. With `folder=`, `train` writes metrics and
checkpoints and resumes from them; see `jaxvae.runs`. `progress=True` shows a progress bar, and `on_row` is called
with the state after each row of metrics.

Initialization, batches and noise depend on the seed and the step only. On one machine, a run that was interrupted and
resumed ends with bitwise the same parameters as one that was not. On a CPU this also needs the same number of usable
cores: XLA splits a convolution over all of them, and the rounding depends on how. The number is noted in
`trained.json`, and resuming on another number (another machine, `taskset`, a container) prints a warning; the numbers
are then the same up to rounding.

A run identifies its data by content, not by path: `trained.json` holds a fingerprint of the images and factors. Data
that was moved is found with `--data`, by `jaxvae train --run RUN --resume`, `evaluate` and `report`; data with another
content is refused when resuming. `jaxvae.runs.load_run` encodes and decodes without the data.

## Optimizers

An `Objective` takes any Optax optimizer as a function of its learning rate, such as `optax.adam`.
`with_optimizer(method, optax.lion)` replaces the optimizer of a method; `make_optimizer`, `make_schedule` and
`with_average` add schedules, clipping, weight decay and a moving average of the parameters. The flags are
`--optimizer adamw`, `--schedule cosine`, `--warmup-steps 500`, `--clip-norm 1`, `--clip-value 1`,
`--weight-decay 0.01` and `--ema 0.999`, for every method.

`with_dropout(method, ("encoder", "decoder"))` makes the losses of a method call networks with keys for dropout, as
`--dropout 0.1` does. Codes, reconstructions and validations are without dropout.

On a CPU, call `tune_allocator()` before JAX computes anything, as the command line does: it saves page faults.

## Validation and early stopping

`--validation 0.1` holds a tenth of the examples out, and `--test 0.1` another tenth (`jaxvae.data.split`). Every 500
steps (`--validate-every`) the loss and its terms are computed on at most 2,000 validation examples, without a gradient
step, with the same noise each time and with the loss weights that apply after a warmup, so that values at different
steps are comparable. They are the columns `validation_loss` and `validation_TERM` of `metrics.jsonl`, and dashed lines
in the report. The checkpoint `best` is that of the lowest validation loss; it is saved when that is found, between the
other checkpoints as well. A line says if the validation loss rises while the training loss falls. Scores and reports
are of the test examples if there are any, otherwise of the validation examples; `scores.json` says which.

`--patience 5` stops after five validations without a new lowest loss, and `--max-minutes 60` after an hour. Both save a
checkpoint and say so. To continue a run that `--patience` stopped, resume it with a larger `--patience`; more
`--steps` alone are not enough. One that ran out of time continues for as many minutes again. Populations are
validated, but not stopped early. In Python, if a method needs pairs, groups or labels, wrap each part
accordingly:

```python
from jaxvae.data import Epochs, open_data, split
from jaxvae.methods import VAE, vae
from jaxvae.networks import autoencoder
from jaxvae.training import train

parts = split(open_data("digits"), validation=0.1, test=0.1)
method = vae(autoencoder("mlp-small", parts.training.event_shape), hyperparameters=VAE(learning_rate=1e-3))
held_out = Epochs(parts.validation)  # each of them once per validation
limits = {"validate_every": 10, "patience": 3, "max_minutes": 1}
state = train(method, parts.training, steps=40, batch_size=32, validation=held_out, **limits)
```

## Populations

`jaxvae train beta-tc-vae --seeds 0:8 --sweep beta=1,2,4,8` trains 32 models with one compiled program. Each becomes a
run folder of its own, which is evaluated, reported and resumed like any other. Resumed together, each model continues
from its own newest checkpoint, and those that are behind catch up first. A model that diverges is frozen and
gets a file `diverged.json`; the others continue. Models that do not fit into the memory of an accelerator together
are trained one group after another. In Python:

```python
from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

data = Sprites(resolution=16)
method = beta_vae(autoencoder("mlp-small", data.event_shape), hyperparameters=BetaVAE(learning_rate=1e-3))
members = {"seeds": [0, 1, 0, 1], "sweep": {"beta": [1.0, 1.0, 4.0, 4.0]}}
for step, states, terms in train_population(method, data, **members, steps=20, batch_size=32, log_every=10):
    print(step, terms["kl"])  # one number per member; every leaf of `states` has a leading axis of size 4
```

## Devices

`--devices 4` splits every batch over four devices. Data and noise are keyed by the position of an example in the
global batch, and every estimator uses the whole batch. The results are therefore those of a single device up to
rounding, and a run can be resumed on another number of devices. A CPU is a single device that uses all of its cores;
splitting it into several makes it slower. `--backend pmap` is deprecated: JAX itself runs pmap on shard_map.

In Python, `choose_devices(4)` returns a mesh for `train`, and `choose_devices(2, population=2)` one for
`train_population` that splits the members as well as the batches.

## Several processes

Several processes, on one machine or many, train a single run with `--distributed`: start the same command in each
process, with `--run` naming a folder that all of them can access. SLURM, Kubernetes, Open MPI and TPU pods are
recognised. Elsewhere, set `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and
`JAX_PROCESS_ID`.

Each process reads and draws only the examples of its own devices. All processes write checkpoints; only process 0
logs. Processes with different settings or different code are refused. If a process is lost, run the same command with
`--resume`.

## Microbatches

`--microbatch 256` passes 256 images at a time through the networks, so that a large batch fits into memory. The
losses still use the whole batch: with a batch size of 16,384, the total correlation is estimated from all 16,384
codes and not averaged over small batches, and the gradient is the same. Memory is that of 256 images, plus the
images, codes and reconstructions of the whole batch. The cost is one more forward pass.

## What happens when something goes wrong

- SIGTERM, as from a preempted machine: the run saves a checkpoint at its next row of metrics, prints how to resume,
  and exits with status 0. With several processes, all of them do.
- Ctrl-C: the run ends at once with status 1, also while it compiles. Resume it from its last checkpoint.
- One of several processes dies: the others end within a second, and each says which one was lost.
- A damaged line of `metrics.jsonl`: an error message names the line, and nothing is dropped; only a last line that was
  cut off is. Rows that are missing before the checkpoint are reported.
- SIGKILL or a power failure: only the steps since the last checkpoint are lost. After resuming, the run ends with
  bitwise the same result.
- Corrupted, truncated, half-written or deleted files of a checkpoint: their SHA-256 does not match the manifest. The
  checkpoint is moved to `damaged/`, and the run resumes from the newest valid one and says so. It never restarts from
  scratch over damaged checkpoints.
- A full disk or a read-only folder: an error message says so. Earlier checkpoints are intact, and the run resumes
  once there is space.
- Two processes writing to one run: the second is refused. The lock of a process that died is released.
- Changing the system clock does not affect a run.
- A non-finite loss: `--on-nan stop` stops before it is saved; `--on-nan skip` skips that step and counts it. The
  batch and the random key are in `nonfinite/STEP.npz`.
- An edited or corrupted configuration, scores, rows or data: an error message says what is wrong. No file is
  unpickled, and pages escape all text.

tests/faults tries each kind of damage on every file of a checkpoint, a full disk of one megabyte, 500 corrupted
files, and 100 kills at random moments; the last two run with `pytest -m slow`.
"""

from typing import Any

from jaxvae.choose import renamed
from jaxvae.training.devices import Devices, choose_devices
from jaxvae.training.dropout import with_dropout, without_dropout
from jaxvae.training.engine import TrainState, make_train_step
from jaxvae.training.loop import NonFiniteLoss, NothingToTrain, check, train
from jaxvae.training.members import train_members
from jaxvae.training.memory import tune_allocator
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.optimizers import evaluation_params, make_optimizer, make_schedule, with_average, with_optimizer
from jaxvae.training.plan import Plan, plan
from jaxvae.training.population import train_population
from jaxvae.training.validation import Overfitting, PosteriorCollapse, StoppedEarly

__all__ = [
    "Devices",
    "NonFiniteLoss",
    "NothingToTrain",
    "Overfitting",
    "Plan",
    "PosteriorCollapse",
    "StoppedEarly",
    "TrainState",
    "check",
    "choose_devices",
    "evaluation_params",
    "in_microbatches",
    "make_optimizer",
    "make_schedule",
    "make_train_step",
    "plan",
    "train",
    "train_members",
    "train_population",
    "tune_allocator",
    "with_average",
    "with_dropout",
    "with_optimizer",
    "without_dropout",
]


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"compile_method": "make_train_step", "keep_freed_memory": "tune_allocator"})
