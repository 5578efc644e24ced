"""Counts the bytes that the collectives of a compiled program give each device."""

import re
from collections import Counter

FLOAT = 4
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|reduce-scatter|collective-permute|all-to-all)(?:-start)?\(")
SHAPE = re.compile(r"f32\[([\d,]*)\]")
CHAIN = re.compile(r"channel_id=(\d+).*chain_id=\"(\d+)\"")


def received(program: str) -> Counter[str]:
    """Bytes of float32 arrays that the collectives of a compiled program give each device, by kind."""
    bytes_of: Counter[str] = Counter()
    for shapes, kind in COLLECTIVE.findall(_once(program)):
        for shape in SHAPE.findall(shapes):
            size = FLOAT
            for side in filter(None, shape.split(",")):
                size *= int(side)
            bytes_of[kind] += size
    return bytes_of


def _once(program: str) -> str:
    """Leaves one line of every collective that a TPU's compiler spreads over the fusions which it runs beside."""
    seen, lines = set(), []
    for line in program.splitlines():
        if chain := CHAIN.search(line):
            if chain.groups() in seen:
                continue
            seen.add(chain.groups())
        lines.append(line)
    return "\n".join(lines)
