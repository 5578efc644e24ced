"""Data sets on disk, packed and memory-mapped, so that they are decoded only once."""

import errno
import hashlib
import math
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from jaxvae.data.table import Table
from jaxvae.files import read_json, write_json

FORMAT = 1


def cache_folder() -> Path:
    """Returns the folder of the tables: jaxvae/data in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxvae" / "data"


def scratch_array(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Creates an array of uint8 zeros in an unnamed file beside `folder`, for data that may not fit into memory.

    The file is deleted with the array.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is then an error here instead of a crash later
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        raise _unwritable(folder, error) from error


def scratch_rows(shape: tuple[int, ...]) -> np.ndarray:
    """Creates an array of zeros, float32, in a scratch file on the disk."""
    return scratch_array(cache_folder() / "rows", (4 * math.prod(shape),)).view(np.float32).reshape(shape)


def in_order(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns rows in another order, in a scratch file where they are in a file."""
    if not isinstance(rows, np.memmap):
        return rows[order]
    return np.take(rows, order, axis=0, out=scratch_rows(rows.shape), mode="clip")


def save_table(folder: Path, table: Table, origin: str) -> None:
    """Writes the table into `folder`, either completely or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        arrays = {"pixels": table.pixels} | ({} if table.factors is None else {"factors": table.factors})
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", np.asarray(array), allow_pickle=False)
        manifest = {
            "format": FORMAT,
            "origin": origin,
            "name": table.name,
            "image_shape": table.event_shape,
            "factor_names": table.factor_names,
            "factor_sizes": table.factor_sizes,
            "storage": table.storage,
            "sha256": {name: _sha256(partial / f"{name}.npy") for name in arrays},
        }
        write_json(partial / "manifest.json", manifest)
        _put_in_place(partial, folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_table(folder: Path, origin: str) -> Table | None:
    """Loads the table in `folder`, memory-mapped.

    Returns:
      The table, or None if there is no undamaged table of this origin and format.
    """
    try:
        manifest = read_json(folder / "manifest.json")
        if manifest["format"] != FORMAT or manifest["origin"] != origin:
            return None
        for name, digest in manifest["sha256"].items():
            if _sha256(folder / f"{name}.npy") != digest:
                return None
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in manifest["sha256"]
        }
        return Table(
            name=manifest["name"],
            pixels=arrays["pixels"],
            factors=arrays.get("factors"),
            event_shape=tuple(manifest["image_shape"]),
            factor_names=tuple(manifest["factor_names"]),
            factor_sizes=tuple(manifest["factor_sizes"]),
            storage=manifest["storage"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put_in_place(partial: Path, folder: Path) -> None:
    """Renames `partial` to `folder`. If several processes do so at once, the last one wins."""
    while True:
        try:
            partial.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
        with old, suppress(FileNotFoundError):
            folder.rename(Path(old.name) / "old")


def _unwritable(folder: Path, error: OSError) -> ValueError:
    return ValueError(f"can't write the data cache {folder}: {error.strerror or error}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
