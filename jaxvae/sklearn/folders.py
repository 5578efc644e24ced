"""An estimator as a run folder: the configuration and the columns of X as JSON, and a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxvae.files import write_json
from jaxvae.runs.config import Config
from jaxvae.runs.folder import check_new
from jaxvae.runs.load import load_run
from jaxvae.schema import Column, Schema, schema_of
from jaxvae.sklearn.estimators import VectorEncoder
from jaxvae.sklearn.labels import SemiSupervisedVectorAutoencoder
from jaxvae.sklearn.settings import IN_UNIT_INTERVAL, params_of
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.run_folder import RunFolderError, read_settings, write_history
from jaxvae.training.steps import described

FILE = "estimator.json"
"""Name of the file for what an estimator knows besides its run."""
E = TypeVar("E", bound=VectorEncoder)


def save(estimator: VectorEncoder, folder: Path) -> None:
    """Writes a fitted estimator to a new folder.

    Raises:
      RunFolderError: The folder has files in it, or cannot be written.
    """
    config, schema, (names, sizes) = estimator._config, _columns(estimator), estimator._factors
    data = {
        "name": "X",
        "images": estimator.n_samples_,
        "shape": [estimator.n_features_in_ if estimator.schema_ is None else estimator.schema_.width],
        "factors": dict(zip(names, sizes, strict=True)),
        **({} if schema is None else {"columns": schema.to_json()}),
    }
    batch_size = min(config.training.batch_size, estimator.n_samples_)
    try:
        check_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config.to_json())
        write_json(folder / "trained.json", described(estimator.method_, data, batch_size, config.seed))
        write_json(folder / FILE, _known(estimator))
        write_history(folder, estimator._history)
        with Checkpoints(folder / "checkpoints") as checkpoints:
            checkpoints.save(estimator.state_, estimator.loss_curve_[-1])
    except OSError as error:
        raise RunFolderError(f"can't write to the run folder {folder}: {error.strerror or error}") from error


def load(kind: type[E], folder: Path, checkpoint: str | int) -> E:
    """Reads an estimator of a kind from the folder of a run, as `VectorEncoder.load` does."""
    run = load_run(folder, checkpoint, needs_data=False)
    config, source = run.config, run.source
    schema, known = schema_of(source), read_settings(folder, FILE) if (folder / FILE).exists() else {}
    if not isinstance(config, Config) or config.method != kind._name:
        name = config.method if isinstance(config, Config) else "a baseline"
        raise ValueError(f"the run in {folder} is of {name}, and {kind.__name__} is the estimator of {kind._name}")
    if len(source.event_shape) != 1:
        raise ValueError(f"the run in {folder} was trained on examples of shape {source.event_shape}, not on vectors")
    estimator = kind()
    estimator.set_params(**{**params_of(config, list(estimator.get_params())), **known.get("params", {})})
    vectors = known.get("vectors", schema is None)
    columns = () if schema is None else schema.columns
    estimator.schema_ = None if vectors else schema
    estimator.n_features_in_ = len(columns) or source.event_shape[0]
    names = known.get("names", [column.name for column in columns] or None)
    if names is not None:
        estimator.feature_names_in_ = np.array(names, object)
    if vectors:
        estimator.mean_ = np.array([column.mean for column in columns] or [0.0] * estimator.n_features_in_)
        estimator.scale_ = np.array([column.scale for column in columns] or [1.0] * estimator.n_features_in_)
    estimator._from_frame = known.get("from_frame", not vectors)
    texts = {each.name: dict(zip(each.values, each.values, strict=True)) for each in columns if each.width > 1}
    estimator._categories = known.get("categories", {} if vectors else texts)
    estimator._config, estimator.n_samples_ = config, source.size
    estimator._factors = tuple(source.factor_names), tuple(source.factor_sizes)
    flags = config.flags()
    judged_by = flags.get("likelihood", "gaussian"), flags.get("scale", 1.0)
    estimator._judged_by = tuple(known.get("judged_by", judged_by))
    if source.factor_sizes:
        classes = [np.array(values) for values in known.get("classes", [range(size) for size in source.factor_sizes])]
        estimator.classes_ = classes if isinstance(estimator, SemiSupervisedVectorAutoencoder) else classes[0]
    estimator._prepare()
    estimator.state_ = run.state
    estimator._summarize(run.history)
    return estimator


def _columns(estimator: VectorEncoder) -> Schema | None:
    """The columns of X with their means and scales, also of vectors; None for values in [0, 1] as they are."""
    if estimator.schema_ is not None:
        return estimator.schema_
    if estimator._judged_by[0] in IN_UNIT_INTERVAL:
        return None
    names = getattr(estimator, "feature_names_in_", [f"x{d}" for d in range(estimator.n_features_in_)])
    columns = zip(names, estimator.mean_.tolist(), estimator.scale_.tolist(), strict=True)
    return Schema(tuple(Column(str(name), "real", mean, scale) for name, mean, scale in columns))


def _known(estimator: VectorEncoder) -> dict[str, Any]:
    """What an estimator knows besides its run, as JSON values."""
    names, classes = getattr(estimator, "feature_names_in_", None), getattr(estimator, "classes_", [])
    params = {name: _plain(value) for name, value in estimator.get_params(deep=False).items()}
    if not isinstance(params["random_state"], int):
        params["random_state"] = None
    return {
        "estimator": type(estimator).__name__,
        "params": params,
        "vectors": estimator.schema_ is None,
        "names": None if names is None else list(names),
        "from_frame": estimator._from_frame,
        "categories": {
            name: {text: _plain(value) for text, value in by_text.items()}
            for name, by_text in estimator._categories.items()
        },
        "judged_by": list(map(_plain, estimator._judged_by)),
        "classes": [each.tolist() for each in (classes if isinstance(classes, list) else [classes])],
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else dict(value) if isinstance(value, Mapping) else value
