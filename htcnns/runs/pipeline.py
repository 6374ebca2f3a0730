"""One case from its files to its label map: read and prepare, run the members, clean up, fuse, undo the preparation."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from htcnns.files.cases import Case
from htcnns.files.member import Member
from htcnns.files.scans import read_case
from htcnns.image.fusion import CUT, Fused, fuse
from htcnns.image.postprocess import agreeing, postprocess
from htcnns.image.preprocess import Prepared, preprocess
from htcnns.image.specks import without_specks
from htcnns.labels import Label, LabelSet, Region, RegionSet, region_mask
from htcnns.reports.outcome import MemberFinding
from htcnns.runs.ensemble import Ensemble, Stopwatch, member_probabilities
from htcnns.runs.settings import RunSettings
from htcnns.volume import voxel_ml


@dataclass(frozen=True)
class ReadyCase:
    """A case that has been read and prepared.

    Attributes:
        case: where it came from.
        prepared: what the networks see.
        affine: (4, 4) of the scans, voxel index to world mm.
    """

    case: Case
    prepared: Prepared
    affine: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The answer for one case.

    Attributes:
        label_map: (I, J, K) uint8 of Label values on the case's own grid.
        grid_label_map: (i, j, k) the same on the networks' grid, for pictures.
        regions: regions that the members give.
        probabilities: (R, I, J, K) float32 on the case's grid, the fused value of each region; None unless asked for.
        volumes_ml: volume of each region by name.
        label_volumes_ml: volume of each label that the members can give.
        members: findings of each member.
        notes: sentences that a person should read.
        forward_s: seconds inside the networks.
        n_windows: number of windows that they saw.
    """

    label_map: np.ndarray
    grid_label_map: np.ndarray
    regions: RegionSet
    probabilities: np.ndarray | None
    volumes_ml: dict[str, float]
    label_volumes_ml: dict[Label, float]
    members: tuple[MemberFinding, ...]
    notes: tuple[str, ...]
    forward_s: float
    n_windows: int


def prepare_case(case: Case, ensemble: Ensemble, *, most_missing: int = 0) -> ReadyCase:
    """Read and prepare a case for the members.

    Args:
        most_missing: sequences that it may lack.

    Raises:
        InputError: more sequences are missing, or a file cannot be used.
    """
    volume = read_case(case, most_missing=most_missing)
    prepared = preprocess(volume.array, volume.affine, ensemble.preprocess_settings)
    return ReadyCase(case, replace(prepared, notes=(*volume.notes, *prepared.notes)), volume.affine)


def segment_prepared(
    case: ReadyCase,
    ensemble: Ensemble,
    *,
    settings: RunSettings,
    numbers: LabelSet,
    on_window: Callable[[], None],
) -> Segmentation:
    """Run the members over a prepared case and fuse what they find.

    Args:
        settings: windows, mirrored passes, fusion, and whether probabilities are kept.
        numbers: label set of the mask; a note says which of its labels the members cannot give.
        on_window: called after every batch of windows; may raise Stopped.
    """
    stopwatch = Stopwatch()
    voices = [_listen(m, case, ensemble, settings, stopwatch, on_window) for m in ensemble.members]
    fused = _fused(voices, ensemble, settings.fusion)
    regions = ensemble.regions
    label_map, probabilities = _undone(fused, regions, case.prepared, keep_probabilities=settings.keeps_probabilities)
    members = tuple(_finding(voice, fused, m, regions) for m, voice in enumerate(voices))
    notes = (
        *case.prepared.notes,
        *fused.notes,
        *_empty_notes(label_map, regions, members),
        *_not_given_notes(numbers, regions),
    )
    return Segmentation(
        label_map=label_map,
        grid_label_map=fused.label_map,
        regions=regions,
        probabilities=probabilities,
        volumes_ml=_volumes_ml(label_map, regions, voxel_ml(case.affine)),
        label_volumes_ml=_label_volumes_ml(label_map, regions, voxel_ml(case.affine)),
        members=members,
        notes=notes,
        forward_s=stopwatch.forward_s,
        n_windows=stopwatch.n_windows,
    )


@dataclass(frozen=True, kw_only=True)
class _Voice:
    """What one member says of a case.

    Attributes:
        name: member's name.
        label_map: (i, j, k) uint8, cleaned.
        largest: (R,) highest probability of each region, before clean-up.
        n_cleaned: number of voxels that clean-up moved to another label.
        probabilities: (R, i, j, k) float32 that agree with the label map; None unless the fusion needs them.
    """

    name: str
    label_map: np.ndarray
    largest: np.ndarray
    n_cleaned: int
    probabilities: np.ndarray | None


def _listen(
    member: Member,
    case: ReadyCase,
    ensemble: Ensemble,
    settings: RunSettings,
    stopwatch: Stopwatch,
    on_window: Callable[[], None],
) -> _Voice:
    """What a member says of the case."""
    array = member_probabilities(
        ensemble, member, case.prepared, settings=settings, on_window=on_window, stopwatch=stopwatch
    )
    label_map, changes = postprocess(array, member.regions, member.rules)
    return _Voice(
        name=member.name,
        label_map=label_map,
        largest=array.max(axis=(1, 2, 3)),
        n_cleaned=changes.n_voxels,
        probabilities=agreeing(array, label_map, member.regions, member.rules) if settings.fusion == "mean" else None,
    )


def _fused(voices: list[_Voice], ensemble: Ensemble, method: str) -> Fused:
    probabilities = [voice.probabilities for voice in voices if voice.probabilities is not None]
    fused = fuse(
        np.stack([voice.label_map for voice in voices]),
        ensemble.regions,
        method=method,
        probabilities=np.stack(probabilities) if probabilities else None,
        names=tuple(voice.name for voice in voices),
    )
    return without_specks(fused, [member.rules for member in ensemble.members])


def _undone(
    fused: Fused, regions: RegionSet, prepared: Prepared, *, keep_probabilities: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The label map, and if wanted the probabilities, on the case's own grid.

    Where the case was resampled the probabilities go back linearly and are cut there.
    """
    undo = prepared.undo
    probabilities = undo(fused.probabilities) if keep_probabilities or undo.resampled else None
    if probabilities is not None and undo.resampled:
        label_map = regions.compose(probabilities >= CUT)
    else:
        label_map = undo(fused.label_map[None])[0]
    return label_map, probabilities if keep_probabilities else None


def _finding(voice: _Voice, fused: Fused, index: int, regions: RegionSet) -> MemberFinding:
    names = [region.name for region in regions.regions]
    return MemberFinding(
        name=voice.name,
        volumes_ml=_volumes_ml(voice.label_map, regions, 1e-3),
        largest=dict(zip(names, (round(float(value), 4) for value in voice.largest), strict=True)),
        sensitivity=dict(zip(names, _for_json(fused.sensitivity[index]), strict=True)),
        specificity=dict(zip(names, _for_json(fused.specificity[index]), strict=True)),
        n_cleaned=voice.n_cleaned,
    )


def _volumes_ml(label_map: np.ndarray, regions: RegionSet, of_voxel_ml: float) -> dict[str, float]:
    """The volume of each region by its name, to the microlitre."""
    return {
        region.name: round(int(np.count_nonzero(region_mask(label_map, region))) * of_voxel_ml, 3)
        for region in regions.regions
    }


def _label_volumes_ml(label_map: np.ndarray, regions: RegionSet, of_voxel_ml: float) -> dict[Label, float]:
    """The volume of each label, to the microlitre."""
    return {label: round(int(np.count_nonzero(label_map == label)) * of_voxel_ml, 3) for label in regions.labels}


def _for_json(values: np.ndarray) -> list[float | None]:
    """Numbers rounded to six decimals; None instead of nan."""
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def _empty_notes(label_map: np.ndarray, regions: RegionSet, members: tuple[MemberFinding, ...]) -> list[str]:
    """A sentence on a mask that is empty, or else on missing enhancing tumour, with the highest probabilities."""
    if not label_map.any():
        what, region = "no tumour was found: the mask is empty", regions.regions[0]
    elif Region.ET in regions.regions and not region_mask(label_map, Region.ET).any():
        what, region = "no enhancing tumour was found", Region.ET
    else:
        return []
    highest = ", ".join(f"{member.name} {member.largest[region.name]:.2f}" for member in members)
    return [f"{what}; the highest {region.name} probability was {highest}"]


def _not_given_notes(numbers: LabelSet, regions: RegionSet) -> list[str]:
    """A sentence on the labels of the set that no member can give."""
    missing = [f"{label.name} ({numbers.numbers[label]})" for label in numbers.not_given_by(regions)]
    return [f"{numbers.name} also has {', '.join(missing)}, which no member can give"] if missing else []
