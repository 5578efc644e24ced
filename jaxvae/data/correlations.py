"""Training data with correlated factors: pairs of factors that tend to have the same, or opposite, relative values."""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.choose import near
from jaxvae.data.source import GroundTruth, Source, Wrapper
from jaxvae.streams import Stream

G = TypeVar("G", bound=GroundTruth)
EVERY = "*"
"""Stands for all other factors, of which one factor is then the confounder."""


class Tie(NamedTuple):
    """Two correlated factors."""

    factor: str
    other: str
    inverse: bool = False
    """Whether large values of one go with small values of the other."""


NAMED: dict[str, str] = {
    "shapes3d-single-1": "floor_hue~wall_hue",
    "shapes3d-single-2": "shape~scale",
    "shapes3d-single-3": "shape~wall_hue",
    "shapes3d-single-4": "shape~object_hue",
    "shapes3d-double-1": "scale~floor_hue,shape~wall_hue",
    "shapes3d-double-2": "scale~shape,floor_hue~wall_hue",
    "shapes3d-double-3": "shape~object_hue,shape~scale",
    "shapes3d-triple-1": "scale~orientation,shape~wall_hue,object_hue~floor_hue",
    "shapes3d-triple-2": "object_hue~orientation,shape~scale,floor_hue~wall_hue",
    "shapes3d-conf-1": "shape~*",
    "shapes3d-conf-2": "wall_hue~*",
    "mpi3d-single-1": "camera_height~background",
    "mpi3d-single-2": "object_color~object_size",
    "mpi3d-single-3": "horizontal~vertical",
    "mpi3d-double-1": "object_color~object_shape,horizontal~vertical",
    "mpi3d-double-2": "object_color~horizontal,object_shape~vertical",
    "mpi3d-triple-1": "object_color~background,camera_height~horizontal,object_shape~vertical",
    "mpi3d-triple-2": "object_color~object_shape,horizontal~vertical,background~camera_height",
    "mpi3d-conf-1": "object_shape~*",
    "mpi3d-conf-2": "horizontal~*",
    "dsprites-single-1": "shape~scale",
    "dsprites-single-2": "x~y",
    "dsprites-single-3": "shape~y",
    "dsprites-double-1": "shape~x,scale~y",
    "dsprites-double-2": "shape~scale,x~y",
    "dsprites-conf-1": "shape~*",
    "dsprites-conf-2": "x~*",
    "cars3d-single-1": "elevation~azimuth",
    "cars3d-single-2": "elevation~object",
    "cars3d-single-3": "azimuth~object",
    "cars3d-conf-1": "elevation~*",
    "cars3d-conf-2": "azimuth~*",
    "cars3d-conf-3": "object~*",
}
"""Sets of correlations of Roth et al. (2023), by the names of their code with dashes and without its sigma, in the form
of `correlated_pairs`."""


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["ties", "sigma"])
@dataclass(frozen=True)
class CorrelatedPairs(Wrapper[G]):
    """A source whose random examples have several correlated pairs of factors (Roth et al., 2023).

    With every factor on a scale from 0 to 1, by its index over its number of values minus 1, the probability of values
    a and b of a pair is proportional to exp(-(a - b)^2 / (2 sigma^2)), or exp(-(a - (1 - b))^2 / (2 sigma^2)) of an
    inverse pair. Several pairs multiply, and other factors stay uniform and independent. sigma = 0.4 is a weak
    correlation, 0.1 a strong one, and 0.04 nearly determines one factor by the other.

    Random examples are correlated; examples by index (`at`), and thus those that a run is scored on, are the full grid.
    """

    source: G
    ties: tuple[Tie, ...]
    """Correlated pairs. They may share factors, but not form a circle."""
    sigma: float
    """Standard deviation of the difference of the two factors, on their scale from 0 to 1."""

    def __post_init__(self) -> None:
        names = self.source.factor_names
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma of a correlation must be a positive number, got {self.sigma}")
        group = {name: name for name in names}
        for tie in self.ties:
            for name in tie[:2]:
                if name not in names:
                    raise ValueError(f"{self.source.name} has no factor {name!r}; there are {', '.join(names)}")
            one, other = group[tie.factor], group[tie.other]
            if one == other:
                raise ValueError(f"correlated pairs form a circle at {tie.factor} and {tie.other}: leave out one pair")
            group = {name: one if of == other else of for name, of in group.items()}

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        return self.source.render(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples factors, as in `GroundTruth`, with the correlations."""
        factors, names = self.source.sample_factors(key, n, first), self.factor_names
        draw_key = jax.random.fold_in(key, Stream.CORRELATION)
        for number, (child, parent, table) in enumerate(self._conditionals()):
            log_p = jnp.asarray(table)
            if parent is not None:
                log_p = log_p[factors[:, names.index(parent)]]
            else:
                log_p = jnp.broadcast_to(log_p[None], (n, len(table)))

            def draw(place: jax.Array, row: jax.Array, number: int = number) -> jax.Array:
                return jax.random.categorical(jax.random.fold_in(jax.random.fold_in(draw_key, place), number), row)

            drawn = jax.vmap(draw)(first + jnp.arange(n), log_p)
            factors = factors.at[:, names.index(child)].set(drawn.astype(factors.dtype))
        return factors

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        factors = self.sample_factors(key, n, first)
        return {"x": self.render(factors), "factors": factors}

    def _conditionals(self) -> list[tuple[str, str | None, np.ndarray]]:
        """Returns every tied factor after the one that it depends on, that one (None for the first of a tree of pairs),
        and log-probabilities [values of that one, values], or [values].
        """
        sizes = dict(zip(self.factor_names, self.factor_sizes, strict=True))
        neighbours: dict[str, list[tuple[str, np.ndarray]]] = {}
        for one, other, inverse in self.ties:
            a, b = (np.arange(sizes[name]) / max(1, sizes[name] - 1) for name in (one, other))
            log_p = -((a[:, None] - (1 - b if inverse else b)[None, :]) ** 2) / (2 * self.sigma**2)
            neighbours.setdefault(one, []).append((other, log_p))
            neighbours.setdefault(other, []).append((one, log_p.T))
        seen: set[str] = set()
        found: list[tuple[str, str | None, np.ndarray]] = []

        def weight_below(name: str, parent: str | None) -> np.ndarray:
            """Log of the sum, over the factors below, of the products of their pairs, by value of this factor."""
            total = np.zeros(sizes[name])
            for child, log_p in neighbours[name]:
                if child != parent:
                    total += np.logaddexp.reduce(log_p + weight_below(child, name)[None, :], axis=1)
            return total

        def visit(name: str, parent: str | None, log_p: np.ndarray) -> None:
            seen.add(name)
            found.append((name, parent, np.asarray(log_p + weight_below(name, parent), np.float32)))
            for child, between in neighbours[name]:
                if child != parent:
                    visit(child, name, between)

        for name in neighbours:
            if name not in seen:
                visit(name, None, np.zeros(sizes[name]))
        return found


def correlated_pairs(source: Source, asked: str) -> CorrelatedPairs[GroundTruth]:
    """Returns a source with correlations that are written as on the command line.

    Args:
      source: Source with known factors of which all combinations exist.
      asked: PAIRS:SIGMA, where PAIRS is a key of `NAMED`, or pairs such as "scale~shape,floor_hue~wall_hue". "!" stands
        before the second factor of an inverse pair ("scale~!shape"), and "*" for all other factors, of which the first
        is the confounder ("shape~*").

    Raises:
      ValueError: The text has another form, a factor does not exist, or the source does not draw its examples by
        factors. The message is one line.
    """
    if not isinstance(source, GroundTruth) or not source.factor_names or not getattr(source, "is_grid", True):
        raise ValueError(f"--correlation draws images by their factors, and {source.name} cannot: choose other data")
    pairs, colon, text = asked.rpartition(":")
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not colon or math.isnan(sigma):
        example = f"scale~shape:0.1 or {next(iter(NAMED))}:0.1"
        raise ValueError(f"--correlation takes PAIRS:SIGMA, such as {example}; got {asked!r}")
    if "~" not in pairs and pairs not in NAMED:
        nearest = near(pairs, NAMED)
        hint = f": did you mean {nearest!r}?" if nearest else f"; there are {', '.join(NAMED)}, and pairs such as a~b"
        raise ValueError(f"unknown correlation {pairs!r}{hint}")
    words = NAMED.get(pairs, pairs).split(",")
    ties = tuple(tie for word in words for tie in _ties(word, source.factor_names))
    return CorrelatedPairs(source, ties, sigma)


def _ties(word: str, names: tuple[str, ...]) -> list[Tie]:
    factor, _, other = word.strip().partition("~")
    inverse, other = other.startswith("!"), other.removeprefix("!")
    others = [name for name in names if name != factor] if other == EVERY else [other]
    return [Tie(factor, name, inverse) for name in others]
