"""Fusion of several members' label maps into one, region by region: STAPLE, majority vote, mean probability.

STAPLE treats all voxels with the same votes alike, so the volume is read once, to count the few patterns of votes that
occur; everything after that works on those patterns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from htcnns.errors import SettingsError, require_known
from htcnns.image.votes import Ballots, Poll, count_votes, max_members
from htcnns.labels import Region, RegionSet, region_mask

FUSIONS = ("staple", "majority", "mean")
# A voxel at exactly 0.5 is included: a tie between members is no vote against, and a missed tumour is the worse error.
CUT = np.float32(0.5)
MAX_ITERATIONS = 1_000_000  # ITK has no limit; we saw a few dozen on real masks, 400,000 on pure noise
_SMALLEST_CHANGE = 1e-14  # of the square of a change in sensitivity or specificity; ITK's constant


@dataclass(frozen=True, kw_only=True)
class Fused:
    """The result of fusing the members.

    Attributes:
        regions: the set that the members share.
        label_map: (I, J, K) uint8; the fused values cut at >= 0.5 and written in the order of the set.
        sensitivity: (n_members, R) float64, STAPLE's estimate, or with other methods the share of the fused region that
            the member marks; nan if the fused region is empty.
        specificity: (n_members, R) float64, the same for the voxels outside; nan if there are none.
        notes: sentences for the report on regions that a member or all members left empty, and on ties.
        values: fused value of each region, float32, read-only: (R, I, J, K), or (R, n_patterns) if there is a poll.
        poll: pattern of votes of each voxel; None if `values` has a value for each voxel.
    """

    regions: RegionSet
    label_map: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    notes: tuple[str, ...]
    values: np.ndarray
    poll: Poll | None = None

    def probability(self, region: Region) -> np.ndarray:
        """(I, J, K) float32: STAPLE's probability of a region, the share of votes or the mean probability."""
        values = self.values[self.regions.regions.index(region)]
        return values if self.poll is None else self.poll.spread(values)

    @property
    def probabilities(self) -> np.ndarray:
        """(R, I, J, K) float32; each region is fused on its own, so these need not nest."""
        if self.poll is None:
            return self.values
        probabilities = np.empty((len(self.values), *self.label_map.shape), np.float32)
        for values, of_region in zip(self.values, probabilities, strict=True):
            of_region[:] = self.poll.spread(values)
        return probabilities


def fuse(
    label_maps: np.ndarray,
    regions: RegionSet,
    *,
    method: str = "staple",
    probabilities: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Fused:
    """The fusion of the label maps of several members, or of one.

    STAPLE finds the region that members of unknown sensitivity and specificity most probably mean. Both are estimated
    over the whole volume, background included, as in ITK. If all masks are empty, the probability is 0 and the
    sensitivity nan; if all are full, the probability is 1 and the specificity nan. If only one of n masks has voxels,
    their probability stays at 1/n. If one of three masks is empty, the other two decide: voxels that both mark stay.

    Args:
        label_maps: (n_members, I, J, K) uint8, values of Label.
        regions: the set that the members share.
        method: one of FUSIONS.
        probabilities: (n_members, R, I, J, K) float32, regions in the order of the set; only the mean uses them.
        names: names of the members, for the notes; by default "member 1", "member 2" …

    Raises:
        SettingsError: an unknown method, the mean without probabilities, no member or too many.

    Source: Warfield, Zou, Wells 2004 (doi 10.1109/TMI.2004.828354); start, prior and stopping rule as
    in ITK's STAPLEImageFilter, whose result this matches to 1e-6 in every voxel.
    """
    require_known(method, FUSIONS, what="fusion", setting="fusion")
    require_fusable(len(label_maps), regions)
    names = names or [f"member {m + 1}" for m in range(len(label_maps))]
    if method == "mean":
        return _fuse_mean(label_maps, regions, names, probabilities)
    return _fuse_votes(label_maps, regions, names, _JUDGES[method])


def require_fusable(n_members: int, regions: RegionSet) -> None:
    """Raise SettingsError if there is no member, or more members than can be fused."""
    if not 1 <= n_members <= max_members(regions):
        raise SettingsError(
            "this number of members cannot be fused",
            setting="members",
            found=n_members,
            expected=f"1 to {max_members(regions)} with the regions {regions.name}",
            remedy="Choose another number.",
        )


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """A method's result for the ballots: (n_ballots,) float64 weights, (n_members,) rates, EM steps taken."""

    weights: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    n_iterations: int = 0


def _staple(ballots: Ballots) -> _Verdict:
    """Expectation-maximisation, starting from the share of votes, until no rate changes by more than 1e-7."""
    weights = ballots.votes.mean(axis=0)
    prior = float(weights @ ballots.n_voxels / ballots.n_voxels.sum())
    sensitivity, specificity = _rates(ballots, weights)
    if prior in (0.0, 1.0):  # all masks are empty, or all are full: nothing to estimate
        return _Verdict(weights=weights, sensitivity=sensitivity, specificity=specificity)
    n_iterations, settled = 0, False
    while not settled and n_iterations < MAX_ITERATIONS:
        weights = _posterior(ballots.votes, prior, sensitivity, specificity)
        last = sensitivity, specificity
        sensitivity, specificity = _rates(ballots, weights)
        changes = np.square([sensitivity - last[0], specificity - last[1]])
        settled = bool((changes <= _SMALLEST_CHANGE).all())
        n_iterations += 1
    return _Verdict(
        weights=_posterior(ballots.votes, prior, sensitivity, specificity),
        sensitivity=sensitivity,
        specificity=specificity,
        n_iterations=n_iterations,
    )


def _posterior(votes: np.ndarray, prior: float, sensitivity: np.ndarray, specificity: np.ndarray) -> np.ndarray:
    """(n_ballots,) probability of the region given each pattern of votes.

    Never 0 / 0: the rates come from the patterns that occur, so each of them is possible inside the region or outside.
    """
    p, q = sensitivity[:, None], specificity[:, None]
    inside = prior * np.where(votes, p, 1 - p).prod(axis=0)
    outside = (1 - prior) * np.where(votes, 1 - q, q).prod(axis=0)
    return inside / (inside + outside)


def _rates(ballots: Ballots, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_members,) sensitivity and specificity against a region of (n_ballots,) weights; nan for 0 / 0."""
    inside, outside = weights * ballots.n_voxels, (1 - weights) * ballots.n_voxels
    return (
        _share((ballots.votes * inside).sum(axis=1), (~ballots.votes * inside).sum(axis=1)),
        _share((~ballots.votes * outside).sum(axis=1), (ballots.votes * outside).sum(axis=1)),
    )


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """part / (part + rest): exactly 1 if rest is 0, nan if both are 0."""
    whole = part + rest
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _majority(ballots: Ballots) -> _Verdict:
    """The share of votes; the rates are measured against the voxels that reach the cut."""
    weights = ballots.votes.mean(axis=0)
    sensitivity, specificity = _rates(ballots, (weights >= CUT).astype(np.float64))
    return _Verdict(weights=weights, sensitivity=sensitivity, specificity=specificity)


_JUDGES: Mapping[str, Callable[[Ballots], _Verdict]] = MappingProxyType({"staple": _staple, "majority": _majority})


def _fuse_votes(
    label_maps: np.ndarray, regions: RegionSet, names: Sequence[str], judge: Callable[[Ballots], _Verdict]
) -> Fused:
    """The fusion by `judge` of each region's ballots; label map and probabilities follow from the patterns' weights."""
    poll = count_votes(label_maps, regions)
    weights, verdicts, notes = [], [], []
    for place, region in enumerate(regions.regions):
        ballots, which = poll.ballots(place)
        verdict = judge(ballots)
        weights.append(verdict.weights[which].astype(np.float32))
        verdicts.append(verdict)
        notes += _notes_on_votes(region, names, ballots, verdict)
    values = _read_only(np.stack(weights))  # (R, n_patterns)
    return Fused(
        regions=regions,
        label_map=poll.spread(regions.compose(values >= CUT)),
        sensitivity=np.stack([verdict.sensitivity for verdict in verdicts], axis=1),
        specificity=np.stack([verdict.specificity for verdict in verdicts], axis=1),
        notes=tuple(notes),
        values=values,
        poll=poll,
    )


def _fuse_mean(
    label_maps: np.ndarray, regions: RegionSet, names: Sequence[str], probabilities: np.ndarray | None
) -> Fused:
    """The mean of the members' probabilities; their label maps are used only for the rates and notes."""
    if probabilities is None:
        raise SettingsError(
            "the mean needs probabilities",
            setting="fusion",
            found="label maps only",
            expected=f"({len(label_maps)}, {len(regions.regions)}, I, J, K) values",
            remedy="Pass the members' probabilities or choose staple or majority.",
        )
    mean = _read_only(probabilities.mean(axis=0, dtype=np.float32))  # (R, I, J, K)
    cut = mean >= CUT
    rates, notes = [], []
    for region, fused in zip(regions.regions, cut, strict=True):
        masks = [region_mask(label_map, region) for label_map in label_maps]
        sizes = np.array([np.count_nonzero(mask) for mask in masks])
        hits = np.array([np.count_nonzero(mask & fused) for mask in masks])
        n_fused = int(np.count_nonzero(fused))
        false = sizes - hits
        rates.append((_share(hits, n_fused - hits), _share(fused.size - n_fused - false, false)))
        notes += _notes_on_sizes(region, names, sizes, n_fused)
    sensitivity, specificity = np.array(rates).transpose(1, 2, 0)  # each (n_members, R)
    return Fused(
        regions=regions,
        label_map=regions.compose(cut),
        sensitivity=sensitivity,
        specificity=specificity,
        notes=tuple(notes),
        values=mean,
    )


def _read_only(array: np.ndarray) -> np.ndarray:
    """The array itself, now made read-only."""
    array.setflags(write=False)
    return array


def _notes_on_votes(region: Region, names: Sequence[str], ballots: Ballots, verdict: _Verdict) -> list[str]:
    """Sentences on what is unusual about the votes on a region."""
    weights = verdict.weights.astype(np.float32)
    n_fused = int(ballots.n_voxels[weights >= CUT].sum())
    notes = _notes_on_sizes(region, names, ballots.votes @ ballots.n_voxels, n_fused)
    if n_tied := int(ballots.n_voxels[weights == CUT].sum()):
        notes.append(f"{region.name}: voxels at exactly 0.5, which were included: {n_tied}.")
    if verdict.n_iterations == MAX_ITERATIONS:
        notes.append(f"{region.name}: STAPLE had not converged after {MAX_ITERATIONS} iterations.")
    return notes


def _notes_on_sizes(region: Region, names: Sequence[str], n_voxels: np.ndarray, n_fused: int) -> list[str]:
    """A sentence if members left the region empty or agree on no voxel, else none."""
    empty = [name for name, n in zip(names, n_voxels, strict=True) if n == 0]
    outcome = f"the fused region has {n_fused} voxel{'s' * (n_fused > 1)}" if n_fused else "the fused region is empty"
    if len(empty) == len(n_voxels):
        return [f"{region.name}: no member marks a voxel; {outcome}."]
    if empty:
        return [f"{region.name}: nothing from {' and '.join(empty)} (of {len(n_voxels)}); {outcome}."]
    if not n_fused:
        return [f"{region.name}: the members agree on no voxel; {outcome}."]
    return []
