"""Packed cases after a member's own preprocessing, to draw patches from."""

from dataclasses import replace

from htcnns.files.prepared_cases import PreparedCase, prepared_case
from htcnns.image.member_input import Preprocessing, shown_to_member
from htcnns.image.preprocess import PreprocessSettings
from htcnns.training.cases import CaseStore, resample_labels
from htcnns.training.packed_inference import as_networks_see

_UNPADDED = PreprocessSettings(window=(1, 1, 1))


def store_shown(store: CaseStore, how: Preprocessing) -> CaseStore:
    """The store with its cases as the member sees them; the same store if the member sees them as packed."""
    return store if how == Preprocessing() else store.changed(lambda case: case_shown(case, how))


def case_shown(case: PreparedCase, how: Preprocessing) -> PreparedCase:
    """The case on the member's grid; each voxel of the truth takes the label of largest interpolation weight."""
    seen = shown_to_member(as_networks_see(case, _UNPADDED), how)
    shape, box = seen.brain.shape, seen.undo.box
    label_map = resample_labels(case.label_map[box], shape)
    inside = None if case.inside is None else resample_labels(case.inside[box], shape)
    return prepared_case(replace(case.card, shape=shape), seen.array, label_map, inside=inside)
