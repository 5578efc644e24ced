"""What the public reference code gives on arrays of ours (golden/reference.json says which code and which rows)."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"
REFERENCE = json.loads((FOLDER / "reference.json").read_text())
CASES = REFERENCE["cases"]
SIZES = (3, 6, 8, 8, 8)

with np.load(FOLDER / "reference.npz") as file:
    ARRAYS = dict(file)


def codes(case):
    return ARRAYS[f"codes_{case}"].astype(np.float64)


FACTORS = ARRAYS["factors"].astype(np.int64)
