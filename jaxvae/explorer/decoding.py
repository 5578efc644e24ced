"""Decoding for the explorer: in batches of few sizes, and with the example where the decoder reads more than codes."""

import threading
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.method import Nets
from jaxvae.runs.load import Run

BATCHES = (1, 8, 64)
"""Numbers of codes that are decoded at a time; others are padded to the next of them, to compile few programs."""
Rows = Sequence[int | None]
"""For each code, the number of the example that it belongs to, or None for none."""


class Decoder:
    """The decoder of a run. It can be called from several threads, one of which decodes at a time."""

    def __init__(self, run: Run, examples: Mapping[str, np.ndarray] | None, lock: threading.Lock):
        """Takes a run and its examples, all columns of the batch, whose places are the rows of codes; or None."""
        self.run, self.examples, self._lock = run, examples, lock
        self._alone = run.decoder
        method, networks = run.method, run.method.networks
        self._with = jax.jit(lambda params, codes, batch: method.expected(Nets(networks, params), codes, batch))

    @property
    def reads_examples(self) -> bool:
        """Whether the decoder reads more of an example than its code, such as the library size of a cell."""
        return self.run.method.decode_with is not None and self.examples is not None

    def __call__(self, codes: np.ndarray, rows: Rows | None = None) -> np.ndarray:
        """Decodes codes [B, D] into expected examples [B, *event_shape].

        Args:
          codes: Codes.
          rows: Examples that the codes belong to. Codes without an example are decoded by `Method.decode`.
        """
        places = np.array([-1 if row is None else row for row in rows or [None] * len(codes)])
        if not self.reads_examples or (places < 0).all():
            return self._in_batches(codes, None)
        decoded = np.zeros((len(codes), *self.run.source.event_shape), np.float32)
        known = places >= 0
        decoded[known] = self._in_batches(codes[known], places[known])
        if not known.all():
            decoded[~known] = self._in_batches(codes[~known], None)
        return decoded

    def _in_batches(self, codes: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        assert self._alone is not None
        own_examples = self.examples or {}
        parts = []
        for first in range(0, len(codes), BATCHES[-1]):
            part = codes[first : first + BATCHES[-1]]
            size = next(size for size in BATCHES if size >= len(part))
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            with self._lock:
                if rows is None:
                    decoded = self._alone(padded)
                else:
                    own = np.resize(rows[first : first + BATCHES[-1]], size)
                    batch = {name: jnp.asarray(values[own]) for name, values in own_examples.items()}
                    decoded = np.asarray(self._with(self.run.state.params, jnp.asarray(padded, jnp.float32), batch))
                parts.append(decoded[: len(part)])
        return np.concatenate(parts)
