"""Results of metrics: a score with its definition and the quantities that it is computed from."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Result:
    """A score and its definition. Subclasses add per-factor parts, ignored factors and settings."""

    score: float
    """Score, a single number. It is NaN if undefined, with the reason in a warning."""
    definition: str
    """Short definition of what exactly was computed."""

    def to_json(self) -> dict[str, Any]:
        """Converts all fields to plain Python values, with None for NaN and infinity."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: Any) -> Any:
    """Converts arrays, tuples and NumPy numbers to JSON types."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
