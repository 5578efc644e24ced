"""Checkpoints of a run. This is the only module that uses Orbax.

A checkpoint is valid once it has a manifest with the sha256 of all its files, which is written last. An interrupted
checkpoint has no manifest, and a checkpoint that was changed later does not match its manifest.
"""

import hashlib
import json
import math
import stat
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import optax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxvae.files import JSON_BYTES, inside, read_json, write_text
from jaxvae.training.engine import TrainState
from jaxvae.training.processes import is_primary_process, wait_for_all
from jaxvae.training.run_folder import RunFolderError

MANIFEST = "manifest.json"
UNFINISHED = "it was not finished: its manifest.json is missing"
SET_ASIDE = "damaged"
"""Folder beside checkpoints/ into which training moves checkpoints that do not verify."""


class DamagedCheckpoint(UserWarning):
    """Warning that a damaged checkpoint was skipped."""


def saved_steps(folder: Path) -> list[int]:
    """Returns the steps that have a checkpoint, damaged or not, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir())


def damage(checkpoint: Path) -> str | None:
    """Describes the damage to the files of a checkpoint, or returns None if it verifies."""
    try:
        about = (checkpoint / MANIFEST).stat()
        regular = stat.S_ISREG(about.st_mode) and about.st_size <= JSON_BYTES  # reading a pipe waits for a writer
        noted = (checkpoint / MANIFEST).read_bytes() if regular else b""
        found = _digests(checkpoint)
    except FileNotFoundError:
        return UNFINISHED
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    if noted == _manifest(found).encode():
        return None
    try:
        listed = dict(json.loads(noted))
    except (ValueError, TypeError, RecursionError):
        listed = found
    wrong = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"not as it was written: {', '.join(map(str, wrong[:3])) or MANIFEST}{more}"


def newest_step(folder: Path) -> int | None:
    """Returns the newest step that verifies, or None if nothing was saved.

    Warns with DamagedCheckpoint for newer checkpoints that do not verify.

    Raises:
      RunFolderError: There are checkpoints, and none verifies.
    """
    found = {}
    for step in reversed(saved_steps(folder)):
        found[step] = damage(folder / str(step))
        if found[step] is None:
            break
    _refuse_if_all_damaged(folder, found)
    for step, wrong in found.items():
        if wrong:
            warnings.warn(f"checkpoint {folder / str(step)} is left out, {wrong}", DamagedCheckpoint, stacklevel=2)
    return next((step for step, wrong in found.items() if wrong is None), None)


def best_step(folder: Path) -> int | None:
    """Returns the step with the lowest validation loss among those that verify, or None.

    Without validations, it is the step with the lowest training loss.

    Raises:
      RunFolderError: A checkpoint that verifies does not say its loss.
    """
    ranks = {}
    for step in saved_steps(folder):
        if damage(folder / str(step)) is None:
            ranks[step] = _rank(_losses(folder / str(step)))
    return min(ranks, key=lambda step: ranks[step], default=None)


def restore(folder: Path, step: int, like: TrainState) -> TrainState:
    """Restores the state saved at `step`, placed like `like`, a state or its shapes (`jax.eval_shape`).

    Raises:
      RunFolderError: The checkpoint is damaged, or holds a different state.
    """
    checkpoint = folder / str(step)
    if wrong := damage(checkpoint):
        raise _unreadable(checkpoint, wrong)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def target(leaf: jax.Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or sharding)

    try:
        items = {"state": ocp.StandardCheckpointHandler(), "metrics": ocp.JsonCheckpointHandler()}
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**items)) as reader:
            saved = reader.metadata(checkpoint.absolute()).item_metadata["state"].tree
            shapes = [tuple(leaf.shape) for leaf in jax.tree.leaves(saved)]
            if sorted(shapes) != sorted(map(_stored_shape, jax.tree.leaves(like))):
                raise RunFolderError(f"checkpoint {checkpoint} is of other networks than this run has")
            stored = like if _paths(saved) == _paths(like) else like._replace(opt_state=_unscaled(like.opt_state))
            args = ocp.args.Composite(state=ocp.args.StandardRestore(jax.tree.map(target, stored)))
            restored = reader.restore(checkpoint.absolute(), args=args)["state"]
            return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(restored))
    except RunFolderError:
        raise
    except Exception as error:  # Orbax and its storage backends have no common exception
        raise _unreadable(checkpoint, type(error).__name__) from error


class Checkpoints:
    """Writes the checkpoints in a folder, in the background. It keeps the newest `keep` and the best one, see
    `best_step`.

    It is a context manager; leaving it waits for the last save. Checkpoints in the folder that do not verify are moved
    into damaged/ beside it, with a DamagedCheckpoint warning. If none verifies, a RunFolderError is raised.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self._folder = inside(folder.parent, folder.name)
        for path in folder.glob("*"):
            inside(folder, path.name)
        if is_primary_process():
            _set_aside(folder)
        wait_for_all("checkpoints set aside")
        policies = checkpoint_managers.preservation_policy
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=_rank,
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(n=keep), policies.BestN(get_metric_fn=_rank, reverse=True, n=1)]
                ),
            ),
        )
        self._finisher = ThreadPoolExecutor(1)
        self._unfinished: Future[None] | None = None

    def save(self, state: TrainState, loss: float, validation_loss: float | None = None) -> None:
        """Saves in the background. The state may be donated as soon as this returns.

        Args:
          state: State to save.
          loss: Training loss, the mean over the logging interval before the checkpoint.
          validation_loss: Validation loss at the checkpoint, if there was a validation.

        Raises:
          RunFolderError: This save or the previous one could not be written, for instance because the disk is full.
        """
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        validated = {} if validation_loss is None else {"validation_loss": validation_loss}
        try:
            self._finish()
            self._manager.save(int(state.step), args=args, metrics={"loss": loss, **validated}, force=True)
        except Exception as error:  # as in `restore`
            raise self._not_saved(error) from error
        self._unfinished = self._finisher.submit(self._write_manifest, self._folder / str(int(state.step)))

    def steps(self) -> list[int]:
        """Returns the steps that are saved or being saved, in order."""
        return sorted(self._manager.all_steps())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
            self._manager.close()
        except Exception as late:  # as in `restore`
            if kind is None:
                raise self._not_saved(late) from late
        finally:
            self._finisher.shutdown()

    def _finish(self) -> None:
        """Waits for the previous save, and raises its error if it failed."""
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            unfinished.result()

    def _write_manifest(self, checkpoint: Path) -> None:
        self._manager.wait_until_finished()
        if is_primary_process():
            write_text(checkpoint / MANIFEST, _manifest(_digests(checkpoint)))

    def _not_saved(self, error: Exception) -> RunFolderError:
        text = str(error)
        reason = "No space left on device" if "No space left" in text else text.splitlines()[0] if text else "no reason"
        return RunFolderError(
            f"a checkpoint could not be written to {self._folder} ({reason}); those before it are kept: make room, or "
            "repair it, and continue with --resume"
        )


def _set_aside(folder: Path) -> None:
    found = {step: damage(folder / str(step)) for step in saved_steps(folder)}
    _refuse_if_all_damaged(folder, found)
    for step, wrong in found.items():
        if wrong:
            kept = inside(folder.parent, SET_ASIDE)
            kept.mkdir(exist_ok=True)
            names = (kept / name for name in (str(step), *(f"{step}-{n}" for n in range(2, 1000))))
            place = next(path for path in names if not path.exists())
            (folder / str(step)).rename(place)
            warnings.warn(
                f"checkpoint {folder / str(step)} was moved to {place}, {wrong}", DamagedCheckpoint, stacklevel=4
            )


def _refuse_if_all_damaged(folder: Path, found: dict[int, str | None]) -> None:
    """Raises RunFolderError if all checkpoints are damaged. An interrupted first save is not damage."""
    if found and None not in found.values() and any(wrong != UNFINISHED for wrong in found.values()):
        told = "; ".join(f"{step}: {wrong}" for step, wrong in found.items())
        raise RunFolderError(f"no checkpoint in {folder} can be used ({told}): delete that folder to start anew")


def _stored_shape(leaf: jax.Array) -> tuple[int, ...]:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.eval_shape(jax.random.key_data, leaf).shape if is_key else leaf.shape


def _paths(tree: Any) -> set[str]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


def _unscaled(states: Any) -> Any:
    """Returns the optimizer states in the format from before version 0.2, without the step that scales by the learning
    rate.
    """
    if isinstance(states, dict):
        return {name: _unscaled(state) for name, state in states.items()}
    if type(states) is not tuple:
        return states
    parts = tuple(map(_unscaled, states))
    if parts and parts[-1] == optax.EmptyState() and not isinstance(parts[0], dict):
        parts = parts[:-1]
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], dict) else parts


def _digests(checkpoint: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                digests[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _manifest(digests: dict[str, str]) -> str:
    return json.dumps(digests, indent=0) + "\n"


def _unreadable(checkpoint: Path, reason: str) -> RunFolderError:
    return RunFolderError(
        f"checkpoint {checkpoint} can't be read ({reason}): delete that folder to go on from the checkpoint before it"
    )


def _losses(checkpoint: Path) -> dict[str, float]:
    try:
        losses = read_json(checkpoint / "metrics" / "metrics")
    except (OSError, ValueError) as error:
        raise _unreadable(checkpoint, f"its losses: {error}") from error
    numbers = isinstance(losses, dict) and all(isinstance(value, int | float) for value in losses.values())
    if not numbers or "loss" not in losses:
        raise _unreadable(checkpoint, "its losses are not numbers")
    return losses


def _rank(metrics: dict[str, float]) -> Any:
    """Returns what checkpoints are sorted by, the best first: those with a validation loss, by it, come before others.

    Training losses are compared only if no checkpoint has a finite validation loss.
    """
    loss = metrics.get("validation_loss", math.nan)
    return (0, loss) if math.isfinite(loss) else (1, metrics["loss"])
