"""Sources of batches, with their ground-truth factors where these are known.

`open_data(NAME)` accepts the same names as `--data`. Images are generated on the device or stored there
(one bit per pixel for binary images, one byte otherwise), and batches are drawn inside the compiled training step.

| `--data` | data set |
|---|---|
| `scene` | a landscape for first runs, generated |
| `sprites` | the grid of dSprites, generated |
| `rooms` | a ray-cast room with the factors of Shapes3D, generated |
| `xy-squares` | three coloured squares at places that do not overlap, generated; losses on pixels do not order them |
| `color-sprites` `noisy-sprites` `scream-sprites` | harder variants of the study, of any binary images |
| `digits` | the 1,797 handwritten digits of scikit-learn, 8 x 8 pixels unless resized |
| `segments` | vectors of five sources in 40 segments, mixed by three layers, for `ivae`; the factor is the segment |
| `bars` | squares of 8 x 8 real numbers with one row lit, for `oi-vae`; the factor is the row |
| `clusters` | vectors of 50 numbers in ten Gaussian clusters, for `vae-sne`; the factor is the cluster |
| `cells` | simulated cells x genes, counts of eight programs that add up, for `drvi`; factors are type and batch |
| `time-series` | vectors of six groups of five channels that follow four slow oscillations, for `oi-vae` |
| `waves` | series of 64 times 3 numbers, sums of sines, for the network `conv1d`; frequency, phase and amplitude |
| `squares` | smooth noise, half of it with bright squares: a known effect, for `va-gan` and `icam` |
| `moving-sprites` | clips of a sprite in front of a still background, for `equivariant-rendering` |
| `dsprites:PATH` `shapes3d:PATH` `mpi3d:PATH` | the published npz or hdf5 file |
| `cars3d:PATH` `smallnorb:PATH` | the folder of the published files |
| `isaac3d:PATH` `falcor3d:PATH` | the folder of the published pictures and labels |
| `table:PATH` | your table: a CSV, TSV, Parquet, Feather, npy or npz file with a row per example |
| `anndata:PATH` | the matrix X of an AnnData file, .h5ad or .zarr; `anndata:PATH:LAYER` is a layer of it |
| `arrays:PATH` | your images: an npz or hdf5 file with `images` and, if known, `factors`; or an npy file of images |
| `series:PATH` | your series [N, T, D] of real numbers: an npy file, or an npz file with `x` and labels [N] by name |
| `pictures:PATH` | a folder of image files |
| `tfds:NAME` | an image data set of TensorFlow Datasets, read without TensorFlow |
| `PATH` | any of `table:PATH`, `anndata:PATH[:LAYER]`, `arrays:PATH` and `pictures:PATH`, by what is there |

`arrays:` means images; a matrix with a row per example is a table, `table:PATH`, and is refused as `arrays:`.

A TFDS data set is decoded once and then kept in a packed cache with checksums. Published files are read as they are,
packed by gzip (`.gz`) or not; a file that differs is refused with the reason. Nothing is ever unpickled, and nothing is
read from other files that an HDF5 file names.

Images have their channels last, and any number of them. A report shows one or three channels as they are, two in red
and green, and the first three of more. Floats are in [0, 1]; values up to 0.001
outside, as rounding leaves them, are clipped. `jaxvae.data.pictures` says what is made of picture files: 16-bit and
float pictures keep their grey levels, EXIF orientation is applied, transparent pixels show a white ground, and every
page is a picture.

- `--image-size` crops and resizes the images.
- `--sampling epochs` visits every image once per epoch. The order is computed from the seed, so that a resumed run
  continues with the next image.
- `--stream` leaves the images in their file and reads batches ahead of time with Grain
  (`pip install 'jaxvae[stream]'`). Tables stream as well, see below.

## Tables

The columns of a table are real, count, binary, categorical, constant or identifiers. The kind of each column is
inferred from its values and printed before training; `--kind age=real visits=count "gene_*=count"` changes some. Real
columns are standardized, counts stay counts, and constant columns and identifiers are left out. Values may be missing:
the encoder sees 0 in their place and which values are observed, and the likelihood is that of the observed values. Each
kind of column has a likelihood of its own (`jaxvae.methods.by_columns`). Dates, text, infinite values and cells that
are no numbers in a column of numbers are refused with a line that says what to do.

In files of text, the separator is the comma, semicolon, tab or bar that gives the header the most cells, and a line
`sep=;` above the header names it. Numbers have decimal commas if any has. Each row has as many cells as the header; a
first column without a name holds the ids, also as R's `write.table` writes it, where the header has one cell less. In
Parquet and Feather files, an index of pandas without a name holds the ids, and the levels of a MultiIndex are columns.

- `--label-columns type stage` names labels. They are not learned from; codes are scored and drawn by them. Labels of
  real numbers have at most 20 different values: cut others into bins.
- A file of new rows needs the columns that the model was trained on, in any order. A column that the model was not
  trained on is refused by name, unless it holds a single value: it is left out then, with a line that names it.
- `--columns`, `--drop` choose columns to learn from; `sensor_*` stands for all that begin with `sensor_`.
- `--id-column` names the rows, and `--group-column` the groups of rows that a split keeps together.
- `--split-column` names a column of the words train, validation and test, which say which rows are held out.

- `--stream` is for tables in npy, Parquet, h5ad and zarr files that are larger than memory: their encoded rows are kept
  in a scratch file on the disk. `jaxvae.data.in_file` states what that takes.

```python
import numpy as np
from jaxvae.data.tabular import Columns, from_columns

rng = np.random.default_rng(0)
columns = {"height": rng.normal(170, 10, 100), "visits": rng.poisson(3, 100), "city": rng.choice(["Bern", "Oslo"], 100)}
table = from_columns(columns, Columns(labels=("city",)))
print(table.schema)  # height is real, and visits a count
```

The matrix of an AnnData file is a table whose columns are named by `var_names`; labels, groups and ids are columns of
`obs`. The whole matrix is of one kind: counts if all values are whole numbers and none is negative, else real. Genes
without any count are left out, and so are genes of a query that the model was not trained on, with a line that says how
many. `--kind "*=real"` changes the kind of all. `jaxvae.data.anndata` states the memory that
it takes, and experiments/cells.md is an example.

## Series

`series:FILE` reads series [N, T, D] of T times and D channels from an npy file, or from an npz file as its array `x` or
its only array of three axes. Each channel is standardized with its mean and standard deviation over all times of the
examples to train on, as the real columns of a table are. They are kept with the run, so that `jaxvae encode RUN
series:NEW.npy` scales other series in the same way, and `jaxvae decode` writes series on the scale of the file; figures
show standardized values. A constant channel has the scale 1. Missing and infinite values are refused. The likelihood
is Gaussian unless `--likelihood` says otherwise, and `--network conv1d` convolves over time.

An npz file may name the channels in `columns` [D], by which other files are matched; without names they are matched by
their order. `--columns` and `--drop` choose channels, and arrays [N] of the file serve `--label-columns`,
`--id-column`, `--group-column` and `--split-column`, as for tables.

```python
import numpy as np
from jaxvae.data.series import series_file
from pathlib import Path
from tempfile import TemporaryDirectory

with TemporaryDirectory() as folder:
    np.save(Path(folder) / "walks.npy", np.random.default_rng(0).normal(size=(100, 64, 3)).cumsum(axis=1))
    walks = series_file(Path(folder) / "walks.npy")
print(walks.channel_schema)  # three real channels, with their means and scales
```

## Images without factors, subsets, pairs

Without known factors there are no metrics, and the report leaves out their sections.

`split` holds examples out for validation and testing, by shares and a seed, with groups kept together if their numbers
are given; `--validation 0.1 --test 0.1` does so on the command line. If the data is a grid of factors, a random share
of the combinations is held out. The split depends on `--split-seed` and the data only, so that runs that differ in
anything else are scored on the same examples.

To measure generalization to new combinations, `hold_out` keeps a combination of factors for testing, `Correlated`
correlates two factors, and `CorrelatedPairs` several pairs. On the command line, `--hold-out shape=2,x=16:32` or
`--hold-out dsprites-range` holds out combinations (`recombinations`), and `--correlation scale~shape:0.1` correlates
factors (`jaxvae.data.correlations`). `Pairs` and `Groups` draw images that share some of their factors:

```python
import jax
from jaxvae.data import Correlated, Pairs, Rooms, Sprites, hold_out

train_set, test_set = hold_out(Sprites(16), {"shape": [2], "x": range(16, 32)})  # no hearts in the right half
tied = Correlated(Rooms(16), "scale", "shape", strength=0.8)
pair = Pairs(Sprites(16), shared=3).sample(jax.random.key(0), 8)  # x, x2, factors, factors2, shared
```

`Constraints` draws images with a known relation in one factor: shared values, distances, ranks and analogies.
`few_labels` adds labels to some of the examples, `classified` and `augmented` add classes, `case_control` draws as
many images with an effect as without, and `moving_sprites` draws clips. `segments` generates mixed sources together
with the auxiliary variable that identifies them; `bars`, `clusters` and `time_series` generate vectors, `cells`
counts, and `waves` series.

Pictures of a folder have the names of their files as `ids`, and `from_arrays` takes names for other examples; files of
codes repeat them (`jaxvae encode`).

Every data set is a `Source`, and `Source` documents what your own has to provide; `from_arrays(images, factors)`
builds one from arrays. On the command line, `--data my_package.my_data:NAME` names a source, or a function without
arguments that returns one; a package offers it by name through the entry-point group `jaxvae.data`. A source is a
pytree whose images are arguments of the compiled step, not constants in it.
"""

from typing import Any

from jaxvae.choose import renamed
from jaxvae.data.batches import (
    CasesAndControls,
    FewLabels,
    InClasses,
    InConstraints,
    InGroups,
    InPairs,
    Single,
    WithAuxiliary,
    WithCovariates,
)
from jaxvae.data.cells import cells
from jaxvae.data.classes import Augmented, Classified, augmented, classified
from jaxvae.data.constraints import Constraints
from jaxvae.data.correlations import CorrelatedPairs, Tie, correlated_pairs
from jaxvae.data.effects import CaseControl, case_control, squares
from jaxvae.data.files import array_file
from jaxvae.data.generated import bars, clusters, digits, segments, time_series, waves
from jaxvae.data.grid import FactorGrid
from jaxvae.data.labels import Conditioned, Labelled, few_labels
from jaxvae.data.options import DataOptions
from jaxvae.data.origin import origin_of
from jaxvae.data.pairs import Groups, Pairs
from jaxvae.data.pictures import one_picture, picture_folder
from jaxvae.data.registry import CLIPS, DATA, FILES, TABLES, VARIANTS, open_data
from jaxvae.data.rooms import Rooms
from jaxvae.data.scene import Scene
from jaxvae.data.shuffle import Epochs, shuffled_index
from jaxvae.data.source import GroundTruth, Shard, Source, grid_index
from jaxvae.data.splits import HeldOut, Parts, recombinations, split
from jaxvae.data.sprites import Sprites
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Correlated, Subset, all_factors, hold_out
from jaxvae.data.table import Origin, Table, from_arrays
from jaxvae.data.tfds import tfds_table
from jaxvae.data.variants import Variant, variant
from jaxvae.data.videos import MovingSprites, moving_sprites
from jaxvae.data.xy_squares import XYSquares

__all__ = [
    "CLIPS",
    "DATA",
    "FILES",
    "TABLES",
    "VARIANTS",
    "Augmented",
    "CaseControl",
    "CasesAndControls",
    "Classified",
    "Conditioned",
    "Constraints",
    "Correlated",
    "CorrelatedPairs",
    "DataOptions",
    "Epochs",
    "FactorGrid",
    "FewLabels",
    "GroundTruth",
    "Groups",
    "HeldOut",
    "InClasses",
    "InConstraints",
    "InGroups",
    "InPairs",
    "Labelled",
    "MovingSprites",
    "Origin",
    "Pairs",
    "Parts",
    "Rooms",
    "Scene",
    "Shard",
    "Single",
    "Source",
    "Sprites",
    "Streamed",
    "Subset",
    "Table",
    "Tie",
    "Variant",
    "WithAuxiliary",
    "WithCovariates",
    "XYSquares",
    "all_factors",
    "array_file",
    "augmented",
    "bars",
    "case_control",
    "cells",
    "classified",
    "clusters",
    "correlated_pairs",
    "digits",
    "few_labels",
    "from_arrays",
    "grid_index",
    "hold_out",
    "moving_sprites",
    "one_picture",
    "open_data",
    "origin_of",
    "picture_folder",
    "recombinations",
    "segments",
    "shuffled_index",
    "split",
    "squares",
    "tfds_table",
    "time_series",
    "variant",
    "waves",
]


def __getattr__(name: str) -> Any:
    return renamed(
        __name__, name, {"Decorated": "Variant", "LOOKS": "VARIANTS", "Part": "Shard", "decorated": "variant"}
    )
