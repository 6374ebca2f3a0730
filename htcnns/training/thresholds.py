"""Thresholds and clean-up rules tuned on held-out probabilities, with a gain measured on cases not used for tuning."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from htcnns.errors import InputError
from htcnns.files.atomic import require_writable
from htcnns.files.held_out_maps import HeldOutMap
from htcnns.files.manifest import write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, Region, RegionSet
from htcnns.reports.tables import Cell, Heading, Table
from htcnns.scores.evaluation import Evaluation
from htcnns.scores.rules import rule
from htcnns.scores.statistics import PairedTest, compare_paired
from htcnns.training.held_out_scores import Scoring, score_maps
from htcnns.training.tuning_cases import LOWEST, RULES, TuneCase, tune_case
from htcnns.training.voices import require_scorable, voices

PAPER = PostprocessRules()
N_SWEEPS = 2  # at most, each over all settings
_SEED = 20241208  # of the bootstrap, so that intervals are reproducible
_THRESHOLDS = (LOWEST, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97)  # these and the next include the paper's values
_SIZES = (0, 20, 60, 150, 400, 1000, 2500)
_ET_CHOICES: Mapping[str, tuple] = MappingProxyType(
    {
        "et_component_voxels": (0, 16, 40, 80),
        "et_component_mean": (0.7, 0.8, 0.9, 0.95),
        "et_total_voxels": (0, 73, 150, 300, 600),
        "et_total_mean": (0.7, 0.8, 0.9, 0.95),
        "et_least_mean": (0.0, 0.6, 0.7, 0.75, 0.8),
    }
)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain from tuning in the mean over regions of whole-mask and lesion-wise Dice.

    Attributes:
        before: mean over cases with the paper's rules.
        after: mean over cases with rules tuned on the other folds.
        test: paired test of after minus before, with its interval.
    """

    before: float
    after: float
    test: PairedTest


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Results of tuning.

    Attributes:
        rules: rules of each member by name, tuned on all cases.
        nested: by fold, rules of each member in order, tuned without the cases of that fold.
        gains: gain of each member and fusion by name; fused around the tumour, so that STAPLE sees less background.
    """

    rules: Mapping[str, PostprocessRules]
    nested: Mapping[int, Sequence[PostprocessRules]]
    gains: Mapping[str, Gain]


def tune(maps: Sequence[HeldOutMap], on_search: Callable[[str], None] = lambda _: None) -> Tuned:
    """Each member's best rules, and the gain of rules found this way on cases of other folds.

    Args:
        maps: held-out cases of at least two folds, all segmented by the same members.
        on_search: called with a line of text before each search.

    Raises:
        InputError: as `require_tunable`.
    """
    require_tunable(maps)
    regions = _region_set(maps[0])
    names, folds = maps[0].card.members, sorted({each.card.fold for each in maps})
    chosen: dict[str, PostprocessRules] = {}
    nested: dict[int, list[PostprocessRules]] = {fold: [] for fold in folds}
    for number, name in enumerate(names):
        cases = [tune_case(each, number, regions) for each in maps]
        for fold in folds:
            on_search(f"{name}: without fold {fold}")
            nested[fold].append(_search([case for case in cases if case.fold != fold], regions))
        on_search(f"{name}: on all cases")
        chosen[name] = _search(cases, regions)
    return Tuned(rules=chosen, nested=nested, gains=_gains(maps, regions, nested))


def require_tunable(maps: Sequence[HeldOutMap]) -> None:
    """Raise InputError unless all cases have the same members and the regions of RULES, and span two folds or more."""
    _require_alike(maps)
    found, expected = maps[0].card.regions, rule(RULES).region_names
    if set(found) != set(expected):
        raise InputError(
            "held-out cases with regions that cannot be tuned",
            found=" ".join(found),
            expected=" ".join(expected),
            remedy="Set thresholds and clean-up by hand, under [rules] of a recipe.",
        )


def nested_scores(maps: Iterable[HeldOutMap], tuned: Tuned, *, rules: str = RULES) -> tuple[Evaluation, ...]:
    """Every score of each voice on the held-out cases, with rules that were tuned without the case's fold.

    Args:
        maps: held-out cases that were tuned on.
        rules: name of the scoring rule.

    Raises:
        SettingsError: the scoring rule does not score exactly the labels that the members predict.
    """
    maps = list(maps)
    regions = _region_set(maps[0])
    require_scorable(rules, regions)
    scoring = Scoring(regions=regions, clean_up=lambda card: tuned.nested[card.fold], rules=rules, with_raw=False)
    return score_maps(maps, scoring).held_out()


def write_draft(folder: Path, members: Iterable[Member], tuned: Tuned) -> None:
    """Write a manifest with the tuned rules and their gains; checksums stay empty, as there are no weights yet.

    Args:
        members: members of one fold, for everything but rules and scores.

    Raises:
        OutputError: the folder cannot be written.
    """
    require_writable(folder)
    fused = {voice: _record(gain) for voice, gain in tuned.gains.items() if voice not in tuned.rules}
    drafts = [
        replace(
            member,
            files=(WeightsFile(folder / f"{member.name}.safetensors", ""),),
            rules=tuned.rules[member.name],
            trained_on={},
            scores={"tuning": {member.name: _record(tuned.gains[member.name]), **fused}},
        )
        for member in members
    ]
    write_manifest(folder, tuple(drafts))


def gains_table(tuned: Tuned) -> Table:
    """One row per voice: number of cases, score before and after, the gain with its interval, and p."""
    title = "Mean of whole-mask and lesion-wise Dice over the regions, tuned on the other folds"
    rows: list[tuple[Cell, ...]] = [(voice, *_record(gain).values()) for voice, gain in tuned.gains.items()]
    names = ("voice", *_record(next(iter(tuned.gains.values()))))
    return Table(title, tuple(map(Heading, names)), tuple(rows))


def _search(cases: Sequence[TuneCase], regions: RegionSet) -> PostprocessRules:
    """The rules with the best mean score found by changing one setting at a time, starting from the paper's rules."""
    best = PAPER
    for _ in range(N_SWEEPS):
        before = best
        for setting, values in _choices(regions):
            for direction in (1, -1):
                best = _walked(best, setting, values[::direction], cases, regions)
        if best == before:
            break
    return best


def _walked(
    best: PostprocessRules, setting: tuple[str, str], values: tuple, cases: Sequence[TuneCase], regions: RegionSet
) -> PostprocessRules:
    """The best rules as one setting steps through the values after its present one, up to the first without a gain."""
    best_score = _mean_score(cases, best, regions)
    for value in values[values.index(_value(best, setting)) + 1 :]:
        rules = _changed(best, setting, value)
        score = _mean_score(cases, rules, regions)
        if score <= best_score:
            break
        best, best_score = rules, score
    return best


def _value(rules: PostprocessRules, setting: tuple[str, str]) -> float:
    """The value of a setting in the rules."""
    name, region = setting
    if name == "thresholds":
        return rules.threshold(Region[region])
    if name == "filled_regions":
        return region in rules.filled_regions
    return rules.min_voxels(Region[region]) if region else getattr(rules, name)


def _choices(regions: RegionSet) -> Iterator[tuple[tuple[str, str], tuple]]:
    """Every setting, as its name and its region (or ""), with the values to try."""
    for region in regions.regions:
        yield ("thresholds", region.name), _THRESHOLDS
        yield ("min_component_voxels", region.name), _SIZES
        yield ("filled_regions", region.name), (False, True)
    if Region.ET in regions.regions:
        for setting, values in _ET_CHOICES.items():
            yield (setting, ""), values


def _changed(rules: PostprocessRules, setting: tuple[str, str], value: float) -> PostprocessRules:
    """The rules with one setting changed."""
    name, region = setting
    content = asdict(rules)
    if name == "filled_regions":
        content[name] = [*content[name], region] if value else [each for each in content[name] if each != region]
    else:
        content[name] = {**content[name], region: value} if region else value
    return PostprocessRules(**content)


def _mean_score(cases: Sequence[TuneCase], rules: PostprocessRules, regions: RegionSet) -> float:
    return float(np.mean([case.score(rules, regions) for case in cases]))


def _gains(
    maps: Sequence[HeldOutMap], regions: RegionSet, nested: Mapping[int, list[PostprocessRules]]
) -> dict[str, Gain]:
    """The gain of each voice, with rules that were tuned without the case's fold."""
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    names = maps[0].card.members
    for each in maps:
        case = tune_case(each, slice(None), regions)
        for scores, rules in ((before, [PAPER] * len(names)), (after, nested[each.card.fold])):
            for voice, label_map in voices(case.probabilities, names, regions, rules):
                scores.setdefault(voice, []).append(case.score_label_map(label_map))
    return {
        voice: Gain(
            before=float(np.mean(before[voice])),
            after=float(np.mean(after[voice])),
            test=compare_paired(
                np.array(after[voice]), np.array(before[voice]), better=1, generator=np.random.default_rng(_SEED)
            ),
        )
        for voice in before
    }


def _region_set(content: HeldOutMap) -> RegionSet:
    """The region set of a held-out case."""
    return next(
        each for each in REGION_SETS.values() if tuple(region.name for region in each.regions) == content.card.regions
    )


def _require_alike(maps: Sequence[HeldOutMap]) -> None:
    """Raise InputError unless all cases have the same members and regions, and span two folds or more."""
    kinds = {(each.card.members, each.card.regions) for each in maps}
    if len(kinds) > 1:
        raise InputError(
            "held-out cases of different members or regions",
            found="; ".join(sorted(" ".join((*members, *regions)) for members, regions in kinds)),
            expected="the same in every fold",
            remedy="Run the cross-validation again to its end.",
        )
    if len({each.card.fold for each in maps}) < 2:
        raise InputError(
            "held-out cases of one fold only",
            expected="two folds or more, so that the gain can be measured on other cases",
            remedy="Run the cross-validation to its end.",
        )


def _record(gain: Gain) -> dict[str, float]:
    """The gain as plain numbers by name."""
    found = {"n_cases": gain.test.n, "before": gain.before, "after": gain.after}
    difference = gain.test.difference
    return {**found, "gain": difference.value, "low": difference.low, "high": difference.high, "p": gain.test.p}
