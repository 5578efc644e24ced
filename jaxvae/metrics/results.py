"""What every metric returns: a score with its definition and what it was computed from."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Result:
    """A score, and what exactly it is. Subclasses add per-factor parts, what was left out, and settings."""

    score: float
    """The one number; NaN where it is undefined, with the reason in a warning."""
    definition: str
    """What exactly the score is, in a phrase."""

    def to_json(self) -> dict[str, Any]:
        """All fields as plain Python values; NaN and infinity are None."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: Any) -> Any:
    """Arrays, tuples and NumPy numbers as what JSON has."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
