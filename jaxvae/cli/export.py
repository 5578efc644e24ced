"""The command `jaxvae export`, which writes the model of a run for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxvae.cli.terminal import parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.runs.absent import absent_source
from jaxvae.runs.export import export, require_packages
from jaxvae.runs.load import load_run


@dataclass(frozen=True)
class ExportArgs:
    """Writes the encoder and the decoder of a run for other programs, and compares the files with the run. The decoder
    of a run with --library rows has expected counts that sum to those of a mean row."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    format: Literal["stablehlo", "safetensors", "onnx"] = "stablehlo"
    """Format: stablehlo, which plain JAX runs; safetensors, the weights by name, which `jaxvae.load` reads; or onnx,
    which onnxruntime runs."""
    out: Path | None = None
    """Folder of the files; existing files are replaced. By default, the folder export in that of the run."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""
    data: str | None = None
    """Place of the data of the run, such as arrays:PATH, for a run whose folder does not describe them."""


def export_command(arguments: list[str]) -> None:
    """Write the model of a run for other programs"""
    args = parse(ExportArgs, "export", arguments)
    use_compilation_cache()
    with usage_errors():
        require_packages(args.format)
        out = args.out or args.run / "export"
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out must name a folder, and {out} is a file")
        needs_data = args.data is not None or absent_source(args.run, "") is None
        run = load_run(args.run, args.checkpoint, data=args.data, needs_data=needs_data)
        files, missing = export(run, args.format, out)
    for sentence in missing:
        print(f"left out: {sentence}")
    print(f"exported and compared with the run: {', '.join(map(str, files))}")
