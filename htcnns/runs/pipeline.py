"""One case from its files to its label map: read and prepare, run the members, clean up, fuse, turn back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from htcnns.files.cases import Case
from htcnns.files.scans import read_case
from htcnns.image.fusion import CUT, Fused, fuse
from htcnns.image.postprocess import agreeing, postprocess_and_count
from htcnns.image.preprocess import Prepared, preprocess
from htcnns.labels import REGIONS, LabelSet, Region, compose, region_mask
from htcnns.runs.ensemble import Ensemble, EnsembleSettings, Stopwatch, member_probabilities


@dataclass(frozen=True)
class Ready:
    """A case that has been read and prepared."""

    case: Case
    prepared: Prepared
    affine: np.ndarray


@dataclass(frozen=True)
class MemberFinding:
    """What one member said of a case, after clean-up.

    Attributes:
        volumes_ml: by region name.
        largest: the highest probability of each region anywhere, before clean-up.
        sensitivity, specificity: of each region, as the fusion estimates them; None where undefined.
        n_cleaned: voxels that clean-up moved to another label.
    """

    name: str
    volumes_ml: dict[str, float]
    largest: dict[str, float]
    sensitivity: dict[str, float | None]
    specificity: dict[str, float | None]
    n_cleaned: int


@dataclass(frozen=True)
class Segmentation:
    """The answer for one case.

    Attributes:
        label_map: (I, J, K) uint8 of Label values on the case's own grid.
        grid_label_map: (i, j, k) the same on the networks' grid, for pictures.
        probabilities: (3, I, J, K) float32 there, the fused value of each region; None unless asked for.
        volumes_ml: of the regions, by name.
        members: what each said.
        notes: findings that a person should read.
        forward_s, n_windows: time inside the networks and windows that they saw.
    """

    label_map: np.ndarray
    grid_label_map: np.ndarray
    probabilities: np.ndarray | None
    volumes_ml: dict[str, float]
    members: tuple[MemberFinding, ...]
    notes: tuple[str, ...]
    forward_s: float
    n_windows: int


def make_ready(case: Case, ensemble: Ensemble) -> Ready:
    """Read and prepare a case for the members.

    Raises:
        InputError: a sequence is missing, or a file cannot be used.
    """
    volume = read_case(case)
    prepared = preprocess(volume.array, volume.affine, ensemble.preprocess_settings)
    return Ready(case, replace(prepared, notes=(*volume.notes, *prepared.notes)), volume.affine)


def segment_ready(
    ready: Ready,
    ensemble: Ensemble,
    settings: EnsembleSettings,
    *,
    fusion: str,
    numbers: LabelSet,
    keep_probabilities: bool,
    on_window: Callable[[], None],
) -> Segmentation:
    """Run the members over a prepared case and fuse what they say.

    Args:
        numbers: the label set to be written; a note says which of its labels the members cannot give.
    """
    stopwatch = Stopwatch()
    label_maps, probabilities, findings = [], [], []
    for member in ensemble.members:
        array = member_probabilities(
            ensemble, member, ready.prepared, settings, stopwatch=stopwatch, on_window=on_window
        )
        label_map, changes = postprocess_and_count(array, member.rules)
        label_maps.append(label_map)
        n_cleaned = changes.n_to_background + changes.n_to_ed + changes.n_to_ncr
        findings.append((member.name, array.max(axis=(1, 2, 3)), n_cleaned))
        probabilities += [agreeing(array, label_map, member.rules)] if fusion == "mean" else []
    fused = fuse(
        np.stack(label_maps),
        method=fusion,
        probabilities=np.stack(probabilities) if fusion == "mean" else None,
        names=tuple(member.name for member in ensemble.members),
    )
    label_map, on_grid = _turn_back(fused, ready.prepared, keep_probabilities=keep_probabilities)
    voxel_ml = float(abs(np.linalg.det(ready.affine[:3, :3]))) / 1000  # sheared voxels, too
    members = tuple(
        _finding(name, label_maps[m], largest, n_cleaned, fused, m)
        for m, (name, largest, n_cleaned) in enumerate(findings)
    )
    volumes_ml = {region.name: round(float(region_mask(label_map, region).sum()) * voxel_ml, 3) for region in REGIONS}
    notes = (*ready.prepared.notes, *fused.notes, *_findings_on(label_map, members), *_not_given(numbers))
    return Segmentation(
        label_map, fused.label_map, on_grid, volumes_ml, members, notes, stopwatch.forward_s, stopwatch.n_windows
    )


def _turn_back(fused: Fused, prepared: Prepared, *, keep_probabilities: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The label map, and if wanted the probabilities, on the case's own grid.

    Where the case was resampled the probabilities go back linearly and are cut there.
    """
    undo = prepared.undo
    probabilities = undo(fused.probabilities) if keep_probabilities or undo.resampled else None
    if probabilities is not None and undo.resampled:
        label_map = compose(*(probabilities >= CUT))
    else:
        label_map = undo(fused.label_map[None])[0]
    return label_map, probabilities if keep_probabilities else None


def _finding(
    name: str, label_map: np.ndarray, largest: np.ndarray, n_cleaned: int, fused: Fused, index: int
) -> MemberFinding:
    names = [region.name for region in REGIONS]
    return MemberFinding(
        name=name,
        volumes_ml={region.name: float(region_mask(label_map, region).sum()) / 1000 for region in REGIONS},
        largest=dict(zip(names, (round(float(value), 4) for value in largest), strict=True)),
        sensitivity=dict(zip(names, _known(fused.sensitivity[index]), strict=True)),
        specificity=dict(zip(names, _known(fused.specificity[index]), strict=True)),
        n_cleaned=n_cleaned,
    )


def _known(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON: None instead of nan."""
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def _findings_on(label_map: np.ndarray, members: tuple[MemberFinding, ...]) -> list[str]:
    """Sentences on a mask that is empty, or without enhancing tumour."""
    for region, what in (
        (Region.WT, "no tumour was found: the mask is empty"),
        (Region.ET, "no enhancing tumour was found"),
    ):
        if not region_mask(label_map, region).any():
            said = ", ".join(f"{member.name} {member.largest[region.name]:.2f}" for member in members)
            return [f"{what}; the highest {region.name} probability was {said}"]
    return []


def _not_given(numbers: LabelSet) -> list[str]:
    """A sentence on the labels of the set that no member can give."""
    missing = [f"{label.name} ({numbers.numbers[label]})" for label in numbers.not_given]
    return [f"{numbers.name} also has {', '.join(missing)}, which no member can give"] if missing else []
