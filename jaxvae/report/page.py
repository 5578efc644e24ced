"""The page: one HTML file that needs nothing else, neither network nor JavaScript."""

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
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(data.title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(data.title)}</h1>
{_facts(data.summary)}
{_headline(data.scores)}
{_contents(parts)}
</header>
<main>
{"".join(map(_section, parts))}
</main>
<footer>Written by jaxvae {escape(data.versions.get("jaxvae", ""))}</footer>
</body>
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
