"""The commands `jaxvae encode` and `jaxvae decode`, which convert files of examples to codes, and codes to examples."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

import jaxvae
from jaxvae.cli.terminal import parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.data.series import channels_of, unscaled
from jaxvae.runs.absent import absent_source
from jaxvae.runs.annotations import annotations_of_file
from jaxvae.runs.codes import FORMATS, check_out, write_arrays, write_codes, write_columns, write_pictures
from jaxvae.runs.columns import numbered, numbers_of, read_columns
from jaxvae.runs.encode import decode_all, encode_all, latents_of, open_other, settings_of
from jaxvae.runs.load import Run, load_run
from jaxvae.schema import Schema, schema_of

SECONDS = 10
"""Number of seconds between progress lines."""


@dataclass(frozen=True)
class EncodeArgs:
    """Writes the codes of examples to a file: posterior means and standard deviations, with ids."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path
    """File of the codes, which ends in .csv, .tsv, .parquet, .feather, .npy (means only), .npz or .h5ad; an existing
    one is replaced."""
    examples: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[DATA]")] = None
    """Name of the data, as for `jaxvae train --data`, or the path of a picture. By default, all data of the run; where
    it holds examples out, a column part says train, validation or test."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""
    limit: int | None = None
    """Number of examples to encode, from the first one on. By default, all."""
    data: str | None = None
    """Place of the data of the run, such as arrays:PATH, where it is not the one that the run was trained with."""


@dataclass(frozen=True)
class DecodeArgs:
    """Writes the expected examples of codes to a file, or pictures to a folder. Of a run with --library rows, expected
    counts sum to those of a mean row."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    codes: tyro.conf.Positional[Path]
    """File of codes with columns z0, z1 ... or a matrix, as `jaxvae encode` writes it; other columns are ignored."""
    out: Path
    """File of the examples, which ends in .npz, .npy, .csv, .tsv, .parquet or .feather; or, for pictures, a folder for
    PNG files. Existing files are replaced."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""


def encode_command(arguments: list[str]) -> None:
    """Write the codes of examples to a file"""
    args = parse(EncodeArgs, "encode", arguments)
    use_compilation_cache()
    with usage_errors():
        check_out(args.out)
        if args.examples is not None and args.data is not None:
            raise ValueError("--data says where the data of the run lie: leave it out to encode other data")
        if args.examples is None:
            run = load_run(args.run, args.checkpoint, data=args.data)
        else:
            run = _without_data(args.run, args.checkpoint)
        other = None if args.examples is None else open_other(run, args.examples)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        codes = encode_all(run, other, limit=args.limit, progress=_progress())
        settings = {"jaxvae": jaxvae.__version__, **settings_of(run, (other or run.source).name)}
        known = annotations_of_file(run, codes) if args.out.suffix.lower() == ".h5ad" else {}
        write_codes(args.out, codes, settings, known)
    labels = ", ".join(codes.labels())
    count, latents = codes.means.shape
    print(f"{count:,} codes of {latents} latents{f', with {labels}' if labels else ''}: {args.out}")


def decode_command(arguments: list[str]) -> None:
    """Write the expected examples of codes to a file"""
    args = parse(DecodeArgs, "decode", arguments)
    use_compilation_cache()
    with usage_errors():
        pictures = args.out.is_dir() or not args.out.suffix
        if not pictures:
            check_out(args.out, tuple(ending for ending in FORMATS if ending != ".h5ad"))
        run = _without_data(args.run, args.checkpoint)
        columns = read_columns(args.codes, "z")
        names = [f"z{latent}" for latent in range(latents_of(run))]
        if more := [name for name in numbered(columns, "z") if name not in names]:
            raise ValueError(
                f"{args.codes}: the run has {len(names)} latents, and there is a column {more[0]}: these are codes of "
                "another run"
            )
        examples = decode_all(run, numbers_of(args.codes, columns, names).astype(np.float32))
        if (channels := channels_of(run.source)) is not None:
            examples = unscaled(channels, examples)
        ids = columns.get("id", np.arange(len(examples)))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if pictures:
            write_pictures(args.out, examples, ids)
        else:
            _write(args.out, examples, ids, schema_of(run.source))
    print(f"{len(examples):,} examples of shape {list(examples.shape[1:])}: {args.out}")


def _without_data(folder: Path, checkpoint: str) -> Run:
    """Loads a run, without opening its data if the folder describes them. Folders of version 0.1 do not."""
    return load_run(
        folder, checkpoint, needs_data=absent_source(folder, f"{folder} was loaded without its data") is None
    )


def _write(path: Path, examples: np.ndarray, ids: np.ndarray, schema: Schema | None) -> None:
    if schema is not None and path.suffix.lower() not in (".npz", ".npy"):
        write_columns(path, {"id": ids, **schema.decode(examples)})
        return
    match path.suffix.lower():
        case ".npz":
            write_arrays(path, examples=examples, ids=ids)
        case ".npy":
            write_arrays(path, examples=examples)
        case _:
            places = ("_".join(map(str, place)) for place in np.ndindex(examples.shape[1:]))
            values = examples.reshape(len(examples), -1).T
            write_columns(path, {"id": ids, **dict(zip((f"x{place}" for place in places), values, strict=True))})


def _progress() -> Callable[[int], None]:
    told = time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS:
            told = time.monotonic()
            print(f"jaxvae: {done:,} examples are encoded", file=sys.stderr)

    return tell
