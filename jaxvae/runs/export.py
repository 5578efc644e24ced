"""Models of runs in files that other programs read: StableHLO, ONNX and safetensors.

- `stablehlo`: `encoder.stablehlo` and `decoder.stablehlo`, compiled-in weights, any batch size, for cpu, cuda and tpu.
  Plain JAX runs them: `jax.export.deserialize(bytearray(path.read_bytes())).call(x)`
- `onnx`: `encoder.onnx` and `decoder.onnx`, which onnxruntime runs
- `safetensors`: `model.safetensors`, the weights by name (`encoder.Dense_0.kernel`), with the settings of the
  run in its metadata, and the settings again as `config.json`. `jaxvae.load` reads the file

The encoder maps examples [B, *event_shape] to means and log-variances [B, D] each, and the decoder maps codes [B, D] to
expected examples; "library" in export.json says rows where expected counts then sum to those of a mean row. Every file
is read again and compared with the run before the command ends.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxvae.data.series import columns_of
from jaxvae.files import printable, write_bytes, write_json
from jaxvae.method import Nets, no_code, no_image
from jaxvae.runs.absent import NoExamples, source_of
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.build import build_without_data, library_of
from jaxvae.runs.config import Config
from jaxvae.runs.folder import MODEL
from jaxvae.runs.load import OwnConfig, Run
from jaxvae.training import TrainState, make_train_step
from jaxvae.training.run_folder import TRAINED, read_trained
from jaxvae.training.steps import described_data

Format = Literal["stablehlo", "safetensors", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
PLATFORMS = ("cpu", "cuda", "tpu")
CLOSE = {"float32": 1e-5, "bfloat16": 2e-2}
"""Largest difference of a number of an exported model, relative to the largest number if that is above 1, by the
precision of the networks."""
COMPARED = 5
"""Number of examples that are compared."""
METADATA = "jaxvae"
"""Key of the settings in the metadata of a safetensors file."""
MOST_HEADER = 100_000_000
"""Largest number of bytes of the header of a safetensors file."""


class Part(NamedTuple):
    """The encoder or the decoder of a run, as a function of arrays whose first axis is the example."""

    name: str
    apply: Callable[..., tuple[jax.Array, ...]]
    """Function (*inputs) -> outputs, with the weights built in."""
    inputs: dict[str, tuple[int, ...]]
    """Shapes of the inputs of one example, by name."""
    outputs: tuple[str, ...]


class NotExported(ValueError):
    """A part of a run that cannot be exported, or differs when it is read again."""


def parts_of(run: Run) -> tuple[list[Part], list[str]]:
    """Returns the parts of a run that can be exported, and a sentence for each that cannot.

    Raises:
      NotExported: The run is of a baseline, whose parts are no JAX programs.
    """
    if isinstance(run.config, BaselineConfig) or not run.method.networks:
        raise NotExported(
            f"{run.method.name} is a fitted estimator of scikit-learn's kind, not a JAX program: pickle the estimator"
        )
    method, net = run.method, Nets(run.method.networks, run.state.params)
    parts, missing, latents = [], [], 0
    if method.encode is no_code:
        missing.append(f"{method.name} learns no code, so there is no encoder")
    else:
        inputs, latents = _inputs_of_encoder(run)

        def encode(*arrays: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(method.encode(net, dict(zip(inputs, arrays, strict=True))))

        parts.append(Part("encoder", encode, inputs, ("mean", "logvar")))
    if method.decode is no_image or not latents:
        missing.append(f"the codes of {method.name} alone make no examples, so there is no decoder")
    else:
        parts.append(Part("decoder", lambda code: (method.decode(net, code),), {"code": (latents,)}, ("x",)))
    return parts, missing


def export(run: Run, kind: Format, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes a run in a format, reads it again and compares it with the run.

    Args:
      run: Run, such as `load_run` returns.
      kind: Format: stablehlo, safetensors or onnx.
      folder: Folder for the files; existing ones are replaced.

    Returns:
      The files, and a sentence for each part that the run lacks.

    Raises:
      NotExported: Nothing can be exported, or what was read again differs by more than `CLOSE`.
      ValueError: A package is missing, or the folder is that of a run; the message says what to do.
    """
    require_packages(kind)
    if (folder / TRAINED).exists():
        raise ValueError(f"{folder} is the folder of a run, whose config.json would be replaced: name another folder")
    if kind == "safetensors":
        folder.mkdir(parents=True, exist_ok=True)
        return _save_weights(run, folder), []
    parts, missing = parts_of(run)
    if not parts:
        raise NotExported("; ".join(missing))
    folder.mkdir(parents=True, exist_ok=True)
    write, read = {"stablehlo": (_stablehlo, _run_stablehlo), "onnx": (_onnx, _run_onnx)}[kind]
    files = []
    for part in parts:
        content = write(part)
        _compare(part, read(content, part), CLOSE[_precision(run)])
        files.append(folder / f"{part.name}.{kind}")
        write_bytes(files[-1], content)
    about = {
        "jaxvae": version("jaxvae"),
        "method": run.method.name,
        "data": run.source.name,
        "step": int(run.state.step),
        "parts": {part.name: {"inputs": _shapes(part), "outputs": part.outputs} for part in parts},
        "library": library_of(run.config, run.source),
        "columns": _columns(run),
    }
    write_json(folder / "export.json", about)
    return [*files, folder / "export.json"], missing


def load(path: Path | str, *, trust: bool = False) -> Run:
    """Loads a run from a safetensors file that `jaxvae export` wrote. It encodes and decodes, and has no examples.

    Args:
      path: File, a folder with a file model.safetensors, or a repository of the Hugging Face Hub, "hf://USER/NAME".
      trust: Whether the file may name a method or a network of a module, as "module:NAME", which is then imported and
        called. Set it for your own files only.

    Returns:
      The run. It cannot be resumed, as the state of the optimizer is not in the file.

    Raises:
      ValueError: The file cannot be read, names a module without `trust`, or is of a method that was made in Python;
        the message is one line.
    """
    require_packages("safetensors")
    if str(path).startswith("hf://"):
        from jaxvae.runs.hub import fetch

        path = fetch(str(path).removeprefix("hf://"), MODEL)
    path = Path(path)
    path = path / MODEL if path.is_dir() else path
    about, weights = read_weights(path)
    if about.get("config") is None:
        raise ValueError(
            f"{path} holds the weights of {about.get('method')}, which was trained in Python: build the method again "
            "and use safetensors.numpy.load_file"
        )
    if not trust and (places := _places(about["config"])):
        raise ValueError(
            f"{path} names {printable(places[0])}, which would be imported and called: if you trust the file, load it "
            "with trust=True"
        )
    try:
        config = Config.from_json(about["config"])  # type: ignore[var-annotated]
        absent = source_of(about["data"], f"{path} holds no examples")
        if absent is None:
            raise ValueError("it does not describe the data of the run")
        source, method = build_without_data(config, absent)
        init, _ = make_train_step(method, dataset_size=source.size)
        shapes = jax.eval_shape(init, jax.random.key(config.seed))
        step = jnp.int32(about["step"])
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its settings cannot be read ({type(error).__name__}: {error})") from error
    params = _with_names(path, shapes.params, weights)
    state = shapes._replace(params=params, key=jax.random.key(config.seed), step=step)
    return Run(path.parent, config, source, method, state, [])


def read_state(path: Path, shapes: TrainState) -> TrainState:
    """Returns the state of these shapes with the weights and the step of a file, and nothing else of a state."""
    about, weights = read_weights(path)
    return shapes._replace(params=_with_names(path, shapes.params, weights), step=jnp.int32(about["step"]))


def _places(config: Any) -> list[str]:
    """Returns the objects of modules, "module:NAME", that the settings of a run name as its method or networks."""
    if not isinstance(config, Mapping):
        return []
    networks = config.get("networks")
    named = [config.get("method"), *(networks.values() if isinstance(networks, Mapping) else ())]
    return [name for name in named if isinstance(name, str) and ":" in name]


def require_packages(kind: Format) -> None:
    """Raises ValueError, with the line that installs them, if the packages of a format are missing."""
    onnx = ("jax2onnx", "onnx", "onnxruntime")
    needed = {"stablehlo": ("flatbuffers",), "safetensors": ("safetensors",), "onnx": onnx}[kind]
    if any(find_spec(name) is None for name in needed):
        # jax2onnx pins an older orbax-checkpoint, which it needs for its examples only.
        more = " && pip install --no-deps jax2onnx" if kind == "onnx" else ""
        extra = "onnx" if kind == "onnx" else "export"
        raise ValueError(f"--format {kind} needs {', '.join(needed)}: pip install 'jaxvae[{extra}]'{more}")


def _inputs_of_encoder(run: Run) -> tuple[dict[str, tuple[int, ...]], int]:
    """Returns the shapes of what the encoder reads of an example, "x" and further columns of the batch if any, and the
    number of latents.
    """
    inputs, net = {"x": run.source.event_shape}, Nets(run.method.networks, run.state.params)
    while True:
        try:
            batch = {name: jax.ShapeDtypeStruct((1, *shape), jnp.float32) for name, shape in inputs.items()}
            return inputs, jax.eval_shape(lambda batch: run.method.encode(net, batch), batch).mean.shape[1]
        except KeyError as error:
            name = error.args[0]
            if name in inputs:
                raise
            inputs[name] = _shape_beside(run, name)


def _shape_beside(run: Run, name: str) -> tuple[int, ...]:
    """Returns the shape of what the encoder sees besides the example."""
    if hasattr(run.source, f"{name}_dim"):
        return (getattr(run.source, f"{name}_dim"),)
    try:
        return jax.eval_shape(lambda: run.source.at(jnp.zeros(1, jnp.int32)))[name].shape[1:]
    except (NoExamples, KeyError) as error:
        raise NotExported(f"the encoder of {run.method.name} sees {name!r} besides the example") from error


def _symbolic(part: Part) -> list[jax.ShapeDtypeStruct]:
    """Returns the inputs of a part for a batch of any size."""
    (batch,) = jax.export.symbolic_shape("batch")
    return [jax.ShapeDtypeStruct((batch, *shape), jnp.float32) for shape in part.inputs.values()]


def _stablehlo(part: Part) -> bytes:
    return bytes(jax.export.export(jax.jit(part.apply), platforms=PLATFORMS)(*_symbolic(part)).serialize())


def _run_stablehlo(content: bytes, part: Part) -> list[np.ndarray]:
    outputs = jax.export.deserialize(bytearray(content)).call(*examples_for(part))
    return [np.asarray(output) for output in outputs]


def _onnx(part: Part) -> bytes:
    import jax2onnx

    for name in ("jax2onnx", "onnx_ir"):  # they warn of plugins that are not needed here
        logging.getLogger(name).setLevel(logging.ERROR)
    shapes = _symbolic(part)
    # Traced here, because jax2onnx replaces functions of jax.numpy while it traces, such as jnp.shape and jnp.round by
    # ones whose results have no value or no shape.
    traced = core.jaxpr_as_fun(jax.make_jaxpr(part.apply)(*shapes))
    try:
        model = jax2onnx.to_onnx(traced, shapes, model_name=part.name)
    except Exception as error:  # jax2onnx raises errors of many kinds for operations that it does not know
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotExported(f"jax2onnx cannot convert the {part.name}: {reason}") from error
    for given, names in ((model.graph.input, tuple(part.inputs)), (model.graph.output, part.outputs)):
        for value, name in zip(given, names, strict=True):
            _rename(model.graph, value.name, name)
    return model.SerializeToString()


def _rename(graph: Any, old: str, new: str) -> None:
    """Renames a value of an ONNX graph wherever it occurs."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new
    for each in graph.node:
        for names in (each.input, each.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _run_onnx(content: bytes, part: Part) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(list(part.outputs), dict(zip(part.inputs, examples_for(part), strict=True)))


def examples_for(part: Part) -> list[np.ndarray]:
    """Returns inputs to compare a part with: codes from N(0, I), and examples with values from [0, 1)."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal if name == "code" else rng.random)((COMPARED, *shape), np.float32)
        for name, shape in part.inputs.items()
    ]


def _precision(run: Run) -> str:
    return getattr(getattr(run.config, "networks", None), "dtype", "float32")


def _compare(part: Part, outputs: list[np.ndarray], close: float) -> None:
    expected = jax.jit(part.apply)(*examples_for(part))
    for name, one, other in zip(part.outputs, outputs, expected, strict=True):
        scale = max(1.0, float(jnp.abs(other).max()))
        difference = float(np.abs(one - np.asarray(other)).max()) if one.shape == other.shape else np.inf
        if not difference <= close * scale:
            raise NotExported(
                f"the exported {part.name} differs from the run: {name} by {difference:.2g}, with numbers up to "
                f"{scale:.2g}"
            )


def _columns(run: Run) -> list[dict[str, Any]] | None:
    """Describes how the columns of a table, or channels of series, become x: kind, mean, scale and values of each."""
    schema = columns_of(run.source)
    return None if schema is None else [asdict(column) for column in schema.columns]


def _shapes(part: Part) -> dict[str, list[Any]]:
    return {name: ["batch", *shape] for name, shape in part.inputs.items()}


def _save_weights(run: Run, folder: Path) -> list[Path]:
    from safetensors.numpy import save

    if isinstance(run.config, BaselineConfig):
        raise NotExported(f"{run.method.name} is a fitted estimator without weights: its settings are its config.json")
    own = isinstance(run.config, OwnConfig)
    noted = read_trained(run.folder).get("data") if (run.folder / TRAINED).exists() else None
    about = {
        "jaxvae": version("jaxvae"),
        "method": run.method.name,
        "step": int(run.state.step),
        "config": None if own else run.config.to_json(),
        "data": noted or described_data(run.source),
    }
    weights = named_weights(run.state.params)
    path = folder / MODEL
    write_bytes(path, save(weights, {METADATA: json.dumps(about), "format": "flax"}))
    write_json(folder / "config.json", about)
    _, again = read_weights(path)
    if set(again) != set(weights) or any(not np.array_equal(again[name], weights[name]) for name in weights):
        raise NotExported(f"{path} differs from the run")
    return [path, folder / "config.json"]


def named_weights(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of a pytree by their places, joined by dots."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {_place(path): np.ascontiguousarray(leaf) for path, leaf in leaves}


def _place(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path)


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the settings ("method", "step", "config", "data") and the weights of a safetensors file.

    Raises:
      ValueError: It cannot be read, or another program wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + min(size, MOST_HEADER)])
        about = json.loads(header["__metadata__"][METADATA])
        weights = load(content)
    except (OSError, KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no safetensors file that jaxvae export wrote"
        raise ValueError(f"can't read {path}: {reason}") from error
    if not isinstance(about, dict):
        raise ValueError(f"can't read {path}: it is no safetensors file that jaxvae export wrote")
    return about, weights


def _with_names(path: Path, shapes: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """Returns the pytree of these shapes with the weights of these names."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
    known = {_place(place): leaf for place, leaf in leaves}
    if different := sorted(set(known) ^ set(weights)):
        raise ValueError(f"{path} does not fit its settings: the weight {different[0]} is in only one of them")
    for name, leaf in known.items():
        if weights[name].shape != leaf.shape or weights[name].dtype != leaf.dtype:
            raise ValueError(f"{path} does not fit its settings: {name} has the shape {list(weights[name].shape)}")
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(weights[name]) for name in known])
