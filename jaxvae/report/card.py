"""The model card of a run on the Hugging Face Hub: a README.md with metadata that the hub reads."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from jaxvae.method import no_code, no_image
from jaxvae.report.collect import reproduce_command
from jaxvae.runs.load import Run
from jaxvae.schema import schema_of

TASK = "feature-extraction"
MOST_COLUMNS = 30
"""Largest number of columns of a table that the card names."""


def model_card(run: Run, repository: str, scores: Mapping[str, Any] | None, license: str | None = None) -> str:
    """Writes the model card of a run from its scores, data and settings.

    Args:
      run: Run whose weights are in the repository.
      repository: Repository, USER/NAME.
      scores: Content of scores.json, or None for a run without scores. Scores of another step are left out.
      license: Identifier of the license of the weights, such as apache-2.0.

    Returns:
      Markdown with a header in YAML.
    """
    from huggingface_hub import EvalResult, ModelCardData

    if scores is not None and scores["step"] != int(run.state.step):
        scores = None
    known = {name: one for name, one in (scores or {"metrics": {}})["metrics"].items() if _is_finite(one["score"])}
    metadata = ModelCardData(
        library_name="jaxvae",
        license=license,
        tags=list(dict.fromkeys(["jax", "representation-learning", "disentanglement", run.method.name])),
        model_name=repository.partition("/")[2],
        eval_results=[
            EvalResult(
                task_type=TASK,
                dataset_type=run.source.name,
                dataset_name=run.source.name,
                metric_type=name,
                metric_value=round(float(one["score"]), 6),
            )
            for name, one in known.items()
        ]
        or None,
    )
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {_plain(run.method.name)} on {_plain(run.source.name)}",
        f"A model of the method `{run.method.name}`, trained by jaxvae {version('jaxvae')} for "
        f"{int(run.state.step):,} steps on {_plain(run.data_in_words)}.",
        _use(run, repository),
        _scores(scores),
        _data(run),
        f"## Settings\n\n```json\n{json.dumps(run.config.to_json(), indent=2, default=str)}\n```",
    ]
    if command := reproduce_command(run):
        parts.append(f"This command trains the model again:\n\n```\n{command}\n```")
    return "\n\n".join(parts) + "\n"


def _use(run: Run, repository: str) -> str:
    shape = ", ".join(["N", *map(str, run.source.event_shape)])
    lines = ["import jaxvae", "", f'run = jaxvae.load("hf://{repository}")']
    if run.method.encode is not no_code:
        lines.append(f"codes = run.encode(x).mean  # x: [{shape}]")
    if run.method.decode is not no_image:
        lines.append(f"examples = run.decoder(codes)  # [{shape}]")
    code = "\n".join(lines)
    return (
        f"## Use\n\nAfter `pip install 'jaxvae[hub]'`:\n\n```python\n{code}\n```\n\n`jaxvae pull {repository} --run "
        "FOLDER` writes the model to a folder for the commands of jaxvae, such as `jaxvae encode FOLDER DATA --out "
        "codes.csv`."
    )


def _scores(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "## Scores\n\nThe model was not scored at this step."
    rows = scores.get("rows") or f"{scores['num_samples']:,} examples"
    lines = [f"## Scores\n\nScores of posterior means ({_plain(rows)}), with 95% intervals over resampled examples."]
    if scores["metrics"]:
        lines.append("\n| metric | score | interval | definition |\n|---|---|---|---|")
    for name, one in scores["metrics"].items():
        low, high = one.get("interval") or (0, 0)
        interval = f"{low:.3f} to {high:.3f}" if high > low else ""
        score = f"{one['score']:.3f}" if _is_finite(one["score"]) else "–"
        lines.append(f"| {_plain(name)} | {score} | {interval} | {_plain(one.get('error', one['definition']))} |")
    error = scores["properties"].get("reconstruction_error")
    if _is_finite(error):
        lines.append(f"\nReconstruction error: {error:.3g} (squared, per value).")
    return "\n".join(lines)


def _data(run: Run) -> str:
    source, schema = run.source, schema_of(run.source)
    lines = [f"## Data\n\n{_plain(run.data_in_words)}. The examples are not in this repository."]
    if source.factor_names:
        sizes = zip(source.factor_names, source.factor_sizes, strict=True)
        lines.append(f"Known factors: {', '.join(f'{_plain(name)} ({size:,} values)' for name, size in sizes)}.")
    if schema is not None:
        columns = [f"{_plain(column.name)} ({column.kind})" for column in schema.columns]
        more = f" and {len(columns) - MOST_COLUMNS:,} more" if len(columns) > MOST_COLUMNS else ""
        lines.append(f"Columns: {', '.join(columns[:MOST_COLUMNS])}{more}.")
    return "\n\n".join(lines)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _plain(text: str) -> str:
    """Returns a name in which Markdown and HTML mean nothing."""
    text = " ".join(str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|" else letter for letter in text)
