"""The page of `jaxvae score`: metrics of codes from any program, in the table that the command prints."""

import math
from collections.abc import Mapping
from typing import Any

from jaxvae.report.page import render_html
from jaxvae.runs.foreign import Foreign


def scores_html(foreign: Foreign, scores: Mapping[str, Any], *, title: str, version: str = "") -> str:
    """Renders scores as one self-contained HTML document, to be stored as UTF-8.

    Args:
      foreign: Codes and factors that were scored.
      scores: Result of `jaxvae.runs.foreign.score_foreign`, and that of `jaxvae.metrics.scib.scib` as "scib" if there
        is one.
      title: Title of the page.
      version: Version of jaxvae.
    """
    codes = f"{len(foreign.code_names)}: {', '.join(foreign.code_names[:12])}"
    facts = {
        "Examples": f"{scores['num_samples']:,}",
        "Codes": codes + (" ..." if len(foreign.code_names) > 12 else ""),
        "Rows of the factors": f"matched {foreign.matched}" if foreign.factors else "",
    }
    return render_html(
        "scores.html",
        title=title,
        version=version,
        facts={name: value for name, value in facts.items() if value},
        factors=[factor.in_words(scores["binning"]) for factor in foreign.factors],
        names=[factor.name for factor in foreign.factors],
        lines=[
            (name, result, _half(result), scores["sampled"].get(name, {}).get("score"))
            for name, result in scores["metrics"].items()
        ],
        cells=scores.get("scib", {}),
    )


def _half(result: Mapping[str, Any]) -> float:
    """Returns half the width of the interval of a score, or NaN if it has none."""
    low, high = result.get("interval") or (0, 0)
    return (high - low) / 2 if high > low else math.nan
