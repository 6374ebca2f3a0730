"""The main job on a head that nobody ever trained on and whose tumour volumes are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from htcnns.files.nifti import read_label_map, write_case_file
from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import LABEL_SETS, REGIONS, SEQUENCES, decode, encode, region_mask
from htcnns.runs.batch import BatchSettings, Outcome
from htcnns.runs.folder import Request, require_writable
from htcnns.scores.metrics import dice

CASE = "BraTS-GLI-99999-000"
SEED = 7


def make_demo(folder: Path) -> tuple[Phantom, Request]:
    """Write the synthetic case and its truth under `folder`; the phantom and the request that segments it.

    Raises:
        OutputError: the folder cannot be written.
    """
    case = folder / "input" / CASE
    require_writable(case)
    phantom = make_phantom(seed=SEED)
    for sequence, array in zip(SEQUENCES, phantom.sequences, strict=True):
        write_case_file(case / f"{CASE}-{sequence}.nii.gz", array.astype(np.int16), phantom.affine)
    truth = encode(phantom.truth, LABEL_SETS["brats2023"])
    write_case_file(case / f"{CASE}-seg.nii.gz", truth, phantom.affine)
    settings = BatchSettings(again=True, previews=folder / "previews")
    return phantom, Request(folder / "input", folder / "masks", batch=settings, report=folder / "report.json")


def compare(phantom: Phantom, outcome: Outcome, *, tell: Callable[[str], None]) -> dict[str, float]:
    """Tell what a finished case found against what is known; Dice by region name."""
    assert outcome.mask is not None
    found = decode(read_label_map(outcome.mask).array, LABEL_SETS["brats2023"], where=str(outcome.mask))
    scores = {}
    tell("region    known      found      Dice")
    for region in REGIONS:
        scores[region.name] = dice(region_mask(found, region), region_mask(phantom.truth, region))
        known, volume = phantom.volumes_ml[region], outcome.volumes_ml[region.name]
        tell(f"{region.name:6} {known:8.1f} ml {volume:7.1f} ml    {scores[region.name]:.3f}")
    return scores
