"""The codes and factors of the review's tables, and the values that its public code and the formulas give for them.

golden/review.json has, by case, "information" (from the formulas, by a program of its own), "review_information" and
"review_other" (from the review's public code; several of these are of predictors or of random batches).
"""

import json
from pathlib import Path

import numpy as np

GOLDEN = json.loads((Path(__file__).parent / "golden" / "review.json").read_text())
CASES = tuple(GOLDEN["information"])
ROWS = 2000


def case(name):
    """Codes [2000, D] and factors [2000, K], continuous but in the last case, from the generator of the tables."""
    rng = np.random.RandomState(0)
    if name == "discrete_3_4_10":
        factors = np.stack([rng.randint(0, size, ROWS) for size in (3, 4, 10)], axis=1)
        return np.concatenate([factors + 0.3 * rng.randn(ROWS, 3), rng.randn(ROWS, 2)], axis=1), factors
    factors = rng.rand(ROWS, 4)
    if name == "perfect":
        return factors, factors
    if name == "duplicate":
        return np.concatenate([factors, factors], axis=1), factors
    if name == "independent":
        return rng.rand(ROWS, 4), factors
    if name == "cos_sin":
        angles = 2 * np.pi * factors
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1), angles
    share = float(name[-3:])
    if name.startswith("noise"):
        return (1 - share) * factors + share * rng.rand(ROWS, 4), factors
    mixing = (1 - share) * np.eye(4) + share * np.roll(np.eye(4), 1, axis=1)
    return factors @ mixing, factors
