"""Files of codes: one row per example, in the formats that other programs read.

- `.csv`, `.tsv`, `.parquet`, `.feather`: columns id, z0 z1 ... (posterior means), sd0 sd1 ... (posterior standard
  deviations), cluster where the prior is a mixture, part where the run holds examples out (train, validation or test),
  and the factors where they are known
- `.npz`: the same as arrays `ids`, `means` [N, D], `standard_deviations` [N, D], `clusters` [N], `part` [N],
  `factors` [N, K] and `factor_names` [K], and `settings`, a JSON text
- `.npy`: the means alone, [N, D]
- `.h5ad`: AnnData without X: the means in `obsm["X_jaxvae"]`, the standard deviations in `obsm["X_jaxvae_sd"]`, the
  cluster, the part and the factors in `obs`, the ids as its names, and in `uns["jaxvae"]` the settings and what
  `jaxvae.anndata.train` writes there: scores by the labels of a table, KL of each latent, top genes

Parquet and Feather files need `pip install 'jaxvae[tables]'`, and h5ad files `pip install 'jaxvae[anndata]'`. Files
are written whole or not at all.
"""

import csv
import importlib.util
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxvae.data.table import MISSING
from jaxvae.files import replacing, write_bytes

FORMATS = (".csv", ".tsv", ".parquet", ".feather", ".npy", ".npz", ".h5ad")
EXTRAS = {
    ".parquet": ("pyarrow", "tables"),
    ".feather": ("pyarrow", "tables"),
    ".h5ad": ("anndata", "anndata"),
}
"""Packages that read and write a format, and the extras that install them, by the suffix of the file."""
IN_OBSM = "X_jaxvae"
BLOCK = 4096
"""Number of rows that are converted to text at a time."""
OWN = re.compile(r"id|cluster|(z|sd)\d+")
"""Names of columns that are not factors."""
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
"""Characters of ids that may be used as file names."""


class Codes(NamedTuple):
    """The codes of N examples."""

    ids: np.ndarray
    """Names of the examples, or their rows in the data: str or int [N]."""
    means: np.ndarray
    """Posterior means, float32 [N, D]."""
    standard_deviations: np.ndarray
    """Posterior standard deviations, float32 [N, D]."""
    clusters: np.ndarray | None
    """Cluster of each example, int [N]; None if the prior is no mixture."""
    factors: np.ndarray | None
    """Factors, int32 [N, K], or None if they are unknown."""
    factor_names: tuple[str, ...]
    """Names of the K factors."""
    factor_values: tuple[tuple[str, ...], ...] = ()
    """Texts of the values of each factor, in the order of their numbers; empty if values are their numbers."""
    part: np.ndarray | None = None
    """Part of the run's data that each example is in, as words: train, validation or test, str [N]; None if the run
    holds no examples out, or the examples are of other data."""

    def labels(self) -> dict[str, np.ndarray]:
        """Returns the columns besides the ids and the codes: cluster, part, and the factors by name.

        A factor whose name is one of those of other columns gets the prefix "factor_". Missing labels are "".
        """
        own = {name: of for name, of in {"cluster": self.clusters, "part": self.part}.items() if of is not None}
        names = [f"factor_{name}" if name in own else column_of_factor(name) for name in self.factor_names]
        if self.factors is None:
            return own
        values = list(self.factors.T)
        if self.factor_values:
            written = [["" if text == MISSING else text for text in texts] for texts in self.factor_values]
            values = [np.array(texts)[column] for texts, column in zip(written, values, strict=True)]
        return own | dict(zip(names, values, strict=True))

    def columns(self) -> dict[str, np.ndarray]:
        """Returns all columns of a table of the codes, by name: [N] each."""
        means = dict(zip(_names("z", self.means), self.means.T, strict=True))
        spreads = dict(zip(_names("sd", self.means), self.standard_deviations.T, strict=True))
        return {"id": self.ids, **means, **spreads, **self.labels()}


def column_of_factor(name: str) -> str:
    """Returns the name of a factor's column, which differs from the names of the columns of ids and codes."""
    return f"factor_{name}" if OWN.fullmatch(name) else name


def check_out(path: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Raises ValueError for a file that cannot be written: its ending, a package that is missing, or a folder there."""
    if path.suffix.lower() not in formats:
        raise ValueError(f"--out must end in {', '.join(formats[:-1])} or {formats[-1]}, got {path}")
    require_package(path)
    if path.is_dir():
        raise ValueError(f"--out must name a file, and {path} is a folder")


def write_codes(path: Path, codes: Codes, settings: Mapping[str, Any], known: Mapping[str, Any] = {}) -> None:
    """Writes codes in the format that the ending of the path names, whole or not at all.

    Args:
      path: File to write; an existing one is replaced.
      codes: Codes to write.
      settings: JSON values that say where the codes come from, for the formats that have a place for them.
      known: Further values of `uns["jaxvae"]` in h5ad files, such as `jaxvae.runs.annotations` gives them.

    Raises:
      ValueError: See `check_out`.
      NotWritten: The file cannot be written.
    """
    check_out(path)
    match path.suffix.lower():
        case ".npz":
            given = {"clusters": codes.clusters, "part": codes.part, "factors": codes.factors}
            more = {name: array for name, array in given.items() if array is not None}
            if codes.factors is not None:
                names = {"part": "factor_part"} if codes.part is not None else {}
                more["factor_names"] = np.array([names.get(name, name) for name in codes.factor_names])
            write_arrays(
                path,
                ids=codes.ids,
                means=codes.means,
                standard_deviations=codes.standard_deviations,
                settings=np.array(json.dumps(settings)),
                **more,
            )
        case ".npy":
            write_arrays(path, means=codes.means)
        case ".h5ad":
            _write_h5ad(path, codes, {**_text_of(settings), **known})
        case _:
            write_columns(path, codes.columns(), settings)


def write_columns(path: Path, columns: Mapping[str, np.ndarray], settings: Mapping[str, Any] | None = None) -> None:
    """Writes columns [N] by name as a csv, tsv, parquet or feather file, whole or not at all.

    Numbers in text have as many digits as it takes to read the same number again.
    """
    if path.suffix.lower() in (".parquet", ".feather"):
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet

        table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
        table = table.replace_schema_metadata({"jaxvae": json.dumps(settings or {})})
        with replacing(path) as file:
            write = pyarrow.parquet.write_table if path.suffix.lower() == ".parquet" else pyarrow.feather.write_feather
            write(table, file, compression="zstd")
        return
    rows = len(next(iter(columns.values())))
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        for first in range(0, rows, BLOCK):
            block = [column[first : first + BLOCK].astype(str).tolist() for column in columns.values()]
            writer.writerows(zip(*block, strict=True))
        text.detach()


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays as an npz file, or the only one as an npy file, whole or not at all."""
    with replacing(path) as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, allow_pickle=False, **arrays)
        else:
            (array,) = arrays.values()
            np.save(file, array, allow_pickle=False)


def write_pictures(folder: Path, pictures: np.ndarray, ids: np.ndarray) -> None:
    """Writes pictures [N, H, W, 1 or 3] as PNG files in a folder, each whole or not at all.

    The files are named by the ids where these are different names of files, and by their numbers otherwise. Values are
    clipped to [0, 1].

    Raises:
      ValueError: The pictures have another number of channels, or the path is a file.
    """
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        shape = ", ".join(map(str, pictures.shape[1:]))
        raise ValueError(
            f"PNG files hold pictures of one or three channels, and the examples have the shape [{shape}]: "
            "write --out FILE.npz"
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file: name a folder for PNG files, or a file that ends in .npz")
    folder.mkdir(parents=True, exist_ok=True)
    levels = np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    for name, picture in zip(_file_names(ids), levels, strict=True):
        content = io.BytesIO()
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(content, "PNG")
        write_bytes(folder / f"{name}.png", content.getvalue())


def _file_names(ids: np.ndarray) -> list[str]:
    """Returns the ids as file names, with numbers padded by zeros. If the ids are not distinct valid file names, the
    row numbers are used.
    """
    names = [str(name).removesuffix(".png") for name in ids]
    safe = all(name.strip(".") and len(name) < 200 and SAFE.issuperset(name) for name in names)
    if not safe or len({name.lower() for name in names}) < len(names):
        names = [str(row) for row in range(len(names))]
    width = max(map(len, names))
    return [name.zfill(width) for name in names] if all(map(str.isdecimal, names)) else names


def _write_h5ad(path: Path, codes: Codes, uns: Mapping[str, Any]) -> None:
    import anndata
    import h5py
    import pandas

    labels = codes.labels()
    if "cluster" in labels:
        labels["cluster"] = pandas.Categorical(labels["cluster"].astype(str))
    obs = pandas.DataFrame(labels, index=codes.ids.astype(str))
    spreads = {f"{IN_OBSM}_sd": codes.standard_deviations}
    data = anndata.AnnData(obs=obs, obsm={IN_OBSM: codes.means, **spreads}, uns={"jaxvae": dict(uns)})
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        anndata.io.write_elem(file, "/", data)
    write_bytes(path, content.getvalue())


def _text_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Converts settings to values that h5ad files hold: text and numbers unchanged, all others as JSON."""
    plain = str | int | float
    return {name: value if isinstance(value, plain) else json.dumps(value) for name, value in settings.items()}


def _names(kind: str, codes: np.ndarray) -> list[str]:
    return [f"{kind}{latent}" for latent in range(codes.shape[1])]


def require_package(path: Path) -> None:
    """Raises ValueError, with the line that installs it, if the package for such files is missing."""
    package, extra = EXTRAS.get(path.suffix.lower(), (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        raise ValueError(f"{path}: {path.suffix} files need {package}: pip install 'jaxvae[{extra}]'")
