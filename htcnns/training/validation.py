"""Validation of a fit, now and then, on cases of patients that it never sees; for information only."""

from collections.abc import Iterable
from dataclasses import dataclass

from htcnns.errors import InputError, SettingsError
from htcnns.files.curves import CaseDice
from htcnns.files.prepared_cases import Card
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import Region, RegionSet, region_mask
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.settings import RunSettings
from htcnns.scores.metrics import dice
from htcnns.training.cases import CaseStore
from htcnns.training.packed_inference import packed_probabilities
from htcnns.training.team import Team
from htcnns.training.voices import without_clean_up

RULES = without_clean_up(PostprocessRules())
EVERY = 500


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Cases that a fit is measured on while it runs.

    Attributes:
        store: cases; those whose truth annotates none of the regions are skipped.
        every: number of steps between validations; one also follows the last step.
        settings: windows in which the cases are segmented; without mirroring, which takes eight times as long.
    """

    store: CaseStore
    every: int = EVERY
    settings: RunSettings = RunSettings(mirror="")  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.every < 1:
            raise SettingsError(
                "too few steps",
                setting="validate_every",
                found=self.every,
                expected="at least 1",
                remedy="Give a larger number.",
            )

    def is_due(self, step: int, n_steps: int) -> bool:
        """Whether a validation follows after `step` of `n_steps` steps."""
        return step % self.every == 0 or step == n_steps

    def cards(self, regions: RegionSet) -> list[Card]:
        """The cases that are measured, sorted by name."""
        told = (card for card in self.store.cards if set(card.known) & set(regions.regions))
        return sorted(told, key=lambda card: card.name)

    def require_unseen(self, trained_on: Iterable[Card], regions: RegionSet) -> None:
        """Raise unless there are cases, none of them of a patient who is trained on.

        Raises:
            InputError: no case whose truth annotates one of the regions.
            SettingsError: cases of patients who are trained on.
        """
        cards = self.cards(regions)
        if not cards:
            raise InputError(
                "no case to validate on",
                setting="validate_on",
                expected=f"packed cases whose truth annotates a region of {regions.name}",
                remedy="Pack others.",
            )
        trained = {patient for card in trained_on for patient in card.patients}
        seen = [card.name for card in cards if trained & set(card.patients)]
        if seen:
            raise SettingsError(
                f"{', '.join(seen)}: same patient as a training case",
                setting="validate_on",
                expected="cases of other patients",
                remedy="Leave them out here, or leave the patient's cases out of the training.",
            )


def validate(ensemble: Ensemble, validation: Validation, step: int, team: Team) -> list[CaseDice]:
    """Whole-mask Dice of every case without clean-up; each process segments its share of them.

    Args:
        ensemble: the fit's member alone; its network is not changed.
        step: number of steps done before this validation.

    Raises:
        DeviceError: as `packed_probabilities`.
    """
    regions = ensemble.regions
    cards = validation.cards(regions)
    ours = {card.name: _dice(ensemble, card, validation) for card in cards[team.rank :: team.size]}
    return [
        CaseDice(
            step,
            card.name,
            {
                region.name: round(team.total(ours.get(card.name, {}).get(region, 0.0), ensemble.device), 6)
                for region in regions.regions
                if region in card.known
            },
        )
        for card in cards
    ]


def mean_dice(points: Iterable[CaseDice]) -> dict[str, float]:
    """Mean Dice of each region, by name, over the cases whose truth annotates it."""
    values: dict[str, list[float]] = {}
    for point in points:
        for region, value in point.dice.items():
            values.setdefault(region, []).append(value)
    return {region: sum(each) / len(each) for region, each in values.items()}


def _dice(ensemble: Ensemble, card: Card, validation: Validation) -> dict[Region, float]:
    case, regions = validation.store[card.name], ensemble.regions
    (probabilities,) = packed_probabilities(ensemble, case, validation.settings)
    label_map, _ = postprocess(probabilities, regions, RULES)
    return {
        region: dice(region_mask(label_map, region), region_mask(case.label_map, region)) for region in regions.regions
    }
