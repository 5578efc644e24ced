"""Scores of effect maps against the known effect."""

import numpy as np


def normalised_cross_correlation(maps: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Computes the correlation of each map with its known effect over all pixels.

    The correlation is between -1 and 1. It is 1 for a map that is a positive multiple of the effect plus a constant.

    Args:
      maps: Effect maps [N, ...].
      effects: Known effects, or masks of them, of the same shape.

    Returns:
      Correlations, float64 [N]. A correlation is 0 if its map or its effect is constant.

    Raises:
      ValueError: The shapes differ, or a value is not finite.

    Reference: Baumgartner et al. (2018).
    """
    if np.shape(maps) != np.shape(effects):
        raise ValueError(f"maps and effects must have one shape, got {np.shape(maps)} and {np.shape(effects)}")
    centred = []
    for name, values in (("maps", maps), ("effects", effects)):
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        if not np.isfinite(flat).all():
            raise ValueError(f"{name} hold values that are not finite numbers")
        centred.append(flat - flat.mean(axis=1, keepdims=True))
    both = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.divide(both, scale, out=np.zeros_like(both), where=scale > 0)
