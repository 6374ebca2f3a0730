"""A segmentation of a synthetic head that no network was trained on and whose tumour volumes are known."""

from pathlib import Path

import numpy as np

from htcnns.doors.run_printer import run_and_print
from htcnns.errors import EXIT_CASE_FAILED, EXIT_DONE
from htcnns.files.atomic import require_writable
from htcnns.files.nifti import read_labels, write_case_file
from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import GLIOMA, LABEL_SETS, SEQUENCES, encode, region_mask
from htcnns.reports.outcome import Outcome
from htcnns.runs.settings import RunSettings
from htcnns.scores.metrics import dice

CASE = "BraTS-GLI-99999-000"
SEED = 7
NUMBERS = LABEL_SETS["brats2023"]


def segment_demo(folder: Path) -> int:
    """Make and segment the synthetic case, compare it with the truth, print where the files are; return the exit code.

    Other cases and masks in the folder are left alone, as they may be somebody's own.
    """
    phantom = write_demo_case(folder / "input")
    settings = RunSettings(again=True, previews=folder / "previews", report=folder / "report.json")
    outcomes, signal_number = run_and_print(folder / "input" / CASE, folder / "masks", settings)
    if signal_number:
        return 128 + signal_number
    outcome = outcomes[0]
    if outcome.mask is None:
        return EXIT_CASE_FAILED
    print("\n".join(comparison(phantom, outcome)))
    print(f"mask     {outcome.mask}\npicture  {folder / 'previews' / (outcome.case + '.png')}")
    print(f"report   {settings.report}")
    return EXIT_DONE


def write_demo_case(folder: Path) -> Phantom:
    """Write the synthetic case and its truth into `folder`, and return its phantom.

    Raises:
        OutputError: the folder cannot be written.
    """
    case = folder / CASE
    require_writable(case)
    phantom = make_phantom(seed=SEED)
    for sequence, array in zip(SEQUENCES, phantom.sequences, strict=True):
        write_case_file(case / f"{CASE}-{sequence}.nii.gz", array.astype(np.int16), phantom.affine)
    write_case_file(case / f"{CASE}-seg.nii.gz", encode(phantom.truth, NUMBERS), phantom.affine)
    return phantom


def comparison(phantom: Phantom, outcome: Outcome) -> list[str]:
    """Lines of a table: known and predicted volume of each region in a finished case, and Dice."""
    assert outcome.mask is not None
    found = read_labels(outcome.mask, NUMBERS).array
    lines = ["region    known      found      Dice"]
    for region in GLIOMA.regions:
        score = dice(region_mask(found, region), region_mask(phantom.truth, region))
        known, volume = phantom.volumes_ml[region], outcome.volumes_ml[region.name]
        lines.append(f"{region.name:6} {known:8.1f} ml {volume:7.1f} ml    {score:.3f}")
    return lines
