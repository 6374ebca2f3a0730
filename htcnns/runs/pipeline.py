"""One case from its files to its label map: read and prepare, run the members, clean up, fuse, undo the preparation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from htcnns.files.cases import Case
from htcnns.files.digests import FileDigest, digests_since, stamps_of
from htcnns.files.member import Member
from htcnns.files.scans import read_case
from htcnns.image.dissent import dissent_notes, dissenting_share, region_counts
from htcnns.image.fusion import CUT, Fused, fuse
from htcnns.image.fusion_cleanup import clean_fusion
from htcnns.image.lesion_shape import touched_borders
from htcnns.image.notes import Kind, Note
from htcnns.image.postprocess import agreeing, postprocess
from htcnns.image.preprocess import Prepared, preprocess
from htcnns.labels import Label, LabelSet, Region, RegionSet, Sequence, region_mask
from htcnns.reports.outcome import MemberFinding
from htcnns.runs.ensemble import Ensemble, Stopwatch, member_probabilities
from htcnns.runs.settings import RunSettings
from htcnns.scores.metrics import dice_of_counts
from htcnns.volume import voxel_ml


@dataclass(frozen=True)
class ReadyCase:
    """A case that has been read and prepared.

    Attributes:
        case: the case and its files.
        prepared: input of the networks.
        affine: (4, 4) of the scans, voxel index to world mm.
        seconds: wall time of reading and of preparing.
        digests: digest of each scan's file; empty unless asked for.
    """

    case: Case
    prepared: Prepared
    affine: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)
    digests: dict[Sequence, FileDigest] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The result for one case.

    Attributes:
        label_map: (I, J, K) uint8 of Label values on the case's own grid.
        grid_label_map: (i, j, k) the same on the networks' grid, for pictures.
        regions: regions that the members predict.
        probabilities: (R, I, J, K) float32 on the case's grid, the fused value of each region; None unless asked for.
        volumes_ml: volume of each region by name.
        label_volumes_ml: volume of each label that the members can predict.
        members: findings of each member.
        notes: sentences that a person should read.
        forward_s: seconds inside the networks.
        n_windows: number of windows that the networks saw.
        dissent: (I, J, K) float32 on the case's grid, the share of members whose label differs from the fusion's;
            None unless asked for.
        seconds: wall time of each step.
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
    dissent: np.ndarray | None
    seconds: dict[str, float]


def prepare_case(case: Case, ensemble: Ensemble, *, most_missing: int = 0, wants_digests: bool = False) -> ReadyCase:
    """Read and prepare a case for the members.

    Args:
        most_missing: number of sequences that the case may lack.
        wants_digests: whether digests of the scans are also computed.

    Raises:
        InputError: more sequences are missing, or a file cannot be used.
    """
    began = time.perf_counter()
    stamps = stamps_of(case.files)
    volume = read_case(case, most_missing=most_missing)
    digests = digests_since(case.files, stamps) if wants_digests else {}
    was_read = time.perf_counter()
    prepared = preprocess(volume.array, volume.affine, ensemble.preprocess_settings)
    seconds = {"read": was_read - began, "prepare": time.perf_counter() - was_read}
    prepared = replace(prepared, notes=(*volume.notes, *prepared.notes))
    return ReadyCase(case, prepared, volume.affine, seconds, digests)


def segment_prepared(
    case: ReadyCase,
    ensemble: Ensemble,
    *,
    settings: RunSettings,
    numbers: LabelSet,
    on_window: Callable[[], None],
) -> Segmentation:
    """Run the members over a prepared case and fuse their predictions.

    Args:
        settings: windows, mirrored passes, fusion, and whether probabilities are kept.
        numbers: label set of the mask; a note lists those of its labels that the members cannot predict.
        on_window: called after every batch of windows; may raise Stopped.
    """
    stopwatch, began = Stopwatch(), time.perf_counter()
    voices = [_listen(m, case, ensemble, settings, stopwatch, on_window) for m in ensemble.members]
    heard = time.perf_counter()
    fused = _fused(voices, ensemble, settings.fusion)
    was_fused = time.perf_counter()
    regions = ensemble.regions
    label_map, probabilities = _undone(fused, regions, case.prepared, keep_probabilities=settings.keeps_probabilities)
    dissent = _dissent(voices, fused, case.prepared) if settings.disagreement else None
    seconds = {
        "networks": stopwatch.forward_s,
        "clean up": heard - began - stopwatch.forward_s,
        "fuse": was_fused - heard,
        "undo": time.perf_counter() - was_fused,
    }
    members = tuple(_finding(voice, fused, m, regions) for m, voice in enumerate(voices))
    volumes_ml = _volumes_ml(label_map, regions, voxel_ml(case.affine))
    notes = (
        *case.prepared.notes,
        *fused.notes,
        *_empty_notes(label_map, regions, members),
        *_border_notes(label_map, case.affine),
        *_dissent_notes(members, regions, volumes_ml),
        *_not_given_notes(numbers, regions),
    )
    return Segmentation(
        label_map=label_map,
        grid_label_map=fused.label_map,
        regions=regions,
        probabilities=probabilities,
        volumes_ml=volumes_ml,
        label_volumes_ml=_label_volumes_ml(label_map, regions, voxel_ml(case.affine)),
        members=members,
        notes=notes,
        forward_s=stopwatch.forward_s,
        n_windows=stopwatch.n_windows,
        dissent=dissent,
        seconds=case.seconds | seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _Voice:
    """One member's prediction for a case.

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
    """A member's prediction for the case."""
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
    return clean_fusion(fused, [member.rules for member in ensemble.members])


def _undone(
    fused: Fused, regions: RegionSet, prepared: Prepared, *, keep_probabilities: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The label map, and if asked for the probabilities, on the case's own grid.

    If the case was resampled, the probabilities are resampled back linearly and cut on that grid.
    """
    undo = prepared.undo
    probabilities = undo(fused.probabilities) if keep_probabilities or undo.resampled else None
    if probabilities is not None and undo.resampled:
        label_map = regions.compose(probabilities >= CUT)
    else:
        label_map = undo(fused.label_map[None])[0]
    return label_map, probabilities if keep_probabilities else None


def _dissent(voices: list[_Voice], fused: Fused, prepared: Prepared) -> np.ndarray:
    """The share of dissenting members on the case's own grid, linearly interpolated where the case was resampled."""
    share = dissenting_share([voice.label_map for voice in voices], fused.label_map)
    return prepared.undo(share[None])[0]


def _finding(voice: _Voice, fused: Fused, index: int, regions: RegionSet) -> MemberFinding:
    names = [region.name for region in regions.regions]
    counts = region_counts(voice.label_map, fused.label_map, regions)
    return MemberFinding(
        name=voice.name,
        volumes_ml=_volumes_ml(voice.label_map, regions, 1e-3),
        largest=dict(zip(names, (round(float(value), 4) for value in voice.largest), strict=True)),
        sensitivity=dict(zip(names, _for_json(fused.sensitivity[index]), strict=True)),
        specificity=dict(zip(names, _for_json(fused.specificity[index]), strict=True)),
        dice=dict(zip(names, (round(dice_of_counts(*map(int, of_region)), 4) for of_region in counts), strict=True)),
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


def _empty_notes(label_map: np.ndarray, regions: RegionSet, members: tuple[MemberFinding, ...]) -> list[Note]:
    """A note if the mask is empty, or else if it has no enhancing tumour, with the highest probabilities."""
    if not label_map.any():
        kind, what, region = Kind.EMPTY_MASK, "no tumour was found: the mask is empty", regions.regions[0]
    elif Region.ET in regions.regions and not region_mask(label_map, Region.ET).any():
        kind, what, region = Kind.NO_ENHANCING_TUMOUR, "no enhancing tumour was found", Region.ET
    else:
        return []
    highest = ", ".join(f"{member.name} {member.largest[region.name]:.2f}" for member in members)
    return [Note(f"{what}; the highest {region.name} probability was {highest}", kind)]


def _border_notes(label_map: np.ndarray, affine: np.ndarray) -> list[Note]:
    """A note if tumour reaches the outermost voxels, beyond which it may continue."""
    borders = touched_borders(label_map, affine)
    said = f"tumour at the image's border ({', '.join(borders)}); it may continue beyond"
    return [Note(said, Kind.TUMOUR_AT_BORDER)] if borders else []


def _dissent_notes(members: tuple[MemberFinding, ...], regions: RegionSet, volumes_ml: dict[str, float]) -> list[Note]:
    """As image.dissent.dissent_notes."""
    dice = {member.name: {region: member.dice[region.name] for region in regions.regions} for member in members}
    largest_ml = {
        region: max(volumes_ml[region.name], *(member.volumes_ml[region.name] for member in members))
        for region in regions.regions
    }
    return dissent_notes(dice, largest_ml)


def _not_given_notes(numbers: LabelSet, regions: RegionSet) -> list[str]:
    """A sentence on the labels of the set that no member can predict."""
    missing = [f"{label.name} ({numbers.numbers[label]})" for label in numbers.not_given_by(regions)]
    return [f"{numbers.name} also has {', '.join(missing)}, which no member can predict"] if missing else []
