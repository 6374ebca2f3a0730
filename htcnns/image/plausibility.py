"""Whether four arrays look like scans of one head; one sentence for each reason to doubt it."""

from itertools import combinations

import numpy as np

from htcnns.image.notes import Kind, Note
from htcnns.labels import SEQUENCES
from htcnns.volume import shear_degrees, size_text

LARGEST_BRAIN_ML = 2300.0  # our 13 skull-stripped real cases have 1,200 to 1,800; a whole head has more than 3,000
SMALLEST_BRAIN_ML = 300.0  # a newborn's brain is larger
THINNEST_BRAIN_MM = 20.0
FEWEST_VALUES = 5  # a mask has fewer
LARGEST_SHEAR_DEGREES = 1.0
_SPARSE = (slice(None, None, 4),) * 3  # enough to recognise a scan


def content_notes(scans: np.ndarray, masks: np.ndarray) -> list[Note]:
    """Sentences on sequences that are identical, or have as few values as a mask.

    Args:
        scans: (4, i, j, k) as stored, because resampling would blur them; a missing sequence is 0 everywhere.
        masks: (4, i, j, k) bool, True where each has signal.
    """
    given = [(sequence, scan) for sequence, scan in zip(SEQUENCES, scans, strict=True) if scan.any()]
    notes = [
        Note(f"{one} and {other} are identical; expected two different scans", Kind.SEQUENCE_DOUBLED)
        for (one, scan), (other, second) in combinations(given, 2)
        if np.array_equal(scan[_SPARSE], second[_SPARSE]) and np.array_equal(scan, second)
    ]
    for sequence, scan in given:
        n_values = _n_values(scan, masks[SEQUENCES.index(sequence)])
        if n_values < FEWEST_VALUES:
            plural = "s" if n_values != 1 else ""
            said = f"{sequence}: holds only {n_values} value{plural} inside the head, as a mask does, not a scan"
            notes.append(Note(said))
    return notes


def brain_notes(brain: np.ndarray, *, voxel_ml: float) -> list[Note]:
    """Sentences on a brain that is too large, too small or too thin.

    Args:
        brain: (i, j, k) bool at 1 mm, cropped to its box.
        voxel_ml: volume of one of its voxels; below 0.001 if the axes are sheared.
    """
    volume_ml = float(brain.sum()) * voxel_ml
    notes = []
    if volume_ml > LARGEST_BRAIN_ML:
        said = f"{volume_ml:.0f} ml of signal, a brain has less than {LARGEST_BRAIN_ML:.0f} ml"
        notes.append(Note(f"does not look skull-stripped: {said}", Kind.NOT_SKULL_STRIPPED))
    if volume_ml < SMALLEST_BRAIN_ML:
        said = f"only {volume_ml:.3g} ml of signal, a brain has more than {SMALLEST_BRAIN_ML:.0f} ml"
        notes.append(Note(said, Kind.UNUSUAL_BRAIN))
    if min(brain.shape) < THINNEST_BRAIN_MM:
        said = f"the signal is only {min(brain.shape)} mm thick ({size_text(brain.shape)} mm); expected a whole brain"
        notes.append(Note(said, Kind.UNUSUAL_BRAIN))
    return notes


def shear_notes(affine: np.ndarray) -> list[str]:
    """A sentence if the voxel axes are not orthogonal."""
    degrees = shear_degrees(affine)
    if degrees <= LARGEST_SHEAR_DEGREES:
        return []
    return [
        f"the affine is sheared: axes are {degrees:.1f} degrees from orthogonal; the networks see them as orthogonal"
    ]


def _n_values(scan: np.ndarray, mask: np.ndarray) -> int:
    """Number of distinct values of the scan inside the mask; may be too low once it reaches FEWEST_VALUES."""
    n_seen = np.unique(scan[_SPARSE][mask[_SPARSE]]).size
    return n_seen if n_seen >= FEWEST_VALUES else np.unique(scan[mask]).size
