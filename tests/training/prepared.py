"""Small prepared cases to train on."""

import numpy as np

from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.training.samples import TrainingCase
from htcnns.volume import turn


def phantom_case(name: str = "phantom", *, seed: int = 1, with_tumour: bool = True) -> TrainingCase:
    """A phantom of 32 voxels a side, prepared as a campaign packs its cases."""
    phantom = make_phantom((32, 32, 32), seed=seed, with_tumour=with_tumour)
    prepared = preprocess(phantom.sequences, phantom.affine, PreprocessSettings(window=(1, 1, 1)))
    undo = prepared.undo
    truth = turn(phantom.truth, undo.order, undo.flips)[undo.box]
    return TrainingCase(name, prepared.array.astype(np.float16), np.ascontiguousarray(truth))
