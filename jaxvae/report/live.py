"""A decoder as a program that a page runs without a server: the operations of its jaxpr, and its weights in float16.

The page interprets a few operations, which are those of dense and convolutional decoders. A decoder that needs others,
or has too many weights, has no program, and its report keeps the traversals that are computed in advance.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxvae.analysis import Representation
from jaxvae.method import Nets, no_image
from jaxvae.runs.latents import Latents
from jaxvae.runs.load import Run

MOST_BYTES = 4_000_000
"""Largest size of the weights in float16."""
FEW_NUMBERS = 64
"""Largest number of values of a constant that is kept in full precision."""
MOST_SLIDERS = 16
MOST_STARTS = 12
UNARY = ("exp", "log", "log1p", "tanh", "logistic", "sqrt", "rsqrt", "neg", "abs", "sign", "square", "erf")
BINARY = ("add", "sub", "mul", "div", "max", "min", "pow", "add_any", "ge", "gt", "le", "lt", "eq", "ne")
SAME = ("convert_element_type", "copy", "stop_gradient", "reduce_precision", "copy_p")
INSIDE = ("pjit", "jit", "custom_jvp_call", "custom_vjp_call", "closed_call", "remat", "checkpoint")
"""Operations that call another jaxpr, which is written in their place."""


class Program(NamedTuple):
    """A function of a code [D], as operations on arrays for a batch of one."""

    operations: list[dict[str, Any]]
    """{"op", "in": numbers of arrays, "out": number of an array, "shape", and further parameters}, in their order."""
    constants: list[dict[str, Any]]
    """{"id": number of the array, "shape", and "at": offset in `weights`, or "values"}."""
    weights: np.ndarray
    """float16 [n]"""
    argument: int
    result: int

    def to_json(self) -> dict[str, Any]:
        """Converts the program to JSON values, with the weights as base64 in little-endian order."""
        weights = base64.b64encode(self.weights.astype("<f2").tobytes()).decode()
        return {**self._asdict(), "weights": weights}


class Unsupported(ValueError):
    """An operation that the page does not know, or too many weights."""


def program_of(decode: Callable[[jax.Array], jax.Array], latents: int) -> Program:
    """Traces a decoder and writes its operations down.

    Args:
      decode: Function from codes [B, D] to examples [B, ...].
      latents: Number of latents D.

    Raises:
      Unsupported: The decoder has an operation that is not known, or more than `MOST_BYTES` of weights.
    """
    (batch,) = jax.export.symbolic_shape("batch")  # convolutions are then those of lax
    closed = jax.jit(decode).trace(jax.ShapeDtypeStruct((batch, latents), jnp.float32)).jaxpr
    return _Writer().write(closed)


class _Writer:
    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self.constants: list[dict[str, Any]] = []
        self.weights: list[np.ndarray] = []
        self.size = 0
        self.count = 0

    def write(self, closed: Any) -> Program:
        argument = self._new()
        names = {closed.jaxpr.invars[0]: argument}
        (result,) = self._inline(closed.jaxpr, closed.consts, names)
        weights = np.concatenate([np.zeros(0, np.float16), *self.weights])
        return Program(self.operations, self.constants, weights, argument, result)

    def _inline(self, jaxpr: Any, consts: Any, names: dict[Any, int]) -> list[int]:
        for variable, value in zip(jaxpr.constvars, consts, strict=True):
            names[variable] = self._constant(value)
        for equation in jaxpr.eqns:
            given = [self._read(each, names) for each in equation.invars]
            name = equation.primitive.name
            if name in INSIDE:
                inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                closed = inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
                outputs = self._inline(closed.jaxpr, closed.consts, dict(zip(closed.jaxpr.invars, given, strict=True)))
            else:
                outputs = [self._operation(name, equation, given)]
            names |= dict(zip(equation.outvars, outputs, strict=True))
        return [self._read(each, names) for each in jaxpr.outvars]

    def _read(self, each: Any, names: Mapping[Any, int]) -> int:
        return self._constant(each.val) if isinstance(each, core.Literal) else names[each]

    def _new(self) -> int:
        self.count += 1
        return self.count - 1

    def _constant(self, value: Any) -> int:
        array = np.asarray(value, np.float32)
        constant: dict[str, Any] = {"id": self._new(), "shape": list(array.shape)}
        if array.size <= FEW_NUMBERS:
            constant["values"] = [float(number) for number in array.ravel()]
        else:
            constant["at"] = self.size
            if np.abs(array).max() > np.finfo(np.float16).max:
                raise Unsupported(f"the decoder has weights above {np.finfo(np.float16).max:g}, the largest in float16")
            self.weights.append(array.ravel().astype(np.float16))
            self.size += array.size
            if 2 * self.size > MOST_BYTES:
                raise Unsupported(f"the decoder has more than {MOST_BYTES:,} bytes of weights in float16")
        self.constants.append(constant)
        return constant["id"]

    def _operation(self, name: str, equation: Any, given: list[int]) -> int:
        shape = [_one(size) for size in equation.outvars[0].aval.shape]
        if name == "convert_element_type" and not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
            before = equation.invars[0].aval.dtype
            if jnp.issubdtype(before, jnp.floating):
                raise Unsupported(f"the decoder converts numbers from {before} to {equation.outvars[0].aval.dtype}")
        if name in SAME:
            return given[0]
        out = self._new()
        operation = {"op": name, "in": given, "out": out, "shape": shape, **_parameters(name, equation)}
        self.operations.append(operation)
        return out


def _parameters(name: str, equation: Any) -> dict[str, Any]:
    """Returns what the page needs to know of an operation."""
    params = equation.params
    if name in UNARY or name in BINARY or name in ("reshape", "squeeze", "expand_dims", "select_n"):
        return {}
    if name == "integer_pow":
        return {"y": int(params["y"])}
    if name == "broadcast_in_dim":
        return {"axes": list(map(int, params["broadcast_dimensions"]))}
    if name == "transpose":
        return {"axes": list(map(int, params["permutation"]))}
    if name == "concatenate":
        return {"axis": int(params["dimension"])}
    if name == "reduce_sum":
        return {"axes": list(map(int, params["axes"]))}
    if name == "dot_general":
        (left, right), (left_batch, right_batch) = params["dimension_numbers"]
        if not left_batch and not right_batch:
            return {"left": list(map(int, left)), "right": list(map(int, right))}
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        plain = (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        if plain and params["feature_group_count"] == params["batch_group_count"] == 1:
            return {
                key: [list(map(int, each)) for each in params[key]] if key == "padding" else list(map(int, params[key]))
                for key in ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
            }
    raise Unsupported(f"the page does not know the operation {name}")


def _one(size: Any) -> int:
    """Returns a size of an array for a batch of one."""
    return int(size) if isinstance(size, int | np.integer) else int(size._evaluate({"batch": 1}))


def live_model(run: Run, codes: Representation, latents: Latents) -> dict[str, Any]:
    """Returns what the page needs to decode codes of a run, as JSON values.

    Args:
      run: Run whose decoder is written down.
      codes: Codes of random examples, from which the sliders get their ranges and starts.
      latents: Latents of the run, which name the sliders.

    Raises:
      Unsupported: The run has no decoder of pictures, or the page cannot run it.
    """
    method = run.method
    if method.decode is no_image or not method.networks or not codes.mean.shape[1]:
        raise Unsupported(f"{method.name} has no decoder network of a code")
    if len(run.source.event_shape) != 3 or run.source.event_shape[2] not in (1, 3):
        raise Unsupported("the examples are no pictures of one or three channels")
    net = Nets(method.networks, run.state.params)
    try:
        program = program_of(lambda code: method.decode(net, code), codes.mean.shape[1])
    except (TypeError, NotImplementedError) as error:
        raise Unsupported(f"the decoder takes no symbolic batch size: {str(error).splitlines()[0]}") from error
    order = [int(d) for d in latents.order if latents.active[d]][:MOST_SLIDERS] or [int(latents.order[0])]
    low, high = codes.mean.min(axis=0), codes.mean.max(axis=0)
    reach = np.where(high > low, 0.1 * (high - low), 1.0)
    return {
        "program": program.to_json(),
        "shape": list(run.source.event_shape),
        "starts": [[float(f"{value:.6g}") for value in row] for row in codes.mean[:MOST_STARTS]],
        "sliders": [
            {
                "index": d,
                "name": f"z{d} · {latents.factors[d]}" if latents.factors[d] else f"z{d}",
                "low": float(low[d] - reach[d]),
                "high": float(high[d] + reach[d]),
            }
            for d in order
        ],
    }


def as_script_text(model: Mapping[str, Any]) -> str:
    """Returns JSON that can stand between the tags of a script element."""
    return json.dumps(model, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
