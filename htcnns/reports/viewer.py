"""What the viewer's page receives, as values for JSON: the list of cases, and what a case's label map contains.

The page itself lies in `viewer_page` and is the same for every case: names reach it as data, never as markup.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from htcnns.image.lesion_shape import largest_lesion
from htcnns.labels import SEQUENCES, Label, Region, Sequence, region_mask
from htcnns.reports.picture import COLOURS, NAMES
from htcnns.reports.plain_text import one_line
from htcnns.reports.slices import fullest_slice
from htcnns.volume import Volume, voxel_ml

TOTALS = {Region.TC: "tumour core", Region.WT: "whole tumour"}  # regions of several labels


@dataclass(frozen=True, kw_only=True)
class ListedCase:
    """One line in the page's list of cases.

    Attributes:
        name: name of the case.
        sequences: sequences that the case has.
        mask: file name of its label map; "" for none.
        fault: sentence on why the case is unclear; "" where it is clear.
    """

    name: str
    sequences: Collection[Sequence]
    mask: str
    fault: str


def list_record(cases: Collection[ListedCase], *, masks_are: str) -> dict:
    """The list of cases, which the page asks for first.

    Args:
        masks_are: what the masks over the scans are, such as "truth".
    """
    return {
        "sequences": [sequence.value for sequence in SEQUENCES],
        "masks_are": masks_are,
        "cases": [
            {
                "name": one_line(case.name),
                "sequences": [sequence in case.sequences for sequence in SEQUENCES],
                "mask": one_line(case.mask),
                "fault": one_line(case.fault),
            }
            for case in cases
        ],
    }


def card_record(label_map: Volume, labels: Collection[Label]) -> dict:
    """Summary of a label map of Label values: volumes, colours, and where its largest lesion is seen best.

    Args:
        labels: labels of the case's label set; others in the map are not listed.
    """
    one_ml = voxel_ml(label_map.affine)
    n_voxels = np.bincount(label_map.array.ravel(order="K"), minlength=max(Label) + 1)
    tumour = region_mask(label_map.array, Region.WT)
    return {
        "labels": [
            {
                "number": int(label),
                "name": NAMES[label],
                "colour": COLOURS[label],
                "ml": float(n_voxels[label]) * one_ml,
            }
            for label in COLOURS
            if label in labels
        ],
        "totals": [
            {"name": name, "ml": float(sum(n_voxels[label] for label in region.value)) * one_ml}
            for region, name in TOTALS.items()
        ],
        "centre_mm": _centre_mm(tumour if tumour.any() else label_map.array > 0, label_map.affine),
    }


def _centre_mm(mask: np.ndarray, affine: np.ndarray) -> list[float] | None:
    """The point in world mm whose three planes show most of the largest lesion; None without a lesion."""
    if not mask.any():
        return None
    lesion = largest_lesion(mask)
    voxel = [fullest_slice(lesion, axis) for axis in range(3)]
    return [float(mm) for mm in (affine @ [*voxel, 1])[:3]]
