"""What the explorer shows of a run: latents, codes of examples, and examples of codes."""

import base64
import io
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis import Representation
from jaxvae.data import origin_of
from jaxvae.data.pictures import picture_of_bytes
from jaxvae.explorer.decoding import BATCHES, Decoder, Rows
from jaxvae.explorer.values import examples_of, fitted, in_view, levels, prior_codes, rounded, short
from jaxvae.files import printable
from jaxvae.method import Nets, no_code
from jaxvae.methods.autoencoding import POINT_LOGVAR
from jaxvae.report.encoding import gif
from jaxvae.report.pictures import FRAME_MILLISECONDS, Label, back_and_forth, image_rows, traversal_frames
from jaxvae.report.tables import by_column
from jaxvae.runs.absent import NoExamples
from jaxvae.runs.encode import clusters_of
from jaxvae.runs.latents import latents_by_size
from jaxvae.runs.load import Run
from jaxvae.runs.score import known_factors, represent, score_arrays
from jaxvae.schema import schema_of

NUM_SAMPLES = 2000
"""Number of examples that can be chosen and are points of the scatter plot."""
STEPS = 60
"""Number of steps of a slider."""
PRIOR_REACH = 3.0
"""Least distance in standard deviations of the prior that the slider of a latent with a posterior reaches."""
MOST_PIXELS = 32_000_000
"""Largest number of pixels of a user's own picture."""
MOST_CODE = 1e6
"""Largest absolute value of a latent."""
MOST_BARS = 16
"""Number of columns of a table whose changes are drawn."""
MOST_LINES = 5
"""Number of values of a series that are drawn."""
MOST_CELLS = 400_000
"""Largest number of latents times examples that are sent to the page."""
DRAWN = 8
"""Number of examples of a method's own pictures."""
Kind = Literal["pictures", "table", "series", "none"]


class Explorer:
    """A run as the page of the explorer asks for it. Its methods can be called from several threads."""

    def __init__(self, run: Run, num_samples: int = NUM_SAMPLES):
        """Encodes examples of the run's data. If the data is unavailable, codes are drawn from the prior and decoded.

        Raises:
          ValueError: The data is unavailable and the method's prior or decoder needs it, or `num_samples` is less than
            2.
        """
        if num_samples < 2:
            raise ValueError(f"--num-samples must be at least 2, got {num_samples}")
        self.run = run
        self.missing_data = ""
        """Reason why the data is unavailable; empty if it is there."""
        self._lock = threading.Lock()
        try:
            codes = represent(run, num_samples)
        except NoExamples as reason:
            self._imagine(num_samples, reason)
            return
        count = min(len(codes.mean), max(2, MOST_CELLS // max(1, codes.mean.shape[1])))
        factors = None if codes.factors is None else codes.factors[:count]
        self.codes = Representation(codes.mean[:count], codes.logvar[:count], factors)
        batch = examples_of(run, count)
        self.examples = batch["x"]
        """Examples of the codes, float32 [n, *event_shape]."""
        self._decoded = Decoder(run, batch, self._lock)
        factors = known_factors(run.source, codes.factors)
        known = score_arrays(codes.mean, None, factors, ["mig"] if self.encodes else [])
        self.latents = latents_by_size(run, codes, known["metrics"].get("mig", {}))

    def _imagine(self, count: int, reason: NoExamples) -> None:
        """Draws codes from the prior, and takes what they decode to as the examples."""
        run, self.missing_data = self.run, str(reason)
        zeros = np.zeros((count, *run.source.event_shape), np.float32)
        try:
            latents = int(run.encode(zeros[:1]).mean.shape[1])
            mean = prior_codes(run, run.evaluation_key, latents, {"x": jnp.asarray(zeros)})
        except ValueError as error:  # more of an example is needed
            raise reason from error
        if run.decoder is None:
            raise reason
        mean = mean[: max(2, MOST_CELLS // max(1, latents))]
        self.codes = Representation(mean, np.full_like(mean, POINT_LOGVAR), None)
        self._decoded = Decoder(run, None, self._lock)
        self.examples = self._decoded(mean)
        self.latents = latents_by_size(run, self.codes, {})

    @property
    def encodes(self) -> bool:
        """Whether the method learns a code."""
        return self.run.method.encode is not no_code and self.codes.mean.shape[1] > 0

    @property
    def decodes(self) -> bool:
        """Whether codes determine an example that can be shown."""
        return self.encodes and self.run.decoder is not None and self.kind != "none"

    @property
    def kind(self) -> Kind:
        """What an example is shown as."""
        kinds: dict[int, Kind] = {1: "table", 2: "series", 3: "pictures"}
        return kinds.get(len(self.run.source.event_shape), "none")

    @cached_property
    def takes_pictures(self) -> bool:
        """Whether a user's own picture can be encoded."""
        shape = self.run.source.event_shape
        if not self.encodes or self.kind != "pictures" or shape[2] not in (1, 3):
            return False
        try:
            self.run.encode(np.zeros((1, *shape), np.float32))
        except ValueError:  # the encoder sees more than the example
            return False
        return True

    def describe(self) -> dict[str, Any]:
        """Returns what the page needs to know, as JSON values."""
        run, kind = self.run, self.kind
        shape = run.source.event_shape
        return {
            "title": printable(f"{run.method.name} on {run.source.name}"),
            "facts": {
                "data": printable(run.data_in_words),
                "step": f"{int(run.state.step):,}" if run.method.objectives else "",
                "seed": str(run.config.seed),
                "examples shown": f"{len(self.examples):,}{', drawn from the prior' if self.missing_data else ''}",
            },
            "kind": kind,
            "shape": [*shape[:2], 1 if shape[2] == 1 else 3] if kind == "pictures" else list(shape),
            "encodes": self.encodes,
            "decodes": self.decodes,
            "takesPictures": self.takes_pictures,
            "readsExamples": self.decodes and self._decoded.reads_examples,
            "draws": run.method.pictures is not None and not self.missing_data,
            "size": "KL, nats" if self.latents.change is None else "change of the output",
            "latents": self._sliders(),
            "codes": [[short(value) for value in row] for row in self.codes.mean],
            "labels": self._labels(),
            "range": [float(np.nanmin(self.examples)), float(np.nanmax(self.examples))],
            "count": len(self.examples),
        }

    def examples_at(self, rows: Sequence[int]) -> bytes | list[Any]:
        """Returns examples by their numbers on the page, in the form of `decode`.

        Raises:
          ValueError: There is no example with one of the numbers.
        """
        if not rows or min(rows) < 0 or max(rows) >= len(self.examples):
            raise ValueError(f"examples have the numbers 0 to {len(self.examples) - 1}")
        some = self.examples[np.asarray(rows, int)]
        if self.kind == "pictures":
            return levels(some).tobytes()
        if self.kind == "series":
            return [{"lines": rounded(one[:, self._lines].T)} for one in some]
        return [{"values": self._values(one)} for one in some]

    def decode(self, codes: np.ndarray, base: np.ndarray | None = None, rows: Rows | None = None) -> bytes | list[Any]:
        """Decodes codes [B, D].

        Args:
          codes: Codes to decode.
          base: Code [D] that the rows of a table are compared with; by default, the mean code.
          rows: Numbers of the examples that the codes belong to, or None for each that belongs to none. They matter for
            decoders that read more of an example than its code, such as the library size of a cell.

        Returns:
          The pixels [B, H, W, C] of pictures as bytes, with C = 1 or 3. Otherwise, a JSON value for each code: the
          lines of a series, or the columns of a table that differ most from those of `base`.

        Raises:
          ValueError: The codes are not finite numbers [B, D], a row is not that of an example, or the method has no
            decoder.
        """
        self._check(codes, rows)
        if self.kind == "pictures":
            return levels(self._decoded(codes, rows)).tobytes()
        if self.kind == "series":
            return [{"lines": rounded(one[:, self._lines].T)} for one in self._decoded(codes, rows)]
        base = self.codes.mean.mean(axis=0) if base is None else base
        self._check(base[None])
        return self._bars(self._decoded(np.repeat(base[None], len(codes), axis=0), rows), self._decoded(codes, rows))

    def encode(self, content: bytes) -> dict[str, Any]:
        """Encodes a user's own picture after resizing it as in training.

        Args:
          content: Content of a file.

        Returns:
          The code, and the pixels of the resized picture as base64.

        Raises:
          ValueError: The run takes no pictures, or it is none that can be read.
        """
        if not self.takes_pictures:
            raise ValueError(f"{self.run.method.name} on {self.run.source.name} takes no pictures of your own")
        picture = fitted(picture_of_bytes(content, MOST_PIXELS), self.run.source.event_shape)
        with self._lock:
            code = np.asarray(self.run.encode(picture[None]).mean)[0]
        pixels = base64.b64encode(levels(picture[None]).tobytes()).decode()
        return {"code": [short(value) for value in code], "pixels": pixels}

    def draw_from_prior(self, seed: int) -> list[float]:
        """Returns a random code: from the prior of the method, or for baselines with each latent from another example.

        Raises:
          ValueError: The method learns no code.
        """
        if not self.encodes:
            raise ValueError(f"{self.run.method.name} learns no code")
        run, key = self.run, jax.random.key(seed)
        with self._lock:
            one = {"x": jnp.zeros((1, *run.source.event_shape))} if self.missing_data else run.source.sample(key, 1)
            code = prior_codes(run, key, self.codes.mean.shape[1], one)
        return [short(value) for value in code[0]]

    def animate(self, codes: np.ndarray, values: np.ndarray, name: str, rows: Rows | None = None) -> bytes:
        """Returns an animation of the pictures of codes [B, D], forth and back, as a GIF file.

        Args:
          codes: Codes of the pictures.
          values: What moves, which a mark below the pictures shows [B].
          name: Name of what moves.
          rows: Examples that the codes belong to, as for `decode`.

        Raises:
          ValueError: There are fewer than two codes, or the examples are no pictures.
        """
        if self.kind != "pictures" or len(codes) < 2 or values.shape != (len(codes),):
            raise ValueError("an animation needs at least two codes of pictures, and a value for each")
        self._check(codes, rows)
        pictures = levels(self._decoded(codes, rows)).astype(np.float32) / 255
        frames = traversal_frames(pictures[None], values, [Label(printable(name)[:60])])
        return gif(back_and_forth(frames), FRAME_MILLISECONDS)

    def drawn(self, page: int) -> bytes:
        """Returns the method's own pictures of some examples, such as maps of effects, as a PNG file.

        Raises:
          ValueError: The method has none.
        """
        run = self.run
        if run.method.pictures is None or self.missing_data:
            raise ValueError(self.missing_data or f"{run.method.name} has no pictures of its own")
        source = run.source if run.held_out is None else run.held_out.source
        with self._lock:
            batch = source.batch(run.evaluation_key, jnp.int32(page % 1000), DRAWN)
            shown = run.method.pictures(Nets(run.method.networks, run.state.params), run.evaluation_key, batch)
        rows = {"image": batch["x"], **shown}
        pictures = [in_view(np.asarray(images, np.float32), name.endswith("map")) for name, images in rows.items()]
        content = io.BytesIO()
        image_rows(np.stack(pictures), [Label(name) for name in rows]).save(content, "PNG")
        return content.getvalue()

    def warm_up(self) -> None:
        """Compiles the programs that the page needs, so that its first answers are fast."""
        if self.decodes:
            for count in BATCHES:
                self._decoded(np.zeros((count, self.codes.mean.shape[1]), np.float32))

    def _check(self, codes: np.ndarray, rows: Rows | None = None) -> None:
        latents = self.codes.mean.shape[1]
        if not self.decodes:
            raise ValueError(f"the codes of {self.run.method.name} alone make no examples")
        if codes.ndim != 2 or codes.shape[1] != latents or not 0 < len(codes) <= BATCHES[-1]:
            raise ValueError(f"codes must be 1 to {BATCHES[-1]} lists of {latents} numbers")
        if not (np.abs(codes) <= MOST_CODE).all():
            raise ValueError(f"latents must be numbers from {-MOST_CODE:g} to {MOST_CODE:g}")
        if rows is None:
            return
        known = [row for row in rows if row is not None]
        count = len(self.examples)
        if len(rows) != len(codes) or not all(type(row) is int and 0 <= row < count for row in known):
            raise ValueError(f"rows must be {len(codes)} numbers of examples, 0 to {count - 1}, or null")

    def _sliders(self) -> list[dict[str, Any]]:
        codes, latents = self.codes.mean, self.latents
        if not codes.shape[1]:
            return []
        low, high = codes.min(axis=0), codes.max(axis=0)
        whole = np.all(codes == np.rint(codes), axis=0) & (low < high)
        if (self.codes.logvar != POINT_LOGVAR).any():
            reach = np.maximum(PRIOR_REACH, np.maximum(-low, high))
            low, high = -reach, reach
        else:
            margin = np.where(whole, 0, np.maximum(0.1 * (high - low), 1e-3))
            low, high = low - margin, high + margin
        names = self._strongest_columns()
        return [
            {
                "index": int(d),
                "name": printable(f"z{d} · {latents.factors[d]}" if latents.factors[d] else f"z{d}"),
                "detail": printable(names[d]),
                "size": short(latents.sizes[d]),
                "active": bool(latents.active[d]),
                "low": short(low[d]),
                "high": short(high[d]),
                "steps": int(high[d] - low[d]) if whole[d] and high[d] - low[d] < STEPS else STEPS,
            }
            for d in latents.order
        ]

    def _strongest_columns(self) -> list[str]:
        """Describes the column of a table that each latent changes most; "" for other examples [D]."""
        latents = self.codes.mean.shape[1]
        if self.kind != "table" or not self.decodes:
            return [""] * latents
        ends = np.quantile(self.codes.mean, [0.05, 0.95], axis=0)
        moved = np.repeat(self.codes.mean.mean(axis=0)[None, None], 2 * latents, axis=0).reshape(2, latents, -1)
        for end in range(2):
            moved[end][np.diag_indices(latents)] = ends[end]
        low, high = (by_column(self._schema, self._decoded(rows.astype(np.float32))) for rows in moved)
        effects = (high - low) / self._spread
        strongest = np.abs(effects).argmax(axis=1)
        return [f"{self._columns[p]} {effects[d, p]:+.1f} sd" for d, p in enumerate(strongest)]

    def _labels(self) -> list[dict[str, Any]]:
        """Returns the factors, and the cluster where the prior is a mixture, with the names of their values."""
        source = self.run.source
        labels = []
        if self.codes.factors is not None:
            told = origin_of(source).label_values
            for k, name in enumerate(source.factor_names):
                names = list(told[k]) if k < len(told) else [str(value) for value in range(source.factor_sizes[k])]
                labels.append((name, names, self.codes.factors[:, k]))
        found = clusters_of(self.run) if self.encodes else None
        if found is not None:
            of_points = np.asarray(found.of_points(self.codes.mean))
            labels.append(("cluster", [str(c) for c in range(int(of_points.max(initial=0)) + 1)], of_points))
        return [
            {"name": printable(name), "values": [printable(value) for value in names], "of": [int(v) for v in of]}
            for name, names, of in labels
        ]

    @cached_property
    def _schema(self) -> Any:
        return schema_of(self.run.source)

    @cached_property
    def _columns(self) -> list[str]:
        width = self.run.source.event_shape[0]
        return [f"x{d}" for d in range(width)] if self._schema is None else list(self._schema.entry_names)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Standard deviation of each column over the examples, on the scale of `by_column` [P]."""
        return np.maximum(np.nanstd(by_column(self._schema, self.examples), axis=0), 1e-6)

    @cached_property
    def _lines(self) -> np.ndarray:
        """Values of a series that are drawn: those that vary most."""
        spread = np.nanstd(self.examples, axis=(0, 1))
        return np.sort(np.argsort(-spread, kind="stable")[:MOST_LINES])

    def _bars(self, before: np.ndarray, after: np.ndarray) -> list[Any]:
        """Describes how rows [B, P] differ from those before [B, P]."""
        changes = (by_column(self._schema, after) - by_column(self._schema, before)) / self._spread
        bars = []
        for change, *pair in zip(changes, before, after, strict=True):
            old, new = map(self._on_scale, pair)
            most = np.argsort(-np.abs(change), kind="stable")[:MOST_BARS]
            columns = [
                {
                    "name": printable(self._columns[p]),
                    "change": short(change[p]),
                    "before": f"{old[p]:.3g}",
                    "after": f"{new[p]:.3g}",
                }
                for p in most
            ]
            bars.append({"bars": columns})
        return bars

    def _values(self, row: np.ndarray) -> list[list[str]]:
        names = zip(self._columns, self._on_scale(row), strict=True)
        return [[printable(name), "missing" if np.isnan(value) else f"{value:.4g}"] for name, value in names][:200]

    def _on_scale(self, row: np.ndarray) -> np.ndarray:
        """Returns the entries of a row on the scale of the table, with probabilities for words [P]."""
        values = np.array(row, np.float64)
        if self._schema is not None:
            for column, start in zip(self._schema.used, self._schema.starts, strict=True):
                if column.kind == "real":
                    values[start] = values[start] * column.scale + column.mean
        return values
