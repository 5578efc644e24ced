"""Parts of a page: sections, which hold texts, numbers, pictures and charts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from jaxvae.report.encoding import Embedded, embed
from jaxvae.report.figures import DARK, LIGHT, Theme


class Picture(NamedTuple):
    """A picture of the page."""

    image: Embedded
    alt: str
    density: float
    """Pixels per CSS pixel."""
    instead: Mapping[str, Embedded] = {}
    """Alternative pictures by media query, for browsers that match it."""


class Card(NamedTuple):
    """A chart with a heading."""

    title: str
    picture: Picture
    value: str = ""


class Slider(NamedTuple):
    """Pictures of a latent at several values, of which a slider shows one."""

    name: str
    detail: str
    strip: Picture
    """The pictures side by side, all of one width."""
    values: Sequence[str]
    """The value of each picture, in words without "|"."""


class Grid(NamedTuple):
    """A table of texts with a line of names."""

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    """A text for each name; the first one names the row."""


class Section(NamedTuple):
    """A part of the page: texts, pictures and numbers, in the order of these fields. Empty fields are not shown."""

    anchor: str
    title: str
    about: str = ""
    caption: str = ""
    picture: Picture | None = None
    wide: bool = True
    """Whether `picture` keeps a minimum width on narrow screens, where it then scrolls."""
    layout: str = ""
    """CSS class of the container of `cards`."""
    cards: Sequence[Card] = ()
    sliders: Sequence[Slider] = ()
    scores: Mapping[str, Mapping[str, Any]] = {}
    grid: Grid | None = None
    settings: str = ""
    commands: str = ""
    versions: str = ""


def chart(draw: Callable[[Theme], Image.Image], alt: str) -> Picture:
    """Draws a chart for light and for dark pages."""
    return Picture(embed(draw(LIGHT)), alt, 2, {"(prefers-color-scheme: dark)": embed(draw(DARK))})
