"""Pages as one self-contained HTML file, without network access. The page of a run needs JavaScript for its sliders
only.
"""

import base64
import hashlib
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jaxvae.report.data import ReportData
from jaxvae.report.live import as_script_text
from jaxvae.report.sections import sections, shown_metric, shown_score

MOST_HEADLINES = 4
"""Largest number of scores at the top of the page."""

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters |= {
    "score": shown_score,
    "metric": shown_metric,
    "sha256": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
}


def report_html(data: ReportData) -> str:
    """Renders the report of a run as a self-contained HTML document, to be stored as UTF-8."""
    return render_html(
        "report.html",
        title=data.title,
        version=data.versions.get("jaxvae", ""),
        facts={name: value for name, value in data.summary.items() if value},
        headline=_headline(data),
        sections=sections(data),
        factors=data.factor_names or (),
        live=data.live,
        live_text=None if data.live is None else Markup(as_script_text(data.live)),
    )


def _headline(data: ReportData) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the numbers at the top: scores, or the bound and the reconstruction where the factors are unknown."""
    last = data.history[-1] if data.history else {}
    if not data.factor_names and {"reconstruction", "kl"} <= set(last):
        terms = {"bound": last["reconstruction"] + last["kl"], "reconstruction": last["reconstruction"]}
        about = {"bound": "reconstruction + KL", "reconstruction": "negative log-likelihood of the example"}
        return [
            (name, {"score": value, "definition": f"{about[name]}, nats, mean over the last logging interval"})
            for name, value in terms.items()
            if isfinite(value)
        ]
    return [(name, one) for name, one in list(data.scores.items())[:MOST_HEADLINES] if isfinite(one["score"])]


def render_html(template: str, **values: object) -> str:
    """Renders a page from templates/ with these values. All of them are text, and all of them are escaped."""
    return PAGES.get_template(template).render(values)
