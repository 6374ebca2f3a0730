"""One member's fit on some cases: all folds start from the same weights; patches do not depend on who draws them."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from htcnns.errors import WeightsError
from htcnns.files.manifest import choose_members, read_manifest
from htcnns.files.member import Member
from htcnns.files.prepared_cases import Card
from htcnns.files.weights import load_networks
from htcnns.networks.contract import Network
from htcnns.training.batches import Cases, batch_source
from htcnns.training.cases import CaseStore
from htcnns.training.fit_plan import FitPlan
from htcnns.training.key_points import with_key_points
from htcnns.training.loop import fit
from htcnns.training.progress import Progress
from htcnns.training.recipe_text import recipe_data
from htcnns.training.recipes import MemberRecipe, Recipe
from htcnns.training.shown_cases import store_shown
from htcnns.training.team import Team
from htcnns.training.transfer import Origin, Shapes, TransferReport, TransferSettings, learning_rates, transfer
from htcnns.training.validation import Validation

_OF_NO_WEIGHT = (  # settings that may differ when a fit is resumed
    *("name", "title", "window", "whole", "mirror", "rules", "additions", "recompute_activations"),
)
_LATER = (  # settings that were added after fits that may still be resumed
    *("head", "preprocessing", "dice_weight", "generalised_dice_weight", "key_point_weight"),
)


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """One fit.

    Attributes:
        recipe: recipe of the set that the member belongs to.
        member: name of the member.
        cards: cards of the cases that the fit may see.
        folder: folder for checkpoints and curves; an interrupted fit continues from there.
        origin: weights to start from; None starts from random weights.
        transfer: how much of the starting weights may change.
        validation: cases that the fit is scored on while it runs.
    """

    recipe: Recipe
    member: str
    cards: tuple[Card, ...]
    folder: Path
    origin: Origin | None = None
    transfer: TransferSettings = TransferSettings()  # noqa: RUF009 - frozen
    validation: Validation | None = None


def run_fit(
    request: FitRequest,
    store: CaseStore,
    *,
    device: torch.device,
    on_step: Callable[[Progress], None] = lambda _: None,
    on_transfer: Callable[[TransferReport], None] = lambda _: None,
    team: Team = Team(),  # noqa: B008 - frozen
    n_workers: int = 1,
) -> Network:
    """Train a member, or resume its fit, and return the trained network on `device`.

    Args:
        store: the cases.
        on_step: called with the progress after every step.
        on_transfer: called with the report of how the starting weights were taken over.
        n_workers: number of threads that draw patches ahead.

    Raises:
        InputError: no case that the recipe can train on.
        SettingsError, WeightsError, OutputError: as `fit`, `transfer` and `learning_rates`.
    """
    member = request.recipe.member(request.member)
    recipe = replace(request.recipe, members=(member,), seed=member_seed(request.recipe, member))
    source = batch_source(
        _cases(store, request, team),
        request.cards,
        mix=recipe.mix,
        regions=recipe.regions,
        sequences=recipe.sequences,
        piece_patch=recipe.piece_patch,
        seed=recipe.seed,
        head=recipe.head,
        n_echoes=recipe.echoes,
        batch=recipe.batch,
    )
    shapes = member_shapes(recipe, member)
    network = _untrained(shapes, recipe.seed)
    rates = {}
    if request.origin:
        on_transfer(transfer(network, shapes, request.origin))
        rates = learning_rates(network, request.transfer)
    fit(
        network.to(device),
        source,
        FitPlan(recipe=recipe, member=member, n_cases=source.n_cases, rates=rates, validation=request.validation),
        folder=request.folder,
        made_with=_made_with(request, recipe),
        on_step=on_step,
        team=team,
        n_workers=n_workers,
    )
    return network


def member_seed(recipe: Recipe, member: MemberRecipe) -> int:
    """The recipe's seed plus a stable hash of the member's name, so that members see different patches."""
    return recipe.seed + int.from_bytes(hashlib.sha256(member.name.encode()).digest()[:2], "big")


def member_shapes(recipe: Recipe, member: MemberRecipe) -> Shapes:
    """The shapes of the member's network with the recipe's input and output channels."""
    return Shapes(
        network=member.network,
        size=member.arguments,
        sequences=recipe.sequences,
        outputs=recipe.outputs,
    )


def read_origins(weights: Path) -> dict[str, Origin]:
    """The weights in a folder that fits can start from, by member name.

    Raises:
        WeightsError: no such weights, a damaged file, or a member of several files.
    """
    return {member.name: _origin(member, weights) for member in read_manifest(weights, setting="origin")}


def origin_of(weights: Path, name: str) -> Origin:
    """The weights of that member in the folder, for a fit to start from.

    Raises:
        SettingsError: no member of that name.
        WeightsError: as `read_origins`.
    """
    (member,) = choose_members(read_manifest(weights, setting="origin"), (name,))
    return _origin(member, weights)


def _origin(member: Member, weights: Path) -> Origin:
    if len(member.files) != 1:
        raise WeightsError(
            f"{member.name} cannot be fine-tuned",
            place=weights,
            found=f"{len(member.files)} files",
            expected="one file",
            remedy="Start from other weights.",
        )
    return Origin(
        name=f"{weights}: {member.name}",
        shapes=Shapes(network=member.network, size=member.size, sequences=member.sequences, outputs=member.outputs),
        tensors={name: tensor.float() for name, tensor in load_networks(member)[0].state_dict().items()},
        digest=member.files[0].sha256,
    )


def _cases(store: CaseStore, request: FitRequest, team: Team) -> Cases:
    """The cases as the member sees them, with key points if the loss uses them."""
    view = request.recipe.preprocessing
    shown = store_shown(store, view)
    if not request.recipe.key_point_weight:
        return shown
    return with_key_points(shown, request.cards, view=repr(view), team=team)


def _untrained(shapes: Shapes, seed: int) -> Network:
    """The network with the random weights of that seed; the caller's random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return shapes.build()


def _made_with(request: FitRequest, recipe: Recipe) -> dict:
    """What a resumed fit must have in common with the interrupted one."""
    return {
        "recipe": _of_weight(recipe),
        "cases": _keys(request.cards),
        "start": request.origin.digest if request.origin else "random weights",
        "transfer": [request.transfer.frozen_stages, request.transfer.early_rate],
    }


def _of_weight(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide the course of a fit; those added later only if they differ from their defaults."""
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(Recipe)
    }
    left_out = {*_OF_NO_WEIGHT, *(name for name in _LATER if getattr(recipe, name) == defaults[name])}
    return {name: value for name, value in recipe_data(recipe).items() if name not in left_out}


def _keys(cards: Iterable[Card]) -> dict[str, str]:
    """Digest of what each case was made from, by name."""
    return {card.name: card.key for card in sorted(cards, key=lambda card: card.name)}
