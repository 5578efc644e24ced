"""Checkpoints of a run: the only module that knows Orbax."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxvae.training.engine import TrainState
from jaxvae.training.run_folder import RunFolderError


class Checkpoints:
    """The checkpoints in a folder, saved in the background: the newest `keep` and the one with the lowest loss.

    A context manager: leaving it waits for the last save. A save that was cut off leaves nothing that counts.
    RunFolderError for a damaged checkpoint, when it is met.
    """

    def __init__(self, folder: Path, keep: int = 2):
        for metrics in folder.glob("*/metrics/metrics"):
            try:
                json.loads(metrics.read_bytes())
            except ValueError as error:
                raise _damaged(metrics.parent.parent, error) from error
        policies = checkpoint_managers.preservation_policy
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=_loss,
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(n=keep), policies.BestN(get_metric_fn=_loss, reverse=True, n=1)]
                ),
            ),
        )

    def save(self, state: TrainState, loss: float) -> None:
        """Saves in the background; the state may be donated as soon as this returns."""
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        self._manager.save(int(state.step), args=args, metrics={"loss": loss}, force=True)

    def steps(self) -> list[int]:
        """Steps that can be restored, in order."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The kept step with the lowest loss, or None where there is no checkpoint."""
        return self._manager.best_step()

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state saved at `step`, placed like `like`, a state or its shapes (`jax.eval_shape`).

        Raises:
          RunFolderError: it can't be read, or holds something else.
        """
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])

        def target(leaf: jax.Array) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or sharding)

        args = ocp.args.Composite(state=ocp.args.StandardRestore(jax.tree.map(target, like)))
        try:
            return self._manager.restore(step, args=args)["state"]
        except Exception as error:  # whatever Orbax and its storage raise for a damaged file: there is no common class
            raise _damaged(Path(self._manager.directory / str(step)), error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def _damaged(checkpoint: Path, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"checkpoint {checkpoint} can't be read ({type(error).__name__}): "
        "delete that folder to go on from the checkpoint before it"
    )


def _loss(metrics: dict[str, float]) -> float:
    return metrics["loss"]
