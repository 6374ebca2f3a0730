"""Cross-validation: every fold's members are trained, and each case is segmented by members that never saw its patient.

Finished fits, and probabilities made by the same weights, are used again.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.held_out_maps import (
    HeldOutMap,
    MapCard,
    held_out_map,
    map_has_key,
    map_key,
    map_path,
    read_map_file,
    write_map_file,
)
from htcnns.files.member import Member
from htcnns.files.prepared_cases import Card, PreparedCase
from htcnns.labels import SEQUENCES, Sequence
from htcnns.runs.devices import choose_precision, precision_name
from htcnns.runs.ensemble import Ensemble, load_ensemble, mirrored
from htcnns.runs.settings import RunSettings
from htcnns.scores.evaluation import Evaluation
from htcnns.training.campaign import Campaign, FitWatcher, train_set
from htcnns.training.cases import CaseStore
from htcnns.training.folds import Folds, seen_by
from htcnns.training.held_out_scores import Scoring, score_maps
from htcnns.training.packed_inference import packed_probabilities
from htcnns.training.progress import Progress
from htcnns.training.transfer import TransferReport
from htcnns.training.voices import require_scorable

_MAPS = "maps"


@dataclass(frozen=True, kw_only=True)
class HeldOutPlan:
    """A cross-validation.

    Attributes:
        campaign: what is trained; each of its folders has a subfolder per fold.
        folds: patients that each fold holds out.
        extra: cases that no fold trains on and that every fold's members are scored on.
        settings: how held-out cases are segmented.
        rules: name of the scoring rule.
        with_raw: whether the voices are also scored without clean-up.
        without: sequences to leave out, one at a time, each in a further segmentation of the held-out cases.
    """

    campaign: Campaign
    folds: Folds
    extra: CaseStore = field(default_factory=lambda: CaseStore({}))
    settings: RunSettings = RunSettings()  # noqa: RUF009 - frozen
    rules: str = "brats2023-gli"
    with_raw: bool = True
    without: tuple[Sequence, ...] = ()

    def __post_init__(self) -> None:
        require_scorable(self.rules, self.campaign.recipe.regions)

    def of_fold(self, fold: int) -> Campaign:
        """The campaign of one fold, with folders of its own."""
        name = f"fold-{fold}"
        return replace(self.campaign, work=self.campaign.work / name, weights=self.campaign.weights / name)

    def is_told(self, card: Card) -> bool:
        """Whether the case's truth annotates every region that is scored."""
        return set(self.campaign.recipe.regions.regions) <= set(card.known)

    @property
    def scoring(self) -> Scoring:
        """How the probabilities are scored."""
        return Scoring(
            regions=self.campaign.recipe.regions,
            clean_up=lambda card: [self.campaign.clean_up] * len(card.members),
            rules=self.rules,
            with_raw=self.with_raw,
        )


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Results of a cross-validation; a voice is a member or a fusion of all, cleaned up or raw.

    Attributes:
        evaluations: scores of the held-out cases, voice by voice.
        extra: scores of the extra cases, voice by voice, each case once per fold; empty without extra cases.
        extra_means: scores of the extra cases, voice by voice, each the mean over the folds.
        without: scores of the held-out cases, voice by voice, by the sequence left out.
        not_scored: names of cases whose truth does not annotate every region.
    """

    evaluations: tuple[Evaluation, ...]
    extra: tuple[Evaluation, ...]
    extra_means: tuple[Evaluation, ...]
    without: Mapping[Sequence, tuple[Evaluation, ...]]
    not_scored: tuple[str, ...]


def cross_validate(
    plan: HeldOutPlan,
    store: CaseStore,
    *,
    device: torch.device,
    watcher: FitWatcher = FitWatcher(),  # noqa: B008 - frozen
    on_case: Callable[[MapCard], None] = lambda _: None,
) -> HeldOut:
    """Train every fold's members and score them on cases that they never saw.

    Args:
        store: the cases of the folds, and any others that may be trained on.
        watcher: callbacks of the fits, called with "fold 0 NAME", or with NAME if there is only one fold.
        on_case: called with each case once its probabilities exist.

    Raises:
        SettingsError: an extra case of a patient that is trained on, or as `train_set`.
        WeightsError: starting weights that have seen a held-out or extra patient, or as `train_set`.
        InputError, DeviceError, OutputError: as `train_set` and `member_probabilities`.
    """
    _require_unseen(plan, store)
    told = [card for card in store.cards if plan.is_told(card)]
    extra = [card for card in plan.extra.cards if plan.is_told(card)]
    paths: list[Path] = []
    poorer: dict[Sequence, list[Path]] = {sequence: [] for sequence in plan.without}
    for fold in range(plan.folds.n_folds):
        members = _train_fold(plan, store, fold, device=device, watcher=watcher)
        work = _FoldWork(plan, fold, members, device)
        held_out = plan.folds.held_out(told, fold)
        paths += work.segment(store, held_out, is_held_out=True, on_case=on_case)
        paths += work.segment(plan.extra, extra, is_held_out=False, on_case=on_case)
        for sequence, found in poorer.items():
            there = [card for card in held_out if sequence in card.sequences and len(card.sequences) > 1]
            found += work.segment(store, there, is_held_out=True, on_case=on_case, without=sequence)
    scored = score_maps(map(read_map_file, paths), plan.scoring)
    everybody = (*store.cards, *plan.extra.cards)
    return HeldOut(
        evaluations=scored.held_out(),
        extra=scored.extra_by_fold(),
        extra_means=scored.extra_means(),
        without={
            sequence: score_maps(map(read_map_file, found), plan.scoring).held_out()
            for sequence, found in poorer.items()
        },
        not_scored=tuple(card.name for card in everybody if card.known and not plan.is_told(card)),
    )


def train_folds(
    plan: HeldOutPlan,
    store: CaseStore,
    *,
    device: torch.device,
    only: Collection[str],
    watcher: FitWatcher = FitWatcher(),  # noqa: B008 - frozen
) -> None:
    """Train these members in every fold and score nothing, so that processes can share a cross-validation.

    Args:
        only: names of the members.

    Raises:
        SettingsError, WeightsError, InputError, DeviceError, OutputError: as `cross_validate`.
    """
    _require_unseen(plan, store)
    for fold in range(plan.folds.n_folds):
        _train_fold(plan, store, fold, device=device, watcher=watcher, only=only)


def named(title: str, watcher: FitWatcher) -> FitWatcher:
    """A watcher that is called with the title before the name of a member."""

    def on_step(member: str, progress: Progress) -> None:
        watcher.on_step(f"{title} {member}", progress)

    def on_transfer(member: str, report: TransferReport) -> None:
        watcher.on_transfer(f"{title} {member}", report)

    return FitWatcher(on_step=on_step, on_transfer=on_transfer)


def _train_fold(
    plan: HeldOutPlan,
    store: CaseStore,
    fold: int,
    *,
    device: torch.device,
    watcher: FitWatcher,
    only: Collection[str] = (),
) -> tuple[Member, ...]:
    """The members of one fold after their fits; empty if only some are trained."""
    return train_set(
        plan.of_fold(fold),
        store,
        plan.folds.trained_on(store.cards, fold),
        device=device,
        only=only,
        watcher=watcher if plan.folds.n_folds == 1 else named(f"fold {fold}", watcher),
    )


@dataclass(frozen=True)
class _FoldWork:
    """The trained members of one fold, loaded only if a case still lacks probabilities."""

    plan: HeldOutPlan
    fold: int
    members: tuple[Member, ...]
    device: torch.device

    def segment(
        self,
        store: CaseStore,
        cards: Collection[Card],
        *,
        is_held_out: bool,
        on_case: Callable[[MapCard], None],
        without: Sequence | None = None,
    ) -> list[Path]:
        """The files with the members' probabilities of these cases; missing or outdated ones are made."""
        folder = self.plan.of_fold(self.fold).weights / (f"{_MAPS}-without-{without}" if without else _MAPS)
        require_writable(folder)
        sweep(folder)
        wanted = {map_path(folder, card.name): self._map_card(card, is_held_out, without) for card in cards}
        missing = [each for path, each in wanted.items() if not map_has_key(path, each.key)]
        ensemble = self._ensemble() if missing else None
        for card in wanted.values():
            if ensemble and card in missing:
                case = store[card.case]
                write_map_file(folder, self._map(card, without_sequence(case, without) if without else case, ensemble))
            on_case(card)
        return list(wanted)

    def _ensemble(self) -> Ensemble:
        return load_ensemble(self.members, device=self.device, precision=self._precision)

    @property
    def _precision(self) -> torch.dtype:
        return choose_precision(self.plan.settings.precision, self.device)

    def _map_card(self, card: Card, is_held_out: bool, without: Sequence | None) -> MapCard:
        settings = self.plan.settings
        shown = [_seen_by(member, settings) for member in self.members]
        how = f"{card.key} {settings.overlap} {shown} {precision_name(self._precision)} {is_held_out}"
        how += f" without {without}" if without else ""
        return MapCard(
            case=card.name,
            fold=self.fold,
            is_held_out=is_held_out,
            members=tuple(member.name for member in self.members),
            regions=tuple(region.name for region in self.plan.campaign.recipe.regions.regions),
            key=map_key([file.sha256 for member in self.members for file in member.files], how),
        )

    def _map(self, card: MapCard, case: PreparedCase, ensemble: Ensemble) -> HeldOutMap:
        found = packed_probabilities(ensemble, case, self.plan.settings)
        return held_out_map(card, found, case.label_map)


def _seen_by(member: Member, settings: RunSettings) -> tuple[object, ...]:
    """What decides how a member segments a case, apart from its tensors."""
    return (mirrored(member, settings), member.window, member.whole, member.box, member.preprocessing)


def without_sequence(case: PreparedCase, sequence: Sequence) -> PreparedCase:
    """The case as if that sequence were missing: 0 everywhere."""
    array = case.array.copy()
    array[SEQUENCES.index(sequence)] = 0
    return replace(case, array=array)


def _require_unseen(plan: HeldOutPlan, store: CaseStore) -> None:
    """Raise if a measured patient is trained on, here or by the starting weights."""
    trained = {patient for card in store.cards if card.known for patient in card.patients}
    seen = sorted(card.name for card in plan.extra.cards if trained & set(card.patients))
    if seen:
        raise SettingsError(
            f"{', '.join(seen)}: same patient as a training case",
            setting="extra",
            expected="cases of other patients",
            remedy="Leave them out here, or leave the patient's cases out of the training.",
        )
    if plan.campaign.origin is None:
        return
    measured = {*plan.folds.fold_of, *(patient for card in plan.extra.cards for patient in card.patients)}
    known = seen_by(plan.campaign.origin, measured, (*store.cards, *plan.extra.cards))
    if known:
        raise WeightsError(
            f"have seen patients that are held out ({', '.join(known)})",
            place=plan.campaign.origin,
            setting="origin",
            expected="weights that were trained on other patients",
            remedy="Start from other weights, or leave these cases out.",
        )
