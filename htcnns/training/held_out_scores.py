"""Members' probabilities of cases they never saw, scored voice by voice; a voice is a member or a fusion of all."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from htcnns.files.held_out_maps import HeldOutMap, MapCard
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import RegionSet
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase
from htcnns.training.voices import score_label_map, voices, without_clean_up


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How probabilities are scored.

    Attributes:
        regions: regions that the members segment.
        clean_up: function from a case to the thresholds and clean-up of each member.
        rules: name of the scoring rule.
        with_raw: whether the voices are also scored without clean-up.
    """

    regions: RegionSet
    clean_up: Callable[[MapCard], Sequence[PostprocessRules]]
    rules: str
    with_raw: bool = True


@dataclass(frozen=True)
class ScoredMaps:
    """The scores of many cases by each voice, with the fold of the voice's members.

    Attributes:
        rules: name of the scoring rule.
        by_voice: cards and scores of the cases, in the order in which they were read.
    """

    rules: str
    by_voice: dict[str, list[tuple[MapCard, ScoredCase]]] = field(default_factory=dict)

    def held_out(self) -> tuple[Evaluation, ...]:
        """The evaluation of every voice on the held-out cases."""
        return self._evaluations({v: [s for c, s in cases if c.is_held_out] for v, cases in self.by_voice.items()})

    def extra_by_fold(self) -> tuple[Evaluation, ...]:
        """The evaluation of every voice on the extra cases, each case once per fold, with the fold in its name."""
        return self._evaluations(
            {
                voice: [replace(s, case=f"{c.case} by fold {c.fold}") for c, s in cases if not c.is_held_out]
                for voice, cases in self.by_voice.items()
            }
        )

    def extra_means(self) -> tuple[Evaluation, ...]:
        """The evaluation of every voice on the extra cases, each case once with its mean scores over the folds."""
        return self._evaluations({voice: _means(cases) for voice, cases in self.by_voice.items()})

    def _evaluations(self, by_voice: dict[str, list[ScoredCase]]) -> tuple[Evaluation, ...]:
        """The evaluation of every voice that has a case, with the cases sorted by name."""
        settings = EvaluateSettings(rules=self.rules)
        return tuple(
            Evaluation(name=voice, settings=settings, cases=tuple(sorted(cases, key=lambda each: each.case)))
            for voice, cases in by_voice.items()
            if cases
        )


def score_maps(maps: Iterable[HeldOutMap], scoring: Scoring) -> ScoredMaps:
    """The scores of these cases, which are read one at a time."""
    found = ScoredMaps(scoring.rules)
    for content in maps:
        for voice, scored in _scores_of(content, scoring):
            found.by_voice.setdefault(voice, []).append((content.card, scored))
    return found


def _scores_of(content: HeldOutMap, scoring: Scoring) -> Iterator[tuple[str, ScoredCase]]:
    """The scores of one case by each voice, cleaned up, then raw."""
    truth, members, probabilities = content.label_map, content.card.members, content.probabilities
    chosen = tuple(scoring.clean_up(content.card))
    raw = [(", raw", tuple(map(without_clean_up, chosen)))] if scoring.with_raw else []
    for ending, rules in [("", chosen), *raw]:
        for voice, label_map in voices(probabilities, members, scoring.regions, rules):
            yield (
                voice + ending,
                score_label_map(label_map, truth, case=content.card.case, regions=scoring.regions, rules=scoring.rules),
            )


def _means(cases: Iterable[tuple[MapCard, ScoredCase]]) -> list[ScoredCase]:
    """The extra cases among these, each once with its mean scores."""
    of_case: dict[str, list[ScoredCase]] = defaultdict(list)
    for card, scored in cases:
        if not card.is_held_out:
            of_case[card.case].append(scored)
    return [_mean(each) for each in of_case.values()]


def _mean(scored: Sequence[ScoredCase]) -> ScoredCase:
    """One case with the mean of each score; the counts of dropped voxels are left out."""
    first = scored[0]
    return ScoredCase(
        case=first.case,
        scores={
            region: {name: float(np.mean([each.scores[region][name] for each in scored])) for name in scores}
            for region, scores in first.scores.items()
        },
    )
