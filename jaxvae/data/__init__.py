"""Sources of batches, with their ground-truth factors where they are known.

`open_data` finds any of them by what the command line calls it.
"""

from typing import Any

from jaxvae.choose import renamed
from jaxvae.data.batches import (
    CasesAndControls,
    FewLabels,
    InClasses,
    InGroups,
    InPairs,
    Single,
    WithAuxiliary,
)
from jaxvae.data.classes import Augmented, Classified, augmented, classified
from jaxvae.data.effects import CaseControl, case_control, squares
from jaxvae.data.files import array_file, picture_folder
from jaxvae.data.generated import bars, clusters, digits, segments, time_series
from jaxvae.data.grid import FactorGrid
from jaxvae.data.labels import Conditioned, Labelled, few_labels
from jaxvae.data.options import DataOptions
from jaxvae.data.pairs import Groups, Pairs
from jaxvae.data.registry import CLIPS, DATA, FILES, TABLES, VARIANTS, open_data
from jaxvae.data.rooms import Rooms
from jaxvae.data.scene import Scene
from jaxvae.data.shuffle import Epochs, shuffled_index
from jaxvae.data.source import GroundTruth, Shard, Source, grid_index
from jaxvae.data.sprites import Sprites
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Correlated, Subset, all_factors, hold_out
from jaxvae.data.table import Table, from_arrays
from jaxvae.data.tfds import tfds_table
from jaxvae.data.variants import Variant, variant
from jaxvae.data.videos import MovingSprites, moving_sprites

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
    "Correlated",
    "DataOptions",
    "Epochs",
    "FactorGrid",
    "FewLabels",
    "GroundTruth",
    "Groups",
    "InClasses",
    "InGroups",
    "InPairs",
    "Labelled",
    "MovingSprites",
    "Pairs",
    "Rooms",
    "Scene",
    "Shard",
    "Single",
    "Source",
    "Sprites",
    "Streamed",
    "Subset",
    "Table",
    "Variant",
    "WithAuxiliary",
    "all_factors",
    "array_file",
    "augmented",
    "bars",
    "case_control",
    "classified",
    "clusters",
    "digits",
    "few_labels",
    "from_arrays",
    "grid_index",
    "hold_out",
    "moving_sprites",
    "open_data",
    "picture_folder",
    "segments",
    "shuffled_index",
    "squares",
    "tfds_table",
    "time_series",
    "variant",
]


def __getattr__(name: str) -> Any:
    return renamed(
        __name__, name, {"Decorated": "Variant", "LOOKS": "VARIANTS", "Part": "Shard", "decorated": "variant"}
    )
