"""Two folders of cases compared: a row of features per case, a map of all, and whether they can be told apart."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from htcnns.errors import InputError, SettingsError
from htcnns.files.cases import Case, find_cases
from htcnns.files.manifest import choose_members, chosen_weights, read_manifest
from htcnns.files.member import Member
from htcnns.files.names.brats import patient_of
from htcnns.files.scans import read_case
from htcnns.image.embedding import appearance, balanced, principal_components, require_scikit_learn, two_dimensions
from htcnns.image.member_input import shown_to_member
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.image.windows import place_windows
from htcnns.labels import SEQUENCES
from htcnns.networks.bottleneck import bottleneck_means
from htcnns.reports.cohort_picture import Cohort
from htcnns.runs.ensemble import Ensemble, start_ensemble
from htcnns.scores.separation import Separation, require_enough, separation

Features = Callable[[Case], tuple[np.ndarray, ...]]
SEED = 0  # of the permutations
OVERLAP = 0.25  # between windows, whose means are averaged


@dataclass(frozen=True, kw_only=True)
class CohortSettings:
    """Settings of a comparison of two cohorts.

    Attributes:
        weights: folder of weights, or the name of a shipped set; None for the shipped weights.
        member: name of the member whose features are compared; "" for the only one of `weights`, or without `weights`
            for the images themselves.
        device: auto, cpu, cuda or cuda:n.
    """

    weights: Path | None = None
    member: str = ""
    device: str = "auto"

    @property
    def of(self) -> str:
        """What is compared, in words."""
        return "images" if self.weights is None and not self.member else f"features in {self.member or 'the member'}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two cohorts on one map.

    Attributes:
        cohorts: the first and the second, with the places of their cases.
        separation: how well they are told apart by their principal components, not by the map.
        of: what was compared, in words.
    """

    cohorts: tuple[Cohort, Cohort]
    separation: Separation
    of: str


def compare_cohorts(
    first: Path, second: Path, settings: CohortSettings, *, on_case: Callable[[str], None] = lambda _: None
) -> Comparison:
    """The cases of both folders as points, and how well the nearest neighbour predicts a case's folder.

    Too few patients and a missing scikit-learn are reported before the first case is read.

    Args:
        on_case: called with the name of each case once it has been read.

    Raises:
        InputError: a folder without cases, a case that cannot be read, a patient of both cohorts, or too few patients.
        SettingsError: several members and none named, or scikit-learn not installed.
        WeightsError, DeviceError: as `start_ensemble`.
    """
    cohorts = [find_cases(folder) for folder in (first, second)]
    cases = [case for found in cohorts for case in found]
    is_second = np.arange(len(cases)) >= len(cohorts[0])
    patients = _numbered_patients(cohorts)
    require_enough(is_second[np.unique(patients, return_index=True)[1]])
    require_scikit_learn()
    features = _features(settings)
    rows = []
    for case in cases:
        rows.append(features(case))
        on_case(case.name)
    components = principal_components(balanced([np.stack(block) for block in zip(*rows, strict=True)]))
    found = separation(components, is_second, patients, generator=np.random.default_rng(SEED))
    places = two_dimensions(components)
    names = _names(first, second)
    drawn = [
        Cohort(name=name, cases=tuple(case.name for case in group), places=places[is_second == is_other])
        for name, group, is_other in zip(names, cohorts, (False, True), strict=True)
    ]
    return Comparison(cohorts=(drawn[0], drawn[1]), separation=found, of=settings.of)


def _numbered_patients(cohorts: list[tuple[Case, ...]]) -> np.ndarray:
    """(n,) int: the patient number of each case; raises InputError if a patient is in both cohorts."""
    names = [[patient_of(case.name) for case in cases] for cases in cohorts]
    shared = sorted(set(names[0]) & set(names[1]))
    if shared:
        raise InputError(
            f"{', '.join(shared[:5])} in both cohorts",
            found=f"{len(shared)} patients",
            expected="cohorts of different patients",
            remedy="Leave them out of one.",
        )
    return np.unique(names[0] + names[1], return_inverse=True)[1]


def _features(settings: CohortSettings) -> Features:
    """The function that computes a case's rows of features."""
    if settings.weights is None and not settings.member:
        return _of_images
    member = _member(settings)
    ensemble = start_ensemble((member,), device=settings.device, precision="fp32")
    return lambda case: _of_bottleneck(case, member, ensemble)


def _member(settings: CohortSettings) -> Member:
    """The member of that name, or the only one."""
    members = read_manifest(chosen_weights(settings.weights))
    chosen = choose_members(members, (settings.member,) if settings.member else ())
    if len(chosen) > 1:
        raise SettingsError(
            "several members",
            setting="member",
            found=", ".join(member.name for member in chosen),
            expected="the one whose features are compared",
            remedy="Name it.",
        )
    return chosen[0]


def _of_images(case: Case) -> tuple[np.ndarray, ...]:
    """Features of the images themselves."""
    volume = read_case(case)
    return appearance(preprocess(volume.array, volume.affine, PreprocessSettings(window=(1, 1, 1))).array)


def _of_bottleneck(case: Case, member: Member, ensemble: Ensemble) -> tuple[np.ndarray, ...]:
    """The mean of each channel at the lowest resolution over windows of the brain, by the member's first network."""
    volume = read_case(case)
    prepared = preprocess(volume.array, volume.affine, ensemble.preprocess_settings)
    seen = shown_to_member(prepared, member.preprocessing)
    order = [SEQUENCES.index(sequence) for sequence in member.sequences]
    x = torch.from_numpy(seen.array[order])[None]
    windows = place_windows(seen.brain.shape, member.window, overlap=OVERLAP, occupied=torch.from_numpy(seen.brain))
    network = ensemble.networks[member.name][0]
    means = []
    for start in windows.starts:
        i, j, k = (slice(a, a + edge) for a, edge in zip(start, member.window, strict=True))
        means.append(bottleneck_means(network, x[..., i, j, k].to(ensemble.device)).cpu())
    return (torch.cat(means).mean(dim=0).numpy(),)


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The folders' names, or their whole paths if the names are equal."""
    if first.name != second.name:
        return first.name or str(first), second.name or str(second)
    return str(first), str(second)
