"""Cross-validation: every fold's members are trained, and each case is segmented by members that never saw its patient.

Every step looks first at what is there already: finished fits, and probabilities that the same weights made.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
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
from htcnns.files.manifest import Member, read_manifest
from htcnns.files.prepared_cases import Card, PreparedCase
from htcnns.image.preprocess import Prepared, PreprocessSettings, Undo, pad
from htcnns.runs.devices import choose_precision, precision_name
from htcnns.runs.ensemble import Ensemble, Stopwatch, load_ensemble, member_probabilities
from htcnns.runs.settings import RunSettings
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase
from htcnns.training.campaign import Campaign, Watcher, train_set
from htcnns.training.cases import CaseStore
from htcnns.training.folds import Folds, patient_of
from htcnns.training.progress import Progress
from htcnns.training.transfer import TransferReport
from htcnns.training.voices import require_scorable, score_label_map, voices, without_clean_up

_MAPS = "maps"


@dataclass(frozen=True, kw_only=True)
class HeldOutPlan:
    """A cross-validation.

    Attributes:
        campaign: what is trained; its folders get one folder per fold.
        folds: who is held out when.
        extra: cases that no fold sees and that every fold's members are scored on.
        settings: windows that held-out cases are segmented with.
        rules: name of the rule that scores.
    """

    campaign: Campaign
    folds: Folds
    extra: CaseStore = field(default_factory=lambda: CaseStore({}))
    settings: RunSettings = RunSettings()  # noqa: RUF009 - frozen
    rules: str = "brats2023-gli"

    def __post_init__(self) -> None:
        require_scorable(self.rules, self.campaign.recipe.regions)

    def of_fold(self, fold: int) -> Campaign:
        """The campaign of one fold, with folders of its own."""
        name = f"fold-{fold}"
        return replace(self.campaign, work=self.campaign.work / name, weights=self.campaign.weights / name)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a cross-validation found; a voice is a member or a fusion of all, cleaned or raw.

    Attributes:
        evaluations: the held-out cases by each voice.
        extra: the extra cases by each voice of every fold; empty without such cases.
        not_scored: names of cases whose truth does not tell every region.
    """

    evaluations: tuple[Evaluation, ...]
    extra: tuple[Evaluation, ...]
    not_scored: tuple[str, ...]


def cross_validate(
    plan: HeldOutPlan,
    store: CaseStore,
    *,
    device: torch.device,
    watcher: Watcher = Watcher(),  # noqa: B008 - frozen
    on_case: Callable[[MapCard], None] = lambda _: None,
) -> HeldOut:
    """Train every fold's members and score them on what they never saw.

    Args:
        store: holds the cases of the folds, and whatever else may be trained on.
        watcher: hears of the fits under "fold 0 NAME".
        on_case: gets each case when its probabilities are there.

    Raises:
        SettingsError: an extra case of a patient that is trained on, or as `train_set`.
        WeightsError: weights to start from that saw a patient who is held out, or as `train_set`.
        InputError, DeviceError, OutputError: as `train_set` and `member_probabilities`.
    """
    _require_unseen(plan, store)
    told = [card for card in store.cards if _is_told(card, plan)]
    extra = [card for card in plan.extra.cards if _is_told(card, plan)]
    paths: list[Path] = []
    for fold in range(plan.folds.n_folds):
        members = train_set(
            plan.of_fold(fold),
            store,
            plan.folds.trained_on(store.cards, fold),
            device=device,
            watcher=_watcher_of(fold, watcher),
        )
        work = _FoldWork(plan, fold, members, device)
        paths += work.segment(store, plan.folds.held_out(told, fold), is_held_out=True, on_case=on_case)
        paths += work.segment(plan.extra, extra, is_held_out=False, on_case=on_case)
    held_out, others = _scored(paths, plan)
    everybody = (*store.cards, *plan.extra.cards)
    return HeldOut(
        evaluations=held_out,
        extra=others,
        not_scored=tuple(card.name for card in everybody if card.known and not _is_told(card, plan)),
    )


def as_networks_see(case: PreparedCase, settings: PreprocessSettings) -> Prepared:
    """A packed case in z-scores, padded as `preprocess` does it; its own grid is that of the packed arrays."""
    z_scores = np.stack([row[numbers] for row, numbers in zip(case.table, case.array, strict=True)])
    shape = case.card.shape
    padded, inner = pad(z_scores, settings.least)
    i, j, k = (slice(0, n) for n in shape)
    undo = Undo(
        shape=shape,
        order=(0, 1, 2),
        flips=(False, False, False),
        turned_shape=shape,
        grid_shape=shape,
        box=(i, j, k),
        inner=inner,
    )
    brain = pad(np.any(case.array, axis=0, keepdims=True), settings.least)[0][0]
    return Prepared(array=padded, brain=brain, undo=undo, notes=())


@dataclass(frozen=True)
class _FoldWork:
    """The trained members of one fold, which are loaded only where a case is missing."""

    plan: HeldOutPlan
    fold: int
    members: tuple[Member, ...]
    device: torch.device

    def segment(
        self, store: CaseStore, cards: Sequence[Card], *, is_held_out: bool, on_case: Callable[[MapCard], None]
    ) -> list[Path]:
        """The files with the members' probabilities of these cases; those that are missing or of others are made."""
        folder = self.plan.of_fold(self.fold).weights / _MAPS
        require_writable(folder)
        sweep(folder)
        wanted = {map_path(folder, card.name): self._map_card(card, is_held_out) for card in cards}
        missing = [each for path, each in wanted.items() if not map_has_key(path, each.key)]
        ensemble = self._ensemble() if missing else None
        for card in wanted.values():
            if ensemble and card in missing:
                write_map_file(folder, self._map(card, store[card.case], ensemble))
            on_case(card)
        return list(wanted)

    def _ensemble(self) -> Ensemble:
        return load_ensemble(self.members, device=self.device, precision=self._precision)

    @property
    def _precision(self) -> torch.dtype:
        return choose_precision(self.plan.settings.precision, self.device)

    def _map_card(self, card: Card, is_held_out: bool) -> MapCard:
        settings = self.plan.settings
        how = f"{card.key} {settings.overlap} {settings.mirror} {precision_name(self._precision)} {is_held_out}"
        return MapCard(
            case=card.name,
            fold=self.fold,
            is_held_out=is_held_out,
            members=tuple(member.name for member in self.members),
            regions=tuple(region.name for region in self.plan.campaign.recipe.regions.regions),
            key=map_key([file.sha256 for member in self.members for file in member.files], how),
        )

    def _map(self, card: MapCard, case: PreparedCase, ensemble: Ensemble) -> HeldOutMap:
        prepared = as_networks_see(case, ensemble.preprocess_settings)
        found = [
            prepared.undo(
                member_probabilities(
                    ensemble,
                    member,
                    prepared,
                    settings=self.plan.settings,
                    on_window=lambda: None,
                    stopwatch=Stopwatch(),
                )
            )
            for member in ensemble.members
        ]
        return held_out_map(card, np.stack(found), case.label_map)


def _scored(paths: Iterable[Path], plan: HeldOutPlan) -> tuple[tuple[Evaluation, ...], tuple[Evaluation, ...]]:
    """The evaluations of held-out cases and of extra ones, by voice."""
    by_voice: dict[bool, dict[str, list[ScoredCase]]] = {True: {}, False: {}}
    for path in paths:
        content = read_map_file(path)
        card = content.card
        name = card.case if card.is_held_out else f"{card.case} by fold {card.fold}"
        for voice, scored in _scores_of(content, name, plan):
            by_voice[card.is_held_out].setdefault(voice, []).append(scored)
    settings = EvaluateSettings(rules=plan.rules)
    held_out, extra = (
        tuple(
            Evaluation(name=voice, settings=settings, cases=tuple(sorted(cases, key=lambda each: each.case)))
            for voice, cases in by_voice[is_held_out].items()
        )
        for is_held_out in (True, False)
    )
    return held_out, extra


def _scores_of(content: HeldOutMap, name: str, plan: HeldOutPlan) -> Iterator[tuple[str, ScoredCase]]:
    """The scores of one case by each voice, cleaned, then raw."""
    regions, rules = plan.campaign.recipe.regions, plan.campaign.rules
    truth, members = content.label_map, content.card.members
    probabilities = content.probabilities
    for ending, chosen in (("", rules), (", raw", without_clean_up(rules))):
        for voice, label_map in voices(probabilities, members, regions, [chosen] * len(members)):
            yield (
                voice + ending,
                score_label_map(label_map, truth, case=name, regions=regions, rules=plan.rules),
            )


def _is_told(card: Card, plan: HeldOutPlan) -> bool:
    """Whether the case's truth tells every region that is scored."""
    return set(plan.campaign.recipe.regions.regions) <= set(card.known)


def _watcher_of(fold: int, watcher: Watcher) -> Watcher:
    """A watcher that hears which fold a member belongs to."""

    def on_step(member: str, progress: Progress) -> None:
        watcher.on_step(f"fold {fold} {member}", progress)

    def on_transfer(member: str, report: TransferReport) -> None:
        watcher.on_transfer(f"fold {fold} {member}", report)

    return Watcher(on_step=on_step, on_transfer=on_transfer)


def _require_unseen(plan: HeldOutPlan, store: CaseStore) -> None:
    """Raise where a patient who is measured was trained on, here or by the weights to start from."""
    trained = {patient for card in store.cards if card.known for patient in card.patients}
    seen = sorted(card.name for card in plan.extra.cards if trained & set(card.patients))
    if seen:
        raise SettingsError(
            f"{', '.join(seen)}: of a patient that is trained on",
            setting="extra",
            expected="cases of other patients",
            remedy="Leave them out here, or leave the patient's cases out of the training.",
        )
    if plan.campaign.origin is None:
        return
    measured = {*plan.folds.fold_of, *(patient for card in plan.extra.cards for patient in card.patients)}
    patients = {card.name: card.patients for card in (*store.cards, *plan.extra.cards)}
    cases = [str(case) for member in read_manifest(plan.campaign.origin) for case in member.trained_on.get("cases", ())]
    known = sorted({case for case in cases if measured & set(patients.get(case, (patient_of(case),)))})
    if known:
        raise WeightsError(
            f"have seen patients that are held out ({', '.join(known)})",
            place=plan.campaign.origin,
            setting="origin",
            expected="weights that were trained on other patients",
            remedy="Start from other weights, or leave these cases out.",
        )
