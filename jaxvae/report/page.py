"""The page: one HTML file that needs nothing else, no network, and of a run no JavaScript either."""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.report.data import ReportData
from jaxvae.report.sections import Section, sections, shown_metric, shown_score

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Browsers then refuse whatever is not in the file, should any text on the page get around its escaping."""

MOST_HEADLINES = 4
"""Scores at the top of the page."""


def report_html(data: ReportData) -> str:
    """The report of a run as a self-contained HTML document, to be stored as UTF-8."""
    parts = sections(data)
    header = "\n".join([_facts(data.summary), _headline(data.scores), _contents(parts)])
    return document(data.title, header, "".join(map(_section, parts)), data.versions.get("jaxvae", ""))


def document(title: str, header: str, main: str, version: str, *, script: str = "") -> str:
    """A whole page.

    Args:
      title: text.
      header: HTML below the title.
      main: HTML.
      version: of jaxvae, for the footer.
      script: JavaScript, the only one that browsers will run: the policy names its hash.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    policy, code = POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, code = f"{POLICY}; script-src 'sha256-{digest}'", f"<script>{script}</script>\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{header}
</header>
<main>
{main}
</main>
<footer>Written by jaxvae {escape(version)}</footer>
{code}</body>
</html>
"""


def _facts(summary: Mapping[str, str]) -> str:
    shown = ((name, value) for name, value in summary.items() if value)
    entries = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown)
    return f'<dl class="facts">{entries}</dl>' if entries else ""


def _headline(scores: Mapping[str, Mapping[str, Any]]) -> str:
    entries = "".join(
        f"<div><b>{shown_score(result['score'])}<small>{escape(shown_metric(name))}</small></b>"
        f"<span>{escape(result['definition'])}</span></div>"
        for name, result in list(scores.items())[:MOST_HEADLINES]
        if math.isfinite(result["score"])
    )
    return f'<div class="headline">{entries}</div>' if entries else ""


def _contents(parts: Iterable[Section]) -> str:
    links = "".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in parts)
    return f'<nav aria-label="Contents">{links}</nav>' if links else ""


def _section(part: Section) -> str:
    caption = f'<p class="caption">{escape(part.caption)}</p>' if part.caption else ""
    return f'<section id="{part.anchor}"><h2>{escape(part.title)}</h2>{caption}{part.body}</section>\n'
