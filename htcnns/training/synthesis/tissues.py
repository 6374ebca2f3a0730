"""The tissues of a head, and FreeSurfer's numbers for each."""

from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Kinds of tissue that are each painted alike. SULCUS is fluid so thin that it partly looks like cortex."""

    AIR = 0
    WHITE = 1
    CORTEX = 2
    DEEP_GREY = 3
    PALLIDUM = 4
    CEREBELLUM_GREY = 5
    CEREBELLUM_WHITE = 6
    STEM = 7
    LESION = 8
    VENTRICLE = 9
    FLUID = 10
    CHOROID = 11
    VEIN = 12
    ARTERY = 13
    BONE = 14
    MARROW = 15
    SOFT = 16
    SULCUS = 17


PARENCHYMA = tuple(Tissue(number) for number in range(Tissue.WHITE, Tissue.LESION + 1))
WHITE_LIKE = (Tissue.WHITE, Tissue.CEREBELLUM_WHITE, Tissue.STEM, Tissue.LESION)
INSIDE = (*PARENCHYMA, Tissue.VENTRICLE, Tissue.CHOROID)  # what skull stripping keeps

# FreeSurfer's colour table, and 502-530 as in SynthSeg's label maps (Billot 2023, doi 10.1016/j.media.2023.102789);
# the meaning of the latter was inferred from where they lie in its twenty heads.
FREESURFER = {
    Tissue.WHITE: (2, 41, 85, 530, 251, 252, 253, 254, 255),
    Tissue.CORTEX: (3, 42, 17, 18, 53, 54),
    Tissue.DEEP_GREY: (9, 10, 11, 12, 26, 48, 49, 50, 51, 58),
    Tissue.PALLIDUM: (13, 52),
    Tissue.CEREBELLUM_GREY: (8, 47),
    Tissue.CEREBELLUM_WHITE: (7, 46),
    Tissue.STEM: (16, 28, 60),
    Tissue.LESION: (25, 57, 77, 78, 79),
    Tissue.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Tissue.FLUID: (24, 137, 164),
    Tissue.CHOROID: (31, 63, 136, 163),
    Tissue.VEIN: (30, 62, 514),
    Tissue.ARTERY: (502,),
    Tissue.BONE: (515, 165),
    Tissue.MARROW: (516,),
    Tissue.SOFT: (506, 507, 508, 509, 511, 512, 258),
}


def tissues_of(label_map: np.ndarray) -> np.ndarray:
    """uint8 Tissue of every voxel of a label map in FreeSurfer's numbers; unknown numbers become AIR."""
    table = np.zeros(max(int(label_map.max()), 600) + 1, np.uint8)
    for tissue, numbers in FREESURFER.items():
        table[list(numbers)] = tissue
    return table[label_map]


def mask_of(tissues: np.ndarray, *wanted: Tissue) -> np.ndarray:
    """Bool mask of the voxels that have one of the tissues."""
    table = np.zeros(len(Tissue), bool)
    table[list(wanted)] = True
    return table[tissues]
