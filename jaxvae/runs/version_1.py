"""Settings in the format of version 0.1: one flat table of the flags of all methods, including flags without effect."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

RENAMED = {
    "classify": "class_factor",
    "effect": "case_factor",
    "corruption": "label_noise",
    "wait": "coordinator_timeout",
}
"""New names of renamed flags by their old names, with underscores."""
# fmt: off
FLAT = (
    "data", "image_size", "sampling", "stream", "skip_bad", "shared", "common", "labels", "label_quality", "aux",
    "effect", "classify", "corruption", "copies", "texture", "network", "net_size", "latents", "discriminator",
    "components", "likelihood", "scale", "steps", "batch_size", "microbatch", "seed", "dtype", "log_every",
    "checkpoint_every", "on_nan",
)
# fmt: on
"""Fields of the flat table."""


def from_version_1(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a config.json of version 0.1 to the current format. Settings without effect for the method are left out.

    Args:
      values: Contents of config.json.
      kinds: Classes of the current sections.

    Raises:
      KeyError: A setting is missing, or version 0.1 did not have it.
      ValueError: A setting is missing, or version 0.1 did not have it.
    """
    nested = ("method", "hp", "options", "optimization")
    if unknown := [name for name in values if name not in FLAT and name not in nested]:
        raise ValueError(f"unknown setting {unknown[0]!r}")
    flat = {name: value for name, value in values.items() if name in FLAT} | dict(values["options"])
    flat = {RENAMED.get(name, name): value for name, value in flat.items()}
    sections: dict[str, Any] = {"method": values["method"], "hyperparameters": values["hp"]}
    sections["optimization"] = values.get("optimization", {})
    for section in ("options", "source", "batches", "networks", "training"):
        kind = kinds[section]
        hints = get_type_hints(kind)
        sections[section] = {
            field.name: flat[field.name]
            for field in dataclasses.fields(kind)
            if field.name in flat and (flat[field.name] is not None or _optional(hints[field.name]))
        }
    if sections["networks"].get("network") == "mlp-small" and get_origin(get_type_hints(kinds["networks"])["network"]):
        sections["networks"]["network"] = "mlp"  # version 0.1 called the default of a method's own choice "mlp-small"
    return sections


def _optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and types.NoneType in get_args(hint)
