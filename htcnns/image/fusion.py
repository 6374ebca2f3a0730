"""Several members' label maps made one, region by region: STAPLE, majority vote, mean probability.

Voxels in which the members vote alike are alike to STAPLE, so the volume is read once, to count the few patterns of
votes that occur; all that follows runs on those.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from htcnns.errors import SettingsError, require_known
from htcnns.image.votes import Ballots, count_votes
from htcnns.labels import REGIONS, Region, compose, region_mask

# A voxel at exactly 0.5 is taken in: a tie between members is no vote against, and a missed tumour is the worse error.
CUT = np.float32(0.5)
MAX_ITERATIONS = 1_000_000  # ITK has no limit; we saw a few dozen on real masks, 400,000 on pure noise
_SMALLEST_CHANGE = 1e-14  # of a squared sensitivity or specificity; ITK's constant
MAX_MEMBERS = 8  # the votes of eight, two bits each, fit 16; an ensemble has three members

# How many of the nested regions hold each label number: 0 outside, 1 WT alone, 2 TC too, 3 ET too.
_DEPTHS = np.bincount([label for region in REGIONS for label in region.value], minlength=256).astype(np.uint8)


@dataclass(frozen=True)
class Staple:
    """What STAPLE believes of one region.

    Attributes:
        probability: (I, J, K) float32, that the voxel belongs to the region.
        sensitivity: (n_members,) float64; nan when the region is believed empty in every voxel.
        specificity: (n_members,) float64; nan when it is believed to fill the whole volume.
        n_iterations: 0 where the votes were unanimous in every voxel the same way; MAX_ITERATIONS if it did not settle.
    """

    probability: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    n_iterations: int


@dataclass(frozen=True)
class Fused:
    """The members' common answer.

    Attributes:
        label_map: (I, J, K) uint8; the probabilities cut at >= 0.5 and written WT, TC, ET, the later over the earlier.
        sensitivity: (n_members, 3) float64, STAPLE's estimate, else the share of the fused region that the member
            marks; nan where the fused region is empty.
        specificity: (n_members, 3) float64, likewise of the voxels outside; nan where there are none.
        notes: sentences for the report on regions that a member or all members left empty, and on ties.
        probability: gives a region's (I, J, K) float32, not to be written to: STAPLE's probability, the share of votes
            or the mean probability. The first two are made when asked for, as most callers want the label map alone.
    """

    label_map: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    notes: tuple[str, ...]
    probability: Callable[[Region], np.ndarray]

    @property
    def probabilities(self) -> np.ndarray:
        """(3, I, J, K) float32, made anew at each call; each region is fused for itself, so these need not nest."""
        probabilities = np.empty((len(REGIONS), *self.label_map.shape), np.float32)
        for region, of_region in zip(REGIONS, probabilities, strict=True):
            of_region[:] = self.probability(region)
        return probabilities


def fuse(
    label_maps: np.ndarray,
    *,
    method: str = "staple",
    probabilities: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Fused:
    """One label map of the label maps of several members, or of one.

    Args:
        label_maps: (n_members, I, J, K) uint8, values of Label.
        method: a key of FUSIONS.
        probabilities: (n_members, 3, I, J, K) float32, regions in the order of REGIONS; only the mean looks at them.
        names: of the members, for the notes; "member 1", "member 2" … unless given.

    Raises:
        SettingsError: an unknown method, the mean without probabilities, no member or more than MAX_MEMBERS.
    """
    require_known(method, FUSIONS, what="fusion", where="--fusion")
    require_fusable(len(label_maps))
    names = names or [f"member {m + 1}" for m in range(len(label_maps))]
    return FUSIONS[method](label_maps, probabilities, names)


def require_fusable(n_members: int) -> None:
    """Raise SettingsError unless 1 to MAX_MEMBERS members are to be fused."""
    if not 1 <= n_members <= MAX_MEMBERS:
        raise SettingsError(f"--members: {n_members} members to fuse; expected 1 to {MAX_MEMBERS}. Choose others.")


def staple(masks: np.ndarray) -> Staple:
    """The region that members of unknown sensitivity and specificity most probably mean.

    Both are estimated over the whole volume, background included, as ITK does.

    Args:
        masks: (n_members, I, J, K) bool.

    Returns:
        When no mask has a voxel, probability 0 and no sensitivity; when all masks are full, 1 and no specificity.
        When only one of n masks has voxels, STAPLE stands still at probability 1/n in them.
        An empty mask beside two others leaves the region to those two: what both mark stays.

    Source: Warfield, Zou, Wells 2004 (doi 10.1109/TMI.2004.828354); start, prior and end as in ITK's
    STAPLEImageFilter, whose result this is to 1e-6 in every voxel.
    """
    poll = count_votes(masks, np.array([0, 1], np.uint8), n_bits=1)
    ballots, which = poll.ballots(1)
    verdict = _staple(ballots)
    probability = poll.spread(verdict.weights[which].astype(np.float32))
    return Staple(probability, verdict.sensitivity, verdict.specificity, verdict.n_iterations)


@dataclass(frozen=True)
class _Verdict:
    """What a way of fusing makes of ballots: (n_ballots,) float64 weights, (n_members,) rates, EM steps taken."""

    weights: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    n_iterations: int = 0


def _staple(ballots: Ballots) -> _Verdict:
    """Expectation-maximisation from the share of votes until no rate changes by more than 1e-7."""
    weights = ballots.votes.mean(axis=0)
    prior = float(weights @ ballots.n_voxels / ballots.n_voxels.sum())
    sensitivity, specificity = _rates(ballots, weights)
    if prior in (0.0, 1.0):  # nobody has a voxel, or everybody has all: nothing to estimate
        return _Verdict(weights, sensitivity, specificity)
    n_iterations, settled = 0, False
    while not settled and n_iterations < MAX_ITERATIONS:
        weights = _posterior(ballots.votes, prior, sensitivity, specificity)
        last = sensitivity, specificity
        sensitivity, specificity = _rates(ballots, weights)
        changes = np.square([sensitivity - last[0], specificity - last[1]])
        settled = bool((changes <= _SMALLEST_CHANGE).all())
        n_iterations += 1
    return _Verdict(_posterior(ballots.votes, prior, sensitivity, specificity), sensitivity, specificity, n_iterations)


def _posterior(votes: np.ndarray, prior: float, sensitivity: np.ndarray, specificity: np.ndarray) -> np.ndarray:
    """(n_ballots,) probability of the region given each pattern of votes.

    Never 0 / 0: a pattern that occurs has made its own rates possible, in the region or outside it.
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
    """part / (part + rest), exactly 1 when nothing is left and nan when there is nothing at all."""
    whole = part + rest
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _majority(ballots: Ballots) -> _Verdict:
    """The share of votes; rates against the voxels that reach the cut."""
    weights = ballots.votes.mean(axis=0)
    return _Verdict(weights, *_rates(ballots, (weights >= CUT).astype(np.float64)))


def _fuse_votes(label_maps: np.ndarray, names: Sequence[str], judge: Callable[[Ballots], _Verdict]) -> Fused:
    """Each region's ballots judged; the label map and the probabilities are read off the patterns' weights."""
    poll = count_votes(label_maps, _DEPTHS, n_bits=2)
    weights, verdicts, notes = {}, [], []
    for depth, region in enumerate(REGIONS, start=1):
        ballots, which = poll.ballots(depth)
        verdict = judge(ballots)
        weights[region] = verdict.weights[which].astype(np.float32)
        verdicts.append(verdict)
        notes += _notes_on_votes(region, names, ballots, verdict)
    return Fused(
        poll.spread(compose(*(weights[region] >= CUT for region in REGIONS))),
        np.stack([verdict.sensitivity for verdict in verdicts], axis=1),
        np.stack([verdict.specificity for verdict in verdicts], axis=1),
        tuple(notes),
        lambda region: poll.spread(weights[region]),
    )


def _fuse_mean(label_maps: np.ndarray, names: Sequence[str], probabilities: np.ndarray | None) -> Fused:
    """The mean of the members' probabilities; their label maps only serve the rates and notes."""
    if probabilities is None:
        raise SettingsError(
            "--fusion mean: no probabilities; found label maps only, expected (n_members, 3, I, J, K) values. "
            "Pass the members' probabilities or choose staple or majority."
        )
    mean = probabilities.mean(axis=0, dtype=np.float32)  # (3, I, J, K)
    cut = mean >= CUT
    rates, notes = [], []
    for region, fused in zip(REGIONS, cut, strict=True):
        masks = [region_mask(label_map, region) for label_map in label_maps]
        sizes = np.array([np.count_nonzero(mask) for mask in masks])
        hits = np.array([np.count_nonzero(mask & fused) for mask in masks])
        n_fused = int(np.count_nonzero(fused))
        false = sizes - hits
        rates.append((_share(hits, n_fused - hits), _share(fused.size - n_fused - false, false)))
        notes += _notes_on_sizes(region, names, sizes, n_fused)
    sensitivity, specificity = np.array(rates).transpose(1, 2, 0)  # each (n_members, 3)
    return Fused(compose(*cut), sensitivity, specificity, tuple(notes), lambda region: mean[REGIONS.index(region)])


def _notes_on_votes(region: Region, names: Sequence[str], ballots: Ballots, verdict: _Verdict) -> list[str]:
    """What is odd about the votes on a region, as sentences."""
    weights = verdict.weights.astype(np.float32)
    n_fused = int(ballots.n_voxels[weights >= CUT].sum())
    notes = _notes_on_sizes(region, names, ballots.votes @ ballots.n_voxels, n_fused)
    if n_tied := int(ballots.n_voxels[weights == CUT].sum()):
        notes.append(f"{region.name}: {n_tied} voxels stand at exactly 0.5 and were counted in.")
    if verdict.n_iterations == MAX_ITERATIONS:
        notes.append(f"{region.name}: STAPLE had not settled after {MAX_ITERATIONS} iterations.")
    return notes


def _notes_on_sizes(region: Region, names: Sequence[str], n_voxels: np.ndarray, n_fused: int) -> list[str]:
    """A sentence if members left the region empty or agree on no voxel; nothing if all is well."""
    empty = [name for name, n in zip(names, n_voxels, strict=True) if n == 0]
    outcome = f"the fused region has {n_fused} voxels" if n_fused else "the fused region is empty"
    if len(empty) == len(n_voxels):
        return [f"{region.name}: no member marks a voxel; {outcome}."]
    if empty:
        return [f"{region.name}: nothing from {' and '.join(empty)} (of {len(n_voxels)}); {outcome}."]
    if not n_fused:
        return [f"{region.name}: the members agree on no voxel; {outcome}."]
    return []


FUSIONS: dict[str, Callable[[np.ndarray, np.ndarray | None, Sequence[str]], Fused]] = {
    "staple": lambda label_maps, _, names: _fuse_votes(label_maps, names, _staple),
    "majority": lambda label_maps, _, names: _fuse_votes(label_maps, names, _majority),
    "mean": lambda label_maps, probabilities, names: _fuse_mean(label_maps, names, probabilities),
}
