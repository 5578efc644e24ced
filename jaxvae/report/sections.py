"""The sections of the page, each from the data to HTML. Every text from outside goes through `escape`."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxvae.report.data import ReportData
from jaxvae.report.encoding import Embedded, embed, embed_animation
from jaxvae.report.figures import (
    DARK,
    LIGHT,
    Theme,
    cosine_map,
    curve,
    heat_map,
    latent_chart,
    logged_terms,
    spectra_chart,
    term_values,
)
from jaxvae.report.pictures import (
    FRAME_MILLISECONDS,
    Label,
    back_and_forth,
    comparison,
    image_grid,
    image_rows,
    signed,
    traversal_frames,
)

MOST_LATENTS = 16
"""Latents shown in pictures; the charts show all."""
MOST_FACTORS_BESIDE = 8
"""Factors in the heat map that leave room for the KL chart beside it."""


class Unit(NamedTuple):
    """What the size of a latent is measured in."""

    name: str
    title: str
    axis: str


NATS = Unit("nats", "KL of each latent", "KL to a standard normal, nats")
PERCENT = Unit("%", "What each latent changes", "change of a pixel by another example's value, % of its range")


class Section(NamedTuple):
    """A part of the page; `body` is HTML, the rest is text."""

    anchor: str
    title: str
    caption: str
    body: str


def sections(data: ReportData) -> list[Section]:
    """All sections that have something to show, in reading order."""
    builders = (
        _animation,
        _scores,
        _data,
        _drawn,
        _classes,
        _traversals,
        _latents,
        _prior,
        _training,
        _configuration,
        _reproduce,
    )
    return [section for section in (build(data) for build in builders) if section.body]


def shown_score(score: float) -> str:
    """A score with three digits after the point, or a dash where it is undefined."""
    return f"{score:.3f}" if math.isfinite(score) else "–"


def shown_metric(name: str) -> str:
    """A metric's name as in prose: abbreviations in capitals."""
    return name.upper() if len(name) <= 4 else name.replace("_", " ").replace("-", " ")


def _animation(data: ReportData) -> Section:
    title, count = "What each latent does", min(len(data.traversals), MOST_LATENTS)
    caption = (
        f"{_latents_shown(data)} swept back and forth, one at a time: a disentangled latent changes one thing about "
        "the image and nothing else, and a switched-off latent does not move."
    )
    if not data.traversals.size:
        return Section("animation", title, "", "")
    frames = traversal_frames(data.traversals[:count], data.traversal_values, _labels(data)[:count])
    moving = embed_animation(back_and_forth(frames), FRAME_MILLISECONDS)
    still = embed(frames[len(frames) // 2])
    alt = f"Animation of {count} latents, each moving from {_span(data)}: {_carried(data)}"
    picture = _picture(moving, alt, 1, {"(prefers-reduced-motion: reduce)": still})
    return Section("animation", title, caption, f'<div class="card canvas wide">{picture}</div>')


def _scores(data: ReportData) -> Section:
    caption = (
        "Of posterior means; scores.json has those of samples too. Each with the definition it was computed by: the "
        "same name stands for several in the literature. Higher is better, but for dependence between latents (total "
        "correlation, Wasserstein correlation, mutual information), where 0 is none."
    )
    rows = "".join(
        f'<tr><td>{escape(shown_metric(name))}</td><td class="number">{shown_score(result["score"])}</td>'
        f"<td>{escape(result['definition'])}{_per_factor(result, data.factor_names)}{_warnings(result)}</td></tr>"
        for name, result in data.scores.items()
    )
    table = (
        f"<table><thead><tr><th>Metric</th><th>Score</th><th>Definition</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    return Section("scores", "Scores", caption, f'<div class="card">{table}</div>' if rows else "")


def _data(data: ReportData) -> Section:
    body = f'<p class="about">{escape(data.about_data)}</p>' if data.about_data else ""
    if len(data.images) and not len(data.reconstructions):
        picture = _picture(embed(image_grid(data.images)), f"{len(data.images)} examples of the data", 1.5)
        body += f'<div class="card canvas wide">{picture}</div>'
    elif len(data.images):
        caption = (
            "Examples with the model's reconstruction below each: a good one keeps the shape, the angle and the place, "
            "and is no more than a little soft at the edges."
        )
        alt = f"{len(data.images)} examples of the data, each above its reconstruction"
        picture = _picture(embed(comparison(data.images, data.reconstructions)), alt, 1.5)
        body += f'<p class="caption">{caption}</p><div class="card canvas wide">{picture}</div>'
    title = "Data and reconstructions" if len(data.reconstructions) else "Data"
    return Section("data", title, "", body)


def _drawn(data: ReportData) -> Section:
    title = "What the model makes of images"
    if not data.pictures:
        return Section("drawn", title, "", "")
    caption = "Examples in the first row, and below each of them what the method is about"
    if any(name.endswith("map") for name in data.pictures):
        caption += "; in a map, red is added and blue is taken away, the strongest value of the row in full colour"
    if data.map_correlation is not None:
        caption += f". Correlation of what is taken away with the known effect: {data.map_correlation:.2f} on average"
    rows = [_coloured(images) if name.endswith("map") else images for name, images in data.pictures.items()]
    rows = [np.broadcast_to(images, (*images.shape[:3], 3)) for images in rows]
    picture = image_rows(np.stack(rows), [Label(name) for name in data.pictures])
    alt = f"{len(rows[0])} examples in rows: {', '.join(data.pictures)}"
    body = f'<div class="card canvas wide">{_picture(embed(picture), alt, 1.5)}</div>'
    return Section("drawn", title, f"{caption}.", body)


def _classes(data: ReportData) -> Section:
    title = "Classes in the space of the codes"
    if data.spectra is None or data.cosines is None:
        return Section("classes", title, "", "")
    caption = (
        "Codes of a class should fill a few directions evenly, and be at right angles to those of the others: lines "
        "that stay high and then drop, and a map of blocks on the diagonal with nothing beside them."
    )
    count = len(data.spectra)
    lines = _chart(partial(spectra_chart, data.spectra), f"Singular values of the codes of {count} classes")
    blocks = _chart(
        partial(cosine_map, data.cosines), f"Absolute cosines of {len(data.cosines)} codes, sorted by class"
    )
    cards = _card("Singular values, a line per class", lines) + _card("Absolute cosines, sorted by class", blocks)
    return Section("classes", title, caption, f'<div class="columns">{cards}</div>')


def _coloured(maps: np.ndarray) -> np.ndarray:
    """Signed values [n, H, W, C] as colours on black [n, H, W, 3]."""
    value = np.asarray(maps, np.float64).mean(axis=-1, keepdims=True)
    value = value / max(float(np.abs(value).max()), 1e-12)
    return np.maximum(value, 0) * np.array([1.0, 0.45, 0.25]) + np.maximum(-value, 0) * np.array([0.3, 0.6, 1.0])


def _traversals(data: ReportData) -> Section:
    title, count = "Latent traversals", min(len(data.traversals), MOST_LATENTS)
    if not data.traversals.size:
        return Section("traversals", title, "", "")
    caption = (
        f"{_latents_shown(data)}: one example decoded with the latent of the row set to the value above the column; in "
        "a good row one factor changes steadily from left to right."
    )
    if data.by_quantile:
        caption += " Values are quantiles of the latent over the examples."
    headers = _value_names(data)
    picture = image_rows(data.traversals[:count], _labels(data)[:count], headers)
    alt = f"Traversals of {count} latents from {_span(data)}: {_carried(data)}"
    return Section(
        "traversals", title, caption, f'<div class="card canvas wide">{_picture(embed(picture), alt, 2)}</div>'
    )


def _latents(data: ReportData) -> Section:
    if not len(data.kl_per_latent):
        return Section("latents", "What the latents carry", "", "")
    caption = "A good model uses about as many latents as the data has factors and leaves the rest near zero"
    order = np.asarray(data.latent_order, int)
    sizes, unit = _sizes(data)
    sizes = sizes[order]
    active = [not label.dim for label in _labels(data)]
    names = [f"z{index} · {factor}" if factor else f"z{index}" for index, factor in _latents_and_factors(data)]
    alt = f"{unit.axis}: " + ", ".join(f"z{i} {value:.2f}" for i, value in zip(order, sizes, strict=True))
    cards = [_card(unit.title, _chart(partial(latent_chart, sizes, names, active, unit.axis), alt))]
    if data.mutual_information is not None and data.factor_names and data.factor_entropy is not None:
        share = _information_share(data.mutual_information, data.factor_entropy)[order]
        rows, columns = [f"z{index}" for index in order], list(data.factor_names)
        best = (
            f"{name} in z{order[int(np.argmax(share[:, k]))]} ({share[:, k].max():.2f})"
            for k, name in enumerate(columns)
            if np.isfinite(share[:, k]).all()
        )
        chart = _chart(
            partial(heat_map, share, rows, columns),
            f"Mutual information of latents and factors over the factor's entropy; largest: {', '.join(best)}",
        )
        caption += (
            ". The map is of posterior means, without their noise: even a latent that carries nothing can tell of a "
            "factor by its mean. Good is one strong cell per column with nothing beside it in its row"
        )
        cards.append(_card("Mutual information / factor entropy", chart))
    importance = np.array(data.scores.get("dci", {}).get("importance", []), float)
    if importance.size and data.factor_names:
        rows, columns = [f"z{index}" for index in order], list(data.factor_names)
        alt = f"Importance of latents for factors in {data.scores['dci']['definition']}"
        cards.append(_card("DCI importance", _chart(partial(heat_map, importance[order], rows, columns), alt)))
    layout = "columns" if len(data.factor_names or ()) <= MOST_FACTORS_BESIDE else "stack"
    return Section("latents", "What the latents carry", f"{caption}.", f'<div class="{layout}">{"".join(cards)}</div>')


def _prior(data: ReportData) -> Section:
    title = "Samples from the prior"
    if not len(data.prior_samples):
        return Section("prior", title, "", "")
    caption = (
        "Images decoded from random codes: they should be as sharp and as varied as the data; implausible ones show "
        "that the codes of the data leave holes in the prior."
    )
    alt = f"{len(data.prior_samples)} images decoded from random codes"
    picture = _picture(embed(image_grid(data.prior_samples)), alt, 1.5)
    return Section("prior", title, caption, f'<div class="card canvas">{picture}</div>')


def _training(data: ReportData) -> Section:
    caption = (
        "Means over logging intervals with the last one at the right, in nats per image unless the name says "
        "otherwise, against the number of updates: good curves have levelled off by the end and do not jump. A total "
        "correlation that is estimated from batches is biased and may be below 0."
    )
    panels = [
        _card(
            f"{escape(term.replace('_', ' '))} <small>{_last_value(data, term)}</small>",
            _chart(partial(curve, data.history, term), f"{term} against the training step"),
        )
        for term in logged_terms(data.history)
    ]
    return Section("training", "Training", caption, f'<div class="panels">{"".join(panels)}</div>' if panels else "")


def _configuration(data: ReportData) -> Section:
    text = json.dumps(data.config, indent=2, default=str, ensure_ascii=False)
    body = f"<details><summary>Every setting</summary><pre>{escape(text)}</pre></details>" if data.config else ""
    return Section("configuration", "Configuration", "", f'<div class="card">{body}</div>' if body else "")


def _reproduce(data: ReportData) -> Section:
    versions = " · ".join(f"{escape(name)} {escape(version)}" for name, version in data.versions.items())
    commands = f'<div class="card"><pre><code>{escape(data.reproduce)}</code></pre></div>' if data.reproduce else ""
    used = f'<p class="versions">{versions}</p>' if versions else ""
    return Section("reproduce", "Reproduce", "", commands + used)


def _last_value(data: ReportData, term: str) -> str:
    values = term_values(data.history, term)
    finite = values[np.isfinite(values)]
    return f"{finite[-1]:.4g}" if finite.size else "never finite"


def _latents_and_factors(data: ReportData) -> list[tuple[int, str | None]]:
    return list(zip((int(index) for index in data.latent_order), data.latent_factor, strict=True))


def _sizes(data: ReportData) -> tuple[np.ndarray, Unit]:
    """Of latents 0..D-1, in the unit that says something of them."""
    if data.change_per_latent is None:
        return np.asarray(data.kl_per_latent), NATS
    return 100 * np.asarray(data.change_per_latent), PERCENT


def _labels(data: ReportData) -> list[Label]:
    """Of the latents in `latent_order`: by factor where factors are known, else by index."""
    labels = []
    sizes, unit = _sizes(data)
    for index, factor in _latents_and_factors(data):
        size = f"{sizes[index]:.2f} {unit.name}"
        if data.factor_names:
            labels.append(Label(factor or "unused", f"z{index} · {size}", dim=factor is None))
        else:
            labels.append(Label(f"z{index}", size))
    return labels


def _latents_shown(data: ReportData) -> str:
    total = len(data.traversals)
    if total == 1:
        return "The only latent"
    return (
        f"All {total} latents" if total <= MOST_LATENTS else f"The {MOST_LATENTS} most informative of {total} latents"
    )


def _span(data: ReportData) -> str:
    names = _value_names(data)
    return f"{names[0]} to {names[-1]}"


def _value_names(data: ReportData) -> list[str]:
    if data.by_quantile:
        return [f"{100 * value:.0f} %" for value in data.traversal_values]
    return [signed(value) for value in data.traversal_values]


def _carried(data: ReportData) -> str:
    shown = _latents_and_factors(data)[:MOST_LATENTS]
    return ", ".join(f"z{index} {factor}" if factor else f"z{index}" for index, factor in shown)


def _information_share(information: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """[D, K] over [K]; NaN for a factor without entropy."""
    entropy = np.asarray(entropy, float)
    return np.asarray(information, float) / np.where(entropy > 0, entropy, np.nan)


def _per_factor(result: Mapping[str, Any], factor_names: Sequence[str] | None) -> str:
    values = result.get("per_factor")
    if values is None or factor_names is None or len(values) != len(factor_names):
        return ""
    items = "".join(
        f"<li>{escape(name)} <b>{shown_score(math.nan if value is None else value)}</b></li>"
        for name, value in zip(factor_names, values, strict=True)
    )
    return f"<ul>{items}</ul>"


def _warnings(result: Mapping[str, Any]) -> str:
    return "".join(f'<p class="warning">{escape(text)}</p>' for text in result.get("warnings", ()))


def _card(title: str, content: str) -> str:
    return f'<div class="card"><h3>{title}</h3>{content}</div>'


def _chart(draw: Callable[[Theme], Image.Image], alt: str) -> str:
    return _picture(embed(draw(LIGHT)), alt, 2, {"(prefers-color-scheme: dark)": embed(draw(DARK))})


def _picture(image: Embedded, alt: str, density: float, instead: Mapping[str, Embedded] | None = None) -> str:
    """An image with `density` pixels per CSS pixel; `instead`: other files for browsers that match a media query."""
    sources = "".join(
        f'<source media="{escape(query)}" srcset="{other.uri}">' for query, other in (instead or {}).items()
    )
    width, height = round(image.width / density), round(image.height / density)
    size = f'width="{width}" height="{height}" style="--natural: {width}px"'
    return f'<picture>{sources}<img src="{image.uri}" alt="{escape(alt)}" {size}></picture>'
