"""A recipe with fewer steps, for a first look."""

from dataclasses import replace
from itertools import accumulate, pairwise

from htcnns.errors import SettingsError
from htcnns.training.recipes import MemberRecipe, Recipe, Round


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with `steps` steps per fit, divided among its rounds in proportion, rounded up; for a first look.

    Raises:
        SettingsError: a member has some rounds in steps and some in epochs.
    """
    return replace(recipe, members=tuple(_shortened(member, steps) for member in recipe.members))


def _shortened(member: MemberRecipe, steps: int) -> MemberRecipe:
    if len({each.epochs > 0 for each in member.rounds}) > 1:
        raise SettingsError(
            "cannot be given",
            setting="steps",
            found=f"rounds of {member.name} in steps and in epochs",
            expected="all in steps, or all in epochs",
            remedy="Correct the recipe.",
        )
    ends = [0, *accumulate(each.steps or each.epochs for each in member.rounds)]
    cut = [-(-end * steps // ends[-1]) for end in ends]  # rounded up
    rounds = [_of_steps(each, b - a) for each, (a, b) in zip(member.rounds, pairwise(cut), strict=True) if b > a]
    return replace(member, rounds=tuple(rounds))


def _of_steps(each: Round, steps: int) -> Round:
    """The round with `steps` steps, its warm-up shortened in proportion."""
    return replace(each, steps=steps, epochs=0, warmup=round(each.warmup * steps / (each.steps or each.epochs)))
