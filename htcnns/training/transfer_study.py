"""The transfer study: training on one population, or on synthetic heads, measured on patients of another.

Every approach is a separate cross-validation in its own folders; all are measured on the same cases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from htcnns.errors import SettingsError
from htcnns.files.held_out_maps import MapCard
from htcnns.files.manifest import read_manifest
from htcnns.files.prepared_cases import CaseKind
from htcnns.scores.evaluation import Evaluation
from htcnns.training.campaign import FitWatcher
from htcnns.training.cases import CaseStore, joined
from htcnns.training.held_out import HeldOut, HeldOutPlan, cross_validate, named
from htcnns.training.recipes import Recipe

SCRATCH, SOURCE, TRANSFER = "scratch", "source", "TR"
SYNTHETIC, SYNTHETIC_THEN_REAL = "synthetic", "synthetic-then-real"
_FUSION = "staple"


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """A transfer study.

    Attributes:
        held_out: cross-validation of the target population, with the extra cases on which nothing is trained.
        target: cases of the target population, and any others that its folds may train on.
        source: cases of the population to transfer from; if empty, the approaches based on it are left out.
        synthetic: synthetic heads; those that carry a tumour of a measured patient are left out.
    """

    held_out: HeldOutPlan
    target: CaseStore
    source: CaseStore = field(default_factory=lambda: CaseStore({}))
    synthetic: CaseStore = field(default_factory=lambda: CaseStore({}))

    def __post_init__(self) -> None:
        self._require_random_start()
        self._require_told()
        self._require_other_patients()
        self._require_synthetic()
        joined((self.target, self.source, self.synthetic))  # raises if a name occurs in two of them

    @property
    def measured(self) -> CaseStore:
        """The cases of the target population that a fold holds out."""
        return self.target.only(self.held_out.folds.by_case(self.target.cards))

    @property
    def measured_patients(self) -> set[str]:
        """The patients whom no member may have seen: those of the folds and of the extra cases."""
        extra = {patient for card in self.held_out.extra.cards for patient in card.patients}
        return extra.union(self.held_out.folds.fold_of)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the synthetic heads that carry a tumour of a measured patient."""
        measured = self.measured_patients
        return tuple(card.name for card in self.synthetic.cards if measured & set(card.patients))

    def weights(self, approach: str, fold: int) -> Path:
        """The folder with the weights of one fold of an approach."""
        return self.held_out.campaign.weights / approach / f"fold-{fold}"

    def _require_random_start(self) -> None:
        if self.held_out.campaign.origin:
            raise SettingsError(
                "a transfer study trains the weights that it starts from",
                setting="origin",
                found=self.held_out.campaign.origin,
                expected="nothing",
                remedy="Leave it out, or cross-validate without source and synthetic cases.",
            )

    def _require_told(self) -> None:
        if not any(map(self.held_out.is_told, self.measured.cards)):
            raise SettingsError(
                "no case of the target population annotates every region",
                setting="recipe",
                expected=", ".join(region.name for region in self.held_out.campaign.recipe.regions.regions),
                remedy="Choose a recipe with other regions, or give other cases.",
            )

    def _require_other_patients(self) -> None:
        measured = self.measured_patients
        seen = sorted(card.name for card in self.source.cards if card.known and measured & set(card.patients))
        if seen:
            raise SettingsError(
                f"{', '.join(seen)}: same patient as a measured case",
                setting="source_cases",
                expected="cases of other patients",
                remedy="Leave them out of the source, or out of what is measured.",
            )

    def _require_synthetic(self) -> None:
        real = sorted(card.name for card in self.synthetic.cards if card.kind is not CaseKind.SYNTHETIC)
        if real:
            raise SettingsError(
                f"{', '.join(real)}: not synthetic",
                setting="synthetic_cases",
                expected="packed synthetic heads",
                remedy="Leave them out.",
            )
        if self.synthetic.cards and len(self.left_out) == len(self.synthetic.cards):
            raise SettingsError(
                "every head carries a tumour of a patient that is measured",
                setting="synthetic_cases",
                expected="some heads with tumours of others, or grown ones",
                remedy="Make heads from other tumours.",
            )


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of the study: one voice of an approach, a member or the fusion of all.

    Attributes:
        name: approach and member, such as "TR: unet"; "TR+EN" for the fusion.
        members: names of the members behind the voice.
        n_fits: number of fits behind the row, without the fits that these start from.
        steps: fewest and most steps of such a fit.
        target: scores on the target population, under the row's name.
        extra: scores on the extra cases, each the mean over the folds; None without such cases.
    """

    name: str
    members: tuple[str, ...]
    n_fits: int
    steps: tuple[int, int]
    target: Evaluation
    extra: Evaluation | None


@dataclass(frozen=True)
class TransferStudy:
    """Results of a transfer study.

    Attributes:
        rows: approaches from scratch, then from the source, then from synthetic heads.
        not_scored: names of cases whose truth does not annotate every region.
    """

    rows: tuple[StudyRow, ...]
    not_scored: tuple[str, ...]

    @property
    def n_fits(self) -> int:
        """Total number of fits."""
        return sum(row.n_fits for row in self.rows if len(row.members) == 1)


@dataclass(frozen=True, kw_only=True)
class _Approach:
    """One way to obtain members for the target population.

    Attributes:
        name: name of the approach and of its folders.
        recipe: recipe of its members.
        start: approach whose weights it starts from; "" for random weights.
        shown: cases that its single fold trains on; None trains on the target population, fold by fold.
    """

    name: str
    recipe: Recipe
    start: str = ""
    shown: CaseStore | None = None


def run_transfer_study(
    plan: TransferPlan,
    *,
    device: torch.device,
    watcher: FitWatcher = FitWatcher(),  # noqa: B008 - frozen
    on_case: Callable[[str, MapCard], None] = lambda _, __: None,
) -> TransferStudy:
    """Train and measure every approach; finished work is not repeated.

    All members of the recipe are trained on the source and from its weights, and fused; otherwise only the first is.

    Args:
        watcher: callbacks, notified of each fit as "source NAME" or "TR fold 0 NAME".
        on_case: called with the approach and each case once its probabilities are available.

    Raises:
        HtcnnsError: as `cross_validate`.
    """
    rows: list[StudyRow] = []
    not_scored: tuple[str, ...] = ()
    for approach in _approaches(plan):
        found = cross_validate(
            _held_out_plan(approach, plan),
            joined((plan.measured, approach.shown)) if approach.shown else plan.target,
            device=device,
            watcher=named(approach.name, watcher),
            on_case=partial(on_case, approach.name),
        )
        rows += _rows(approach, found, plan)
        if approach.name == SCRATCH:  # the other approaches would also name cases of the source
            not_scored = found.not_scored
    return TransferStudy(tuple(rows), not_scored)


def _approaches(plan: TransferPlan) -> Iterator[_Approach]:
    """The approaches in the order of the rows; each comes after the one that it starts from."""
    recipe = plan.held_out.campaign.recipe
    first = replace(recipe, members=recipe.members[:1])
    yield _Approach(name=SCRATCH, recipe=first)
    if plan.source.cards:
        yield _Approach(name=SOURCE, recipe=recipe, shown=plan.source)
        yield _Approach(name=TRANSFER, recipe=recipe, start=SOURCE)
    if plan.synthetic.cards:
        names = {card.name for card in plan.synthetic.cards}.difference(plan.left_out)
        only = replace(first, mix={CaseKind.SYNTHETIC: 1.0})
        yield _Approach(name=SYNTHETIC, recipe=only, shown=plan.synthetic.only(names))
        yield _Approach(name=SYNTHETIC_THEN_REAL, recipe=first, start=SYNTHETIC)


def _held_out_plan(approach: _Approach, plan: TransferPlan) -> HeldOutPlan:
    """The cross-validation of one approach, in its own folders."""
    whole = plan.held_out
    campaign = replace(
        whole.campaign,
        recipe=approach.recipe,
        work=whole.campaign.work / approach.name,
        weights=whole.campaign.weights / approach.name,
        origin=plan.weights(approach.start, 0) if approach.start else None,
    )
    folds = whole.folds.as_one() if approach.shown else whole.folds
    return replace(whole, campaign=campaign, folds=folds, with_raw=False)


def _rows(approach: _Approach, found: HeldOut, plan: TransferPlan) -> Iterator[StudyRow]:
    """A row for each member, and one for their fusion if there are several."""
    n_folds = 1 if approach.shown else plan.held_out.folds.n_folds
    members = tuple(member.name for member in approach.recipe.members)
    voices: dict[str, tuple[str, tuple[str, ...]]] = {name: (f"{approach.name}: {name}", (name,)) for name in members}
    if len(members) > 1:
        voices[_FUSION] = (f"{approach.name}+EN", members)
    manifests = [read_manifest(plan.weights(approach.name, fold)) for fold in range(n_folds)]
    steps = {name: [m.trained_on["steps"] for fold in manifests for m in fold if m.name == name] for name in members}
    target = {each.name: each for each in found.evaluations}
    extra = {each.name: each for each in found.extra_means}
    for voice, (name, speaking) in voices.items():
        counts = [n for member in speaking for n in steps[member]]
        yield StudyRow(
            name=name,
            members=speaking,
            n_fits=len(counts),
            steps=(min(counts), max(counts)),
            target=replace(target[voice], name=name),
            extra=replace(extra[voice], name=name) if voice in extra else None,
        )
