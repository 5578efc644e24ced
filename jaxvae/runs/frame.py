"""Runs as rows of a pandas DataFrame: settings, scores and the last row of training."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.compare import NAMED, find_runs
from jaxvae.runs.config import Config
from jaxvae.runs.folder import newest_saved
from jaxvae.runs.load import config_of, own_config_of
from jaxvae.runs.score import read_scores
from jaxvae.training.run_folder import flatten, read_history


def table(paths: Path | str | Iterable[Path | str]) -> Any:
    """Collects runs in a pandas DataFrame, one row per run. Only small files are read: nothing is loaded or scored.

    Args:
      paths: Folders of runs, or folders that hold runs, such as the folder of a sweep.

    Returns:
      A DataFrame with the columns run (folder), method, data, seed and step; the settings by the names of their flags;
      the last row of training as "last_loss" and so on, with "seconds" as the sum of all rows; and the scores of
      posterior means as "mig", "dci" and so on, if the newest checkpoint has been scored, with the reconstruction error
      and other properties. What a run does not have is missing.

    Raises:
      RunFolderError: There is no run in a folder, or its settings cannot be read.
      ValueError: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ValueError("tables of runs need pandas: pip install 'jaxvae[tables]'")
    import pandas

    several = [paths] if isinstance(paths, Path | str) else paths
    return pandas.DataFrame([_row(folder) for folder in find_runs([Path(path) for path in several])])


def _row(folder: Path) -> dict[str, Any]:
    data: Any
    config = config_of(folder) if (folder / NAMED[0]).exists() else own_config_of(folder)
    if isinstance(config, Config):
        method, data, settings = config.method, config.data, config.flags()
    elif isinstance(config, BaselineConfig):
        method, data, settings = config.baseline, config.data, config.to_json()
    else:
        method, data = config.method, config.data.get("name")
        settings = {name.removeprefix("hp."): value for name, value in flatten({"hp": dict(config.hp)}).items()}
    history, scores = read_history(folder), read_scores(folder)
    last = {f"last_{name}": value for name, value in (history[-1] if history else {}).items() if name != "step"}
    row: dict[str, Any] = {"run": str(folder), "method": method, "data": data, "seed": config.seed}
    row |= {"step": newest_saved(folder)}
    row |= {name: value for name, value in settings.items() if name not in row}
    row |= {**last, "seconds": sum(each.get("seconds", 0.0) for each in history)}
    if scores is not None and scores["step"] == row["step"]:
        row |= {"num_samples": scores["num_samples"], **scores["properties"]}
        row |= {name: result.get("score") for name, result in scores["metrics"].items()}
    return row
