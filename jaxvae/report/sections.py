"""Sections of a run's page: the texts, numbers and pictures that its template shows."""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxvae.report.clusters import clusters_section
from jaxvae.report.data import MOST_CHARTED, MOST_LATENTS, ReportData
from jaxvae.report.encoding import PICTURE_BYTES, embed
from jaxvae.report.figures import (
    SCORE,
    VALIDATION,
    cosine_map,
    curve,
    heat_map,
    latent_chart,
    logged_scores,
    logged_terms,
    spectra_chart,
    term_values,
)
from jaxvae.report.loadings import loadings_section
from jaxvae.report.parts import Card, Picture, Section, Slider, chart
from jaxvae.report.pictures import Label, comparison, image_grid, image_rows, signed, strip
from jaxvae.report.series import series_section, series_traversals
from jaxvae.report.splits import splits_section
from jaxvae.report.tables import caps_in_words, effects_chart, fit_chart, planes_section
from jaxvae.runs.latents import ACTIVE_CHANGE
from jaxvae.runs.score import ACTIVE_KL

MOST_FACTORS_BESIDE = 8
"""Largest number of factors in the heat map that leaves room for the KL chart beside it."""


class Unit(NamedTuple):
    """Unit of the size of a latent."""

    name: str
    title: str
    axis: str


NATS = Unit("nats", "KL of each latent", "KL to a standard normal, nats")
PERCENT = Unit("%", "What each latent changes", "change of a pixel by another example's value, % of its range")
PERCENT_OF_ROW = PERCENT._replace(axis="change of a column by another row's value, % of its range")


def sections(data: ReportData) -> list[Section]:
    """Returns all sections that have something to show, in reading order."""
    builders: tuple[Callable[[ReportData], Section | None], ...] = (
        _sliders,
        _scores,
        _data,
        lambda data: planes_section(data.of_columns),
        lambda data: clusters_section(data.of_clusters),
        _columns,
        lambda data: series_section(data.of_series),
        lambda data: series_traversals(data.of_series),
        lambda data: loadings_section(data.loadings, data.latent_order),
        lambda data: splits_section(data.of_splits),
        _drawn,
        _classes,
        _traversals,
        _latents,
        _prior,
        _training,
        _scored,
        _configuration,
        _reproduce,
    )
    return [section for build in builders if (section := build(data)) is not None]


def shown_score(score: float | None) -> str:
    """Formats a score with three digits after the decimal point, or as a dash if it is undefined."""
    return "–" if score is None or not math.isfinite(score) else f"{score:.3f}"


def shown_metric(name: str) -> str:
    """Formats a metric's name for prose, with abbreviations in capitals."""
    return name.upper() if len(name) <= 4 else name.replace("_", " ").replace("-", " ")


def _sliders(data: ReportData) -> Section | None:
    if not data.traversals.size:
        return None
    labels, names, active = _labels(data), _value_names(data), _active(data)
    shown = active or range(min(len(data.traversals), MOST_LATENTS))
    caption = (
        f"One example, decoded in advance with one latent at {len(names)} values from {_span(data)}: a disentangled "
        "latent changes one thing about the image and nothing else."
    )
    if len(shown) < len(data.latent_order):
        which = "active latents" if active else "latents, none of which is active"
        caption += f" The sliders are those of the {len(shown)} most informative {which}, of {len(data.latent_order)}."
    sliders = []
    for k in shown:
        image, density = strip(data.traversals[k])
        alt = f"z{data.latent_order[k]} from {_span(data)}, {len(names)} pictures from left to right"
        picture = Picture(embed(image, PICTURE_BYTES // len(shown)), alt, density)
        sliders.append(Slider(labels[k].name, labels[k].detail, picture, names))
    return Section("sliders", "What each latent does", caption=caption, sliders=sliders)


def _scores(data: ReportData) -> Section | None:
    caption = (
        "Of posterior means; scores.json has those of samples too. Each with the definition it was computed by: the "
        "same name stands for several in the literature. Higher is better, but for dependence between latents (total "
        "correlation, Wasserstein correlation, mutual information), where 0 is none, and the support, where 1 is best."
    )
    return Section("scores", "Scores", caption=caption, scores=data.scores) if data.scores else None


def _data(data: ReportData) -> Section | None:
    section = Section("data", "Data", about=data.about_data)
    if not len(data.images):
        return section if data.about_data else None
    if not len(data.reconstructions):
        alt = f"{len(data.images)} examples of the data"
        return section._replace(picture=Picture(embed(image_grid(data.images)), alt, 1.5))
    caption = (
        "Examples with the model's reconstruction below each: a good one keeps the shape, the angle and the place, "
        "and is no more than a little soft at the edges."
    )
    alt = f"{len(data.images)} examples of the data, each above its reconstruction"
    picture = Picture(embed(comparison(data.images, data.reconstructions)), alt, 1.5)
    return section._replace(title="Data and reconstructions", caption=caption, picture=picture)


def _drawn(data: ReportData) -> Section | None:
    if not data.pictures:
        return None
    caption = "Examples in the first row, and below each of them what the method is about"
    if any(name.endswith("map") for name in data.pictures):
        caption += "; in a map, red is added and blue is taken away, the strongest value of the row in full colour"
    if data.map_correlation is not None:
        caption += f". Correlation of what is taken away with the known effect: {data.map_correlation:.2f} on average"
    rows = [coloured(images) if name.endswith("map") else images for name, images in data.pictures.items()]
    rows = [np.broadcast_to(images, (*images.shape[:3], 3)) for images in rows]
    image = embed(image_rows(np.stack(rows), [Label(name) for name in data.pictures]))
    picture = Picture(image, f"{len(rows[0])} examples in rows: {', '.join(data.pictures)}", 1.5)
    return Section("drawn", "What the model makes of images", caption=f"{caption}.", picture=picture)


def _columns(data: ReportData) -> Section | None:
    if data.of_columns is None:
        return None
    effects, columns = data.of_columns.effects, data.of_columns.columns
    latents = [int(d) for d in data.latent_order[:MOST_LATENTS]]
    caption = (
        "Change of a column when one latent moves from its 5 % to its 95 % quantile and the others stay at their "
        "means, in standard deviations of the column (of its logarithm for counts): red is up, blue is down. Beside "
        "it, the share of each column's variance that the reconstruction explains, or of its values that it gets right."
        f"{caps_in_words(data.of_columns)}"
    )
    told = "; ".join(f"z{d} changes {columns[int(np.abs(effects[d]).argmax())]} most" for d in latents)
    fit = data.of_columns.fit
    cards = [
        Card("What each latent changes", chart(partial(effects_chart, data.of_columns, latents), told)),
        Card("Reconstruction of each column", chart(fit_chart(data.of_columns), f"mean {np.nanmean(fit):.2f}")),
    ]
    return Section("columns", "Latents and columns", caption=caption, layout="columns", cards=cards)


def _classes(data: ReportData) -> Section | None:
    if data.spectra is None or data.cosines is None:
        return None
    caption = (
        "Codes of a class should fill a few directions evenly, and be at right angles to those of the others: lines "
        "that stay high and then drop, and a map of blocks on the diagonal with nothing beside them."
    )
    lines = f"Singular values of the codes of {len(data.spectra)} classes"
    blocks = f"Absolute cosines of {len(data.cosines)} codes, sorted by class"
    cards = [
        Card("Singular values, a line per class", chart(partial(spectra_chart, data.spectra), lines)),
        Card("Absolute cosines, sorted by class", chart(partial(cosine_map, data.cosines), blocks)),
    ]
    return Section("classes", "Classes in the space of the codes", caption=caption, layout="columns", cards=cards)


def coloured(maps: np.ndarray) -> np.ndarray:
    """Converts signed values [n, H, W, C] to colours on black [n, H, W, 3]."""
    value = np.asarray(maps, np.float64).mean(axis=-1, keepdims=True)
    value = value / max(float(np.abs(value).max()), 1e-12)
    return np.maximum(value, 0) * np.array([1.0, 0.45, 0.25]) + np.maximum(-value, 0) * np.array([0.3, 0.6, 1.0])


def _traversals(data: ReportData) -> Section | None:
    if not data.traversals.size:
        return None
    count = min(len(data.traversals), MOST_LATENTS)
    caption = (
        f"{_latents_shown(data)}: one example decoded with the latent of the row set to the value above the column; in "
        "a good row one factor changes steadily from left to right."
    )
    if data.by_quantile:
        caption += " Values are quantiles of the latent over the examples."
    image = embed(image_rows(data.traversals[:count], _labels(data)[:count], _value_names(data)))
    picture = Picture(image, f"Traversals of {count} latents from {_span(data)}: {_carried(data)}", 2)
    return Section("traversals", "Latent traversals", caption=caption, picture=picture)


def _latents(data: ReportData) -> Section | None:
    if not len(data.kl_per_latent):
        return None
    caption = "A good model uses about as many latents as the data has factors and leaves the rest near zero"
    order, factors = np.asarray(data.latent_order, int)[:MOST_CHARTED], data.factor_names or ()
    sizes, unit = _sizes(data)
    sizes = sizes[order]
    active = [not label.dim for label in _labels(data)[:MOST_CHARTED]]
    named = _latents_and_factors(data)[:MOST_CHARTED]
    names = [f"z{index} · {factor}" if factor else f"z{index}" for index, factor in named]
    rows, columns = [f"z{index}" for index in order], list(factors[:MOST_CHARTED])
    alt = f"{unit.axis}: " + ", ".join(f"{name} {value:.2f}" for name, value in zip(rows, sizes, strict=True))
    cards = [Card(unit.title, chart(partial(latent_chart, sizes, names, active, unit.axis), alt))]
    if data.mutual_information is not None and columns and data.factor_entropy is not None:
        share = _information_share(data.mutual_information, data.factor_entropy)[order, : len(columns)]
        best = (
            f"{name} in {rows[int(np.argmax(share[:, k]))]} ({share[:, k].max():.2f})"
            for k, name in enumerate(columns)
            if np.isfinite(share[:, k]).all()
        )
        alt = f"Mutual information of latents and factors over the factor's entropy; largest: {', '.join(best)}"
        caption += (
            ". The map is of posterior means, without their noise: even a latent that carries nothing can tell of a "
            "factor by its mean. Good is one strong cell per column with nothing beside it in its row"
        )
        information = chart(partial(heat_map, share, rows, columns), alt)
        cards.append(Card("Mutual information / factor entropy", information))
    importance = np.array(data.scores.get("dci", {}).get("importance", []), float)
    if importance.size and columns:
        alt = f"Importance of latents for factors in {data.scores['dci']['definition']}"
        shown = importance[order, : len(columns)]
        cards.append(Card("DCI importance", chart(partial(heat_map, shown, rows, columns), alt)))
    if len(data.latent_order) > len(rows) or len(factors) > len(columns):
        caption += f". Charted are the {len(rows)} most informative of {len(data.latent_order)} latents"
        caption += f" and the first {len(columns)} of {len(factors)} factors" if len(factors) > len(columns) else ""
    layout = "columns" if len(columns) <= MOST_FACTORS_BESIDE else "stack"
    return Section("latents", "What the latents carry", caption=f"{caption}.", layout=layout, cards=cards)


def _prior(data: ReportData) -> Section | None:
    if not len(data.prior_samples):
        return None
    caption = (
        "Images decoded from random codes: they should be as sharp and as varied as the data; implausible ones show "
        "that the codes of the data leave holes in the prior."
    )
    alt = f"{len(data.prior_samples)} images decoded from random codes"
    picture = Picture(embed(image_grid(data.prior_samples)), alt, 1.5)
    return Section("prior", "Samples from the prior", caption=caption, picture=picture, wide=False)


def _training(data: ReportData) -> Section | None:
    caption = (
        f"Means over logging intervals with the last one at the right, in nats per {data.things[:-1]} unless the name "
        "says otherwise, against the number of updates: good curves have levelled off by the end and do not jump. A "
        "total correlation that is estimated from batches is biased and may be below 0."
    )
    if any(name.startswith(VALIDATION) for row in data.history for name in row):
        caption += (
            " Dashed lines are of the validation examples, with all weights as at the end of a warmup: where they rise "
            "while the others fall, the model overfits."
        )
    cards = [
        Card(
            term.replace("_", " "),
            chart(partial(curve, data.history, term), f"{term} against the training step"),
            _last_value(data, term),
        )
        for term in logged_terms(data.history)
    ]
    return Section("training", "Training", caption=caption, layout="panels", cards=cards) if cards else None


def _scored(data: ReportData) -> Section | None:
    names = logged_scores(data.history)
    if not names:
        return None
    caption = (
        "Metrics of the posterior means of at most 2,000 examples, always the same ones, against the training step, "
        "with the last one at the right. The scores of the report may be of more examples, and then differ."
    )
    cards = []
    for name in names:
        rows = [row for row in data.history if name in row]
        shown = shown_metric(name.removeprefix(SCORE))
        picture = chart(partial(curve, rows, name), f"{shown} against the training step")
        cards.append(Card(shown, picture, _last_value(data, name)))
    return Section("scores-in-training", "Scores during training", caption=caption, layout="panels", cards=cards)


def _configuration(data: ReportData) -> Section | None:
    text = json.dumps(data.config, indent=2, default=str, ensure_ascii=False)
    return Section("configuration", "Configuration", settings=text) if data.config else None


def _reproduce(data: ReportData) -> Section | None:
    versions = " · ".join(f"{name} {version}" for name, version in data.versions.items())
    section = Section("reproduce", "Reproduce", commands=data.reproduce, versions=versions)
    return section if data.reproduce or versions else None


def _last_value(data: ReportData, term: str) -> str:
    values, validated = (term_values(data.history, name) for name in (term, VALIDATION + term))
    finite, there = values[np.isfinite(values)], validated[np.isfinite(validated)]
    last = f"{finite[-1]:.4g}" if finite.size else "never finite"
    return f"{last}, validation {there[-1]:.4g}" if there.size else last


def _latents_and_factors(data: ReportData) -> list[tuple[int, str | None]]:
    return list(zip((int(index) for index in data.latent_order), data.latent_factor, strict=True))


def _sizes(data: ReportData) -> tuple[np.ndarray, Unit]:
    """Returns the sizes of latents 0..D-1, and their unit: the KL in nats, or the change of the example in percent."""
    if data.change_per_latent is None:
        return np.asarray(data.kl_per_latent), NATS
    return 100 * np.asarray(data.change_per_latent), PERCENT if data.things == "images" else PERCENT_OF_ROW


def _labels(data: ReportData) -> list[Label]:
    """Returns the labels of the latents in `latent_order`, by factor if factors are known, otherwise by index."""
    labels = []
    sizes, unit = _sizes(data)
    for index, factor in _latents_and_factors(data):
        size = f"{sizes[index]:.2f} {unit.name}"
        if data.factor_names:
            labels.append(Label(factor or "unused", f"z{index} · {size}", dim=factor is None))
        else:
            labels.append(Label(f"z{index}", size))
    return labels


def _active(data: ReportData) -> list[int]:
    """Returns the places in `latent_order` of the active latents that have a traversal."""
    places = range(min(len(data.traversals), MOST_LATENTS))
    if any(data.latent_factor):
        return [k for k in places if data.latent_factor[k] is not None]
    sizes, unit = _sizes(data)
    least = ACTIVE_KL if unit is NATS else ACTIVE_CHANGE * sizes.max(initial=0)
    return [k for k in places if sizes[data.latent_order[k]] > least]


def _latents_shown(data: ReportData) -> str:
    total = len(data.latent_order)
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
    """Divides the information [D, K] by the entropy of each factor [K]; NaN for a factor without entropy."""
    entropy = np.asarray(entropy, float)
    return np.asarray(information, float) / np.where(entropy > 0, entropy, np.nan)
