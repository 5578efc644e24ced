"""The first losses of every method at the command's defaults, written down or compared with those of another version.

    python -m tests.trajectories before.json
    python -m tests.trajectories after.json --against before.json

Run by hand, in the tree of one version and then in that of the other, before and after a change that must not change
any number. Minutes on two cores.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from jaxvae.methods import METHODS
from jaxvae.training import train

try:
    from jaxvae.runs.build import build
    from jaxvae.runs.config import default_config
except ImportError:  # version 0.1
    from jaxvae.config import build, default_config


@dataclass
class Args:
    """Arguments of the command."""

    out: tyro.conf.Positional[Path]
    """File to write."""
    against: Path | None = None
    """File of another version, whose losses must be the same."""
    steps: int = 20
    """Number of steps of each method."""
    tolerance: float = 1e-6
    """Largest relative difference that counts as the same."""


def losses(name: str, steps: int) -> list[float]:
    """Every step's sum of all terms, which any change of any objective changes."""
    config = default_config(name)
    source, method = build(config)
    training = getattr(config, "training", config)
    rows: list[float] = []
    train(
        method,
        source,
        steps=steps,
        batch_size=training.batch_size,
        seed=training.seed,
        log_every=1,
        writers=[
            lambda step, row: rows.append(
                sum(v for k, v in row.items() if k not in ("step", "seconds", "steps_per_second"))
            )
        ],
    )
    return rows


def main(args: Args) -> None:
    """Writes the table, and exits with 1 where a loss differs."""
    table = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name in METHODS:
        if name not in table:
            table[name] = losses(name, args.steps)
            args.out.write_text(json.dumps(table, indent=1))
            print(name, table[name][-1], flush=True)
    if args.against is None:
        return
    before = json.loads(args.against.read_text())
    different = [
        name for name in before if not np.allclose(table.get(name, np.nan), before[name], rtol=args.tolerance, atol=0)
    ]
    same = [name for name in before if table.get(name) == before[name]]
    print(f"{len(same)} of {len(before)} are the same bits")
    if different:
        raise SystemExit(f"not the same: {', '.join(different)}")


if __name__ == "__main__":
    main(tyro.cli(Args))
