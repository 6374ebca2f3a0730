"""What a fit consists of: its steps in order, and the learning rates of its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.validation import Validation
from htcnns.volume import Shape


@dataclass(frozen=True)
class Step:
    """Where a step lies in its fit: its round, its number there, and the number of steps of the round."""

    round: Round
    number: int
    of: int

    @property
    def shape(self) -> Shape:
        """Edges of its patches."""
        return self.round.patch_at(self.number, self.of)

    @property
    def learning_rate(self) -> float:
        """The recipe's rate at this step."""
        return self.round.learning_rate_at(self.number, self.of)


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """How one member is trained on a number of cases.

    Attributes:
        recipe, member: recipe of the set, and of the member.
        n_cases: number of cases, which decides the length of an epoch.
        rates: factor on the recipe's learning rate for each parameter that learns at another rate; 0 freezes it.
        validation: cases that the fit is scored on while it runs; they do not influence it.
    """

    recipe: Recipe
    member: MemberRecipe
    n_cases: int
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    validation: Validation | None = None

    @property
    def n_steps(self) -> int:
        """Steps of all rounds together."""
        return sum(self._lengths)

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint is written after that many steps."""
        return step % self.recipe.checkpoint_steps == 0 or step == self.n_steps

    def at(self, step: int) -> Step:
        """Where that step of the fit lies.

        Raises:
            IndexError: the fit has fewer steps.
        """
        number = step
        for each, length in zip(self.member.rounds, self._lengths, strict=True):
            if number < length:
                return Step(each, number, length)
            number -= length
        raise IndexError(f"step {step} of a fit of {self.n_steps}")

    def n_voxels(self, start: int) -> int:
        """Voxels in the patches of all steps from `start` on, one patch per step; used to estimate the time left."""
        total = 0
        for each, length in zip(self.member.rounds, self._lengths, strict=True):
            changes = [min(length, -int(-share * length // 1)) for share, _ in each.patches]
            for (_, shape), begin, end in zip(each.patches, changes, [*changes[1:], length], strict=True):
                total += max(0, end - max(begin, start)) * prod(shape)
            start -= length
        return total

    @property
    def _lengths(self) -> list[int]:
        return [each.n_steps(self.n_cases, self.recipe.batch) for each in self.member.rounds]
