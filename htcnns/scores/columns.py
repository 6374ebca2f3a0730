"""The scores that people read: what kind of number each one is, and whether more or less of it is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType


class Kind(Enum):
    """What a score measures, which decides how it is rounded and what a missing case scores."""

    SHARE = "share, usually 0 to 1"
    DISTANCE = "millimetres"
    VOLUME = "millilitres"
    COUNT = "whole number"


class Better(IntEnum):
    """Which direction of a score is better; the number is the sign of an improvement."""

    MORE = 1
    NEITHER = 0
    LESS = -1


@dataclass(frozen=True)
class Column:
    """One score as tables show it."""

    name: str
    kind: Kind
    better: Better


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        column.name: column
        for column in (
            Column("lesion_dice", Kind.SHARE, Better.MORE),
            Column("lesion_hd95_mm", Kind.DISTANCE, Better.LESS),
            Column("dice", Kind.SHARE, Better.MORE),
            Column("hd95_mm", Kind.DISTANCE, Better.LESS),
            Column("sensitivity", Kind.SHARE, Better.MORE),
            Column("specificity", Kind.SHARE, Better.MORE),
            Column("lesion_nsd_0.5mm", Kind.SHARE, Better.MORE),
            Column("lesion_nsd_1mm", Kind.SHARE, Better.MORE),
            Column("lesion_nsd", Kind.SHARE, Better.MORE),
            Column("nsd_0.5mm", Kind.SHARE, Better.MORE),
            Column("nsd_1mm", Kind.SHARE, Better.MORE),
            Column("nsd", Kind.SHARE, Better.MORE),
            Column("f1", Kind.SHARE, Better.MORE),
            Column("precision", Kind.SHARE, Better.MORE),
            Column("recall", Kind.SHARE, Better.MORE),
            Column("panoptic_quality", Kind.SHARE, Better.MORE),
            Column("n_tp", Kind.COUNT, Better.MORE),
            Column("n_fp", Kind.COUNT, Better.LESS),
            Column("n_fn", Kind.COUNT, Better.LESS),
            Column("prediction_volume_ml", Kind.VOLUME, Better.NEITHER),
            Column("truth_volume_ml", Kind.VOLUME, Better.NEITHER),
            Column("volume_error_ml", Kind.VOLUME, Better.NEITHER),
            Column("hd95-deepmind", Kind.DISTANCE, Better.LESS),
            Column("hd95-medpy", Kind.DISTANCE, Better.LESS),
            Column("hd95-monai", Kind.DISTANCE, Better.LESS),
            Column("border-nsd-0.5mm", Kind.SHARE, Better.MORE),
            Column("border-nsd-1mm", Kind.SHARE, Better.MORE),
        )
    }
)
"""In the order of the tables; other scores of a rule (spreads, counts of large lesions) are written to files only."""
