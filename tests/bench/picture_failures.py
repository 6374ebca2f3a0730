"""The picture of failures in the model card: what the shipped members mark in phantoms like cases that they missed.

Run with both cores free: python tests/bench/picture_failures.py FILE.png
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import htcnns
from htcnns.files.nifti import write_case_file
from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import GLIOMA, SEQUENCES, Region, Sequence, region_mask
from htcnns.reports.gallery import Shown, gallery
from htcnns.scores.metrics import dice

SEED = 11  # another head than the demo's
FAINT = 0.1  # fraction of the tumour's contrast in t2f that is kept


def main() -> None:
    """Write the picture, and print the Dice of each region."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    rows = []
    for title, phantom in _cases():
        found = _segmented(phantom)
        scores = ", ".join(f"{region.name} {score:.2f}" for region, score in _dice(found, phantom.truth).items())
        print(f"{title}: {scores}")
        z_scores = np.stack([_z_scores(array) for array in phantom.sequences])
        rows += [Shown(f"{title}: truth", z_scores, phantom.truth), Shown(f"found: Dice {scores}", z_scores, found)]
    page = Image.fromarray(gallery(rows))
    page.quantize(method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def _cases() -> Iterator[tuple[str, Phantom]]:
    """Title and phantom: an ordinary tumour first, then two that lack what the members rely on."""
    ordinary = make_phantom(seed=SEED)
    yield "ordinary tumour", ordinary
    yield f"{FAINT:.0%} of its contrast in t2f", _faint_in_t2f(ordinary)
    yield "core without enhancement", make_phantom(seed=SEED, enhancing=False)


def _faint_in_t2f(phantom: Phantom) -> Phantom:
    """The phantom whose tumour differs less from the brain around it in t2f."""
    sequences = phantom.sequences.copy()
    t2f, tumour = sequences[SEQUENCES.index(Sequence.T2F)], phantom.truth > 0
    usual = np.median(t2f[(t2f > 0) & ~tumour])
    t2f[tumour] = np.rint(usual + FAINT * (t2f[tumour] - usual))
    return replace(phantom, sequences=sequences)


def _segmented(phantom: Phantom) -> np.ndarray:
    """(I, J, K) uint8 label map of a run with default settings."""
    with tempfile.TemporaryDirectory() as folder:
        files = {sequence.value: Path(folder) / f"phantom-{sequence}.nii.gz" for sequence in SEQUENCES}
        for file, array in zip(files.values(), phantom.sequences, strict=True):
            write_case_file(file, array.astype(np.int16), phantom.affine)
        return htcnns.segment(**files).label_map


def _dice(found: np.ndarray, truth: np.ndarray) -> dict[Region, float]:
    return {each: dice(region_mask(found, each), region_mask(truth, each)) for each in GLIOMA.regions}


def _z_scores(array: np.ndarray) -> np.ndarray:
    """(I, J, K) float32 z-scores inside the brain, 0 outside."""
    brain = array > 0
    return np.where(brain, (array - array[brain].mean()) / array[brain].std(), 0).astype(np.float32)


if __name__ == "__main__":
    main()
