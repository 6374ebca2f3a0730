"""From packed cases to weights that can be shipped: a fit for every member, its file, and its provenance.

Finished work is never repeated, so an interrupted campaign continues where it stopped.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from htcnns.errors import SettingsError, WeightsError, require_known
from htcnns.files.atomic import require_writable, sweep, write_whole
from htcnns.files.curves import read_curves
from htcnns.files.manifest import write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.prepared_cases import Card, CaseKind
from htcnns.files.weights import save_weights
from htcnns.image.postprocess import PostprocessRules
from htcnns.runs.devices import environment
from htcnns.training.cases import CaseStore
from htcnns.training.fits import FitRequest, origin_of, run_fit
from htcnns.training.folds import seen_by
from htcnns.training.members import recipe_member
from htcnns.training.progress import Progress
from htcnns.training.recipe_text import recipe_data, recipe_toml
from htcnns.training.recipes import Recipe
from htcnns.training.record import CURVES
from htcnns.training.team import Team
from htcnns.training.transfer import Origin, TransferReport, TransferSettings
from htcnns.training.validation import Validation

RECIPE = "recipe.toml"


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is trained, on which data, and where the results are written.

    Attributes:
        recipe: members and how each is trained.
        source: description of the data and their terms of use, for the manifest.
        work: folder for checkpoints and curves; may be deleted afterwards.
        weights: folder for weights, manifest and recipe.
        origin: folder of weights that members of the same names start from; None starts from random weights.
        transfer: how much of the starting weights may change.
        rules: thresholds and clean-up of every member; None for those of the recipe.
        tuned: members whose rules and scores are used for the trained members of the same names instead.
        n_workers: number of threads that draw patches ahead.
        validation: cases of other patients that every fit is scored on while it runs.
    """

    recipe: Recipe
    source: str
    work: Path
    weights: Path
    origin: Path | None = None
    transfer: TransferSettings = field(default_factory=TransferSettings)
    rules: PostprocessRules | None = None
    tuned: tuple[Member, ...] = ()
    n_workers: int = 1
    validation: Validation | None = None

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise SettingsError(
                "nothing given",
                setting="source",
                expected="what the data are and under which terms",
                remedy="State it; it goes into the manifest.",
            )
        for setting in () if self.origin else fields(self.transfer):
            if getattr(self.transfer, setting.name) != setting.default:
                raise SettingsError(
                    "has no effect without weights to start from",
                    setting=setting.name,
                    remedy="Leave it out, or name such weights.",
                )
        self.clean_up.require_regions(self.recipe.regions)
        names = [member.name for member in self.recipe.members]
        for each in self.tuned:
            require_known(each.name, names, what="member", setting="tuned")
            each.rules.require_regions(self.recipe.regions)

    @property
    def clean_up(self) -> PostprocessRules:
        """Thresholds and clean-up of every member."""
        return self.rules or self.recipe.rules


@dataclass(frozen=True)
class FitWatcher:
    """Callbacks of a campaign; by default they do nothing.

    Attributes:
        on_step: called with the member's name and the progress after every step of its fit.
        on_transfer: called with the member's name and the report of how its starting weights were taken over.
    """

    on_step: Callable[[str, Progress], None] = lambda _, __: None
    on_transfer: Callable[[str, TransferReport], None] = lambda _, __: None


def train_set(
    campaign: Campaign,
    store: CaseStore,
    cards: Iterable[Card],
    *,
    device: torch.device,
    only: Collection[str] = (),
    watcher: FitWatcher = FitWatcher(),
    team: Team = Team(),  # noqa: B008 - frozen
) -> tuple[Member, ...]:
    """Train every member on the cases, and write its weights, the manifest and the recipe.

    Args:
        store: the cases.
        cards: cards of the cases that may be trained on; those without truth are left out.
        only: names of the members to train, empty for all; with names no manifest is written, so that processes can
            share the members.

    Returns:
        The members as the manifest describes them; empty with `only`, and in every process but the leading one.

    Raises:
        SettingsError, WeightsError, InputError, OutputError, DeviceError: as `run_fit`; checked before the first
            step: the folders, the starting weights, and that no validation patient is or was trained on.
    """
    chosen = [campaign.recipe.member(name) for name in only] or list(campaign.recipe.members)
    seen = tuple(sorted((card for card in cards if card.known), key=lambda card: card.name))
    _require_unseen(campaign, seen)
    origins = {each.name: origin_of(campaign.origin, each.name) for each in chosen} if campaign.origin else {}
    for folder in (campaign.work, campaign.weights):
        require_writable(folder)
        sweep(folder)
    members = []
    for each in chosen:
        request = FitRequest(
            recipe=campaign.recipe,
            member=each.name,
            cards=seen,
            folder=campaign.work / each.name,
            origin=origins.get(each.name),
            transfer=campaign.transfer,
            validation=campaign.validation,
        )
        members.append(_trained(request, campaign, store, device, watcher, team))
    if only or not team.leads:
        return ()
    write_manifest(campaign.weights, tuple(members))
    write_whole(campaign.weights / RECIPE, recipe_toml(campaign.recipe).encode())
    return tuple(members)


def provenance(request: FitRequest, source: str) -> dict[str, Any]:
    """The origin of a member's weights for its manifest entry: data and their terms, recipe, hours, machine."""
    member = request.recipe.member(request.member)
    kinds = Counter(card.kind for card in request.cards)
    points = read_curves(request.folder / CURVES, up_to=2**62)
    starts = [0, *(point.step for point in points)]
    seconds = sum(point.seconds * (point.step - start) for point, start in zip(points, starts, strict=False))
    return {
        "source": source,
        "cases": [card.name for card in request.cards if card.kind is CaseKind.HEAD],
        "n_pieces": kinds[CaseKind.PIECE],
        "n_synthetic": kinds[CaseKind.SYNTHETIC],
        "start": _start(request.origin),
        "steps": points[-1].step if points else 0,
        "hours": round(seconds / 3600, 2),
        "recipe": request.recipe.name,
        "rounds": recipe_data(request.recipe)["members"][request.recipe.members.index(member)]["rounds"],
        "seed": request.recipe.seed,
        "environment": environment(),
    }


def trained_member(request: FitRequest, campaign: Campaign, file: WeightsFile) -> Member:
    """The member trained by a finished fit, as a manifest describes it."""
    tuned = {member.name: member for member in campaign.tuned}.get(request.member)
    return replace(
        recipe_member(request.recipe, request.member),
        files=(file,),
        rules=tuned.rules if tuned else campaign.clean_up,
        trained_on=provenance(request, campaign.source),
        scores=tuned.scores if tuned else {},
    )


def _start(origin: Origin | None) -> str:
    """What a fit started from, with the name of the folder only: its full path is private."""
    return f"{Path(origin.name).name} ({origin.digest[:12]})" if origin else "random weights"


def _require_unseen(campaign: Campaign, cards: Iterable[Card]) -> None:
    """Raise if the validation has no case, or a case of a patient seen by the fits or by the starting weights."""
    if campaign.validation is None:
        return
    regions = campaign.recipe.regions
    campaign.validation.require_unseen(cards, regions)
    if campaign.origin is None:
        return
    measured = campaign.validation.cards(regions)
    patients = {patient for card in measured for patient in card.patients}
    known = seen_by(campaign.origin, patients, (*cards, *measured))
    if known:
        raise WeightsError(
            f"have seen patients used for validation ({', '.join(known)})",
            place=campaign.origin,
            setting="origin",
            expected="weights that were trained on other patients",
            remedy="Validate on other cases, or start from other weights.",
        )


def _trained(
    request: FitRequest, campaign: Campaign, store: CaseStore, device: torch.device, watcher: FitWatcher, team: Team
) -> Member:
    """The member after its fit, its weights saved by the leading process."""
    name = request.member
    network = run_fit(
        request,
        store,
        device=device,
        on_step=lambda progress: watcher.on_step(name, progress),
        on_transfer=lambda report: watcher.on_transfer(name, report),
        team=team,
        n_workers=campaign.n_workers,
    )
    path = campaign.weights / f"{name}.safetensors"
    sha256 = save_weights(path, network) if team.leads else ""
    return trained_member(request, campaign, WeightsFile(path, sha256))
