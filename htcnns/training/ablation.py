"""An ablation: a recipe without its additions, with each of them alone, and with all, on the same folds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from htcnns.errors import SettingsError
from htcnns.files.held_out_maps import MapCard
from htcnns.files.manifest import read_manifest
from htcnns.networks.cost import Cost, network_cost
from htcnns.scores.evaluation import Evaluation
from htcnns.training.campaign import FitWatcher
from htcnns.training.cases import CaseStore
from htcnns.training.held_out import HeldOutPlan, cross_validate, named
from htcnns.training.recipes import Addition, Recipe

BASELINE, ALL = "baseline", "all"


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One row of an ablation.

    Attributes:
        name: "baseline", "all", or the only addition kept, such as "+SIE".
        cost: cost of its network on one of the recipe's windows.
        n_fits: number of fits, one for each fold.
        steps: fewest and most steps over these fits.
        evaluation: scores of the held-out cases, under the row's name.
    """

    name: str
    cost: Cost
    n_fits: int
    steps: tuple[int, int]
    evaluation: Evaluation


@dataclass(frozen=True)
class Ablation:
    """Results of an ablation; `not_scored` names cases whose truth does not annotate every region."""

    rows: tuple[AblationRow, ...]
    not_scored: tuple[str, ...]


def ablation_recipes(recipe: Recipe) -> Mapping[str, Recipe]:
    """The recipe of each row by the row's name, with the first member only.

    Raises:
        SettingsError: a recipe without additions, or an addition that its network does not take.
    """
    if not recipe.additions:
        raise SettingsError(
            f"{recipe.name} names no additions to remove",
            setting="recipe",
            expected="additions, such as those of dmfnet-mie-sie-bsc",
            remedy="Name them in the recipe, or choose another.",
        )
    whole = replace(recipe, members=recipe.members[:1])
    alone = {f"+{each.name}": (each,) for each in recipe.additions}
    return {name: _with_only(kept, whole) for name, kept in {BASELINE: (), **alone, ALL: recipe.additions}.items()}


def run_ablation(
    plan: HeldOutPlan,
    store: CaseStore,
    *,
    device: torch.device,
    watcher: FitWatcher = FitWatcher(),  # noqa: B008 - frozen
    on_case: Callable[[str, MapCard], None] = lambda _, __: None,
) -> Ablation:
    """Train and score every row in folders of its own; finished work is not repeated.

    Args:
        plan: cross-validation to run for each row; its recipe has all additions.
        store: the cases.
        watcher: callbacks of the fits, called with names such as "+SIE fold 0 NAME".
        on_case: called with the row's name and each case once its probabilities exist.

    Raises:
        SettingsError: as `ablation_recipes`, or no case whose truth annotates every region.
        HtcnnsError: as `cross_validate`.
    """
    recipes = ablation_recipes(plan.campaign.recipe)
    _require_told(plan, store)
    rows: list[AblationRow] = []
    not_scored: tuple[str, ...] = ()
    for name, recipe in recipes.items():
        found = cross_validate(
            _row_plan(plan, name, recipe),
            store,
            device=device,
            watcher=named(name, watcher),
            on_case=partial(on_case, name),
        )
        not_scored = found.not_scored  # the same for every row
        rows.append(_row(plan, name, recipe, found.evaluations[0]))
    return Ablation(tuple(rows), not_scored)


def _with_only(kept: tuple[Addition, ...], recipe: Recipe) -> Recipe:
    for addition in recipe.additions:
        if addition not in kept:
            recipe = addition.taken_from(recipe)
    return recipe


def _require_told(plan: HeldOutPlan, store: CaseStore) -> None:
    measured = plan.folds.by_case(store.cards)
    if not any(plan.is_told(card) for card in store.cards if card.name in measured):
        raise SettingsError(
            "no case whose truth annotates every region",
            setting="recipe",
            expected=", ".join(region.name for region in plan.campaign.recipe.regions.regions),
            remedy="Give other cases, or choose a recipe with other regions.",
        )


def _row_plan(plan: HeldOutPlan, name: str, recipe: Recipe) -> HeldOutPlan:
    """The cross-validation of one row, with folders of its own."""
    campaign = replace(
        plan.campaign,
        recipe=recipe,
        work=plan.campaign.work / name,
        weights=plan.campaign.weights / name,
    )
    return replace(plan, campaign=campaign, with_raw=False)


def _row(plan: HeldOutPlan, name: str, recipe: Recipe, evaluation: Evaluation) -> AblationRow:
    (member,) = recipe.members
    folds = [plan.campaign.weights / name / f"fold-{fold}" for fold in range(plan.folds.n_folds)]
    steps = [read_manifest(folder)[0].trained_on["steps"] for folder in folds]
    return AblationRow(
        name=name,
        cost=network_cost(
            member.network,
            member.arguments,
            recipe.window,
            n_in=len(recipe.sequences),
            n_out=len(recipe.outputs),
        ),
        n_fits=len(steps),
        steps=(min(steps), max(steps)),
        evaluation=replace(evaluation, name=name),
    )
