"""Files that somebody has edited, or that were damaged."""

import json

STRANGE = [
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "",
    "x",
    "../../etc/passwd",
    "<script>",
    "\0",
    [],
    [None],
    {},
    {"a": 1},
    "9" * 99,
]


def paths_in(value, path=()):
    """Of all values within a JSON value, the whole first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from paths_in(inner, (*path, name))


def mutated_json(text, rng):
    """One value replaced, removed or added, or the text damaged."""
    if rng.random() < 0.2:
        return mutated_bytes(text.encode(), rng)
    value = {"": json.loads(text)}
    places = [path for path in paths_in(value) if path]
    *inside, last = places[rng.integers(len(places))]
    holder = value
    for name in inside:
        holder = holder[name]
    action = rng.random()
    if action < 0.7 or last == "":
        holder[last] = STRANGE[rng.integers(len(STRANGE))]
    elif action < 0.85:
        del holder[last]
    elif isinstance(holder, dict):
        holder["more"] = STRANGE[rng.integers(len(STRANGE))]
    return json.dumps(value[""]).encode()


def mutated_bytes(data, rng):
    """Cut, with a part overwritten, or with some bits flipped."""
    data = bytearray(data)
    match rng.integers(3):
        case 0:
            data = data[: rng.integers(len(data))]
        case 1:
            start = rng.integers(len(data))
            stop = min(len(data), start + int(rng.integers(1, 64)))
            data[start:stop] = rng.bytes(stop - start)
        case _:
            for _ in range(rng.integers(1, 8)):
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)
