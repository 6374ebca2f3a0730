"""Cases for training: packed once, then read when they are drawn, the most recent ones kept in memory."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

import numpy as np

from htcnns.errors import InputError, SettingsError
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.cases import Case, find_cases
from htcnns.files.fold_lists import Listed
from htcnns.files.names.brats import patient_of
from htcnns.files.nifti import read_grid, read_label_map
from htcnns.files.prepared_cases import (
    Card,
    CaseKind,
    PreparedCase,
    has_key,
    key_of,
    prepared_case,
    prepared_path,
    read_card,
    read_cards,
    read_prepared,
    write_prepared,
)
from htcnns.files.scans import read_case
from htcnns.image.preprocess import PreprocessSettings, Undo, preprocess
from htcnns.image.resample import resample
from htcnns.labels import SEQUENCES, Label, LabelSet, Region, decode
from htcnns.training.folds import among
from htcnns.training.recent import Recent
from htcnns.volume import Shape, grid_difference, turn

WHOLE_TUMOUR = LabelSet("whole-tumour", {Label.ED: 1})  # a truth with one number, which annotates no inner region
MEMORY = 2**31  # bytes of prepared cases kept in memory; about 120 whole brains
_WHOLE_BRAIN = PreprocessSettings(window=(1, 1, 1))
BY_NAME: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class TruthRule:
    """How to read the truths of some cases; chosen by whoever packs them, as the files do not state it.

    Attributes:
        labels: label set of the truths.
        pattern: pattern of the cases' names, such as "BraTS-PED-*".
        known: regions that the truths annotate; None for every region with a label in the label set.
    """

    labels: LabelSet
    pattern: str = "*"
    known: tuple[Region, ...] | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions that such a truth annotates."""
        if self.known is not None:
            return self.known
        if self.labels == WHOLE_TUMOUR:
            return (Region.WT,)
        return tuple(region for region in Region if any(label in self.labels.numbers for label in region.value))


@dataclass(frozen=True)
class Packed:
    """One case that was packed, and whether its file was there already."""

    card: Card
    was_there: bool


def pack(
    data: Path,
    cache: Path,
    rules: Sequence[TruthRule],
    *,
    unlabelled: Collection[str] = (),
    patients: Mapping[str, str] = BY_NAME,
    listed: Collection[Listed] = (),
    on_case: Callable[[Packed], None] = lambda _: None,
) -> tuple[Card, ...]:
    """Prepare every case of a folder once; a case whose files have changed since is prepared again.

    Args:
        data: folder in any layout that `find_cases` knows; sequences may be missing.
        cache: folder for one file per case.
        rules: how truths are read; the first rule whose pattern matches a case applies.
        unlabelled: names of cases that may lack a truth.
        patients: patient of each case whose name does not identify the patient.
        listed: lines of a list of the cases to pack; empty for every case in the folder.
        on_case: called with each case once its file exists.

    Raises:
        InputError: no case, listed cases that are missing, cases without truth, a truth on another grid or with
            unknown numbers.
        SettingsError: a case that matches no rule, or a name in `unlabelled` that no case has.
        OutputError: the cache cannot be written.
    """
    cases = find_cases(data, skip=(cache,))
    if listed:
        chosen = among((case.name for case in cases), listed, place=data)
        cases = tuple(case for case in cases if case.name in chosen)
    _require_truths(cases, unlabelled, data)
    ruled = [(case, _rule_for(case, rules) if case.truth else None) for case in cases]
    require_writable(cache)
    sweep(cache)
    cards = []
    for case, rule in ruled:
        packed = _packed(case, rule, patients.get(case.name) or patient_of(case.name), cache)
        on_case(packed)
        cards.append(packed.card)
    return tuple(cards)


class CaseStore:
    """Prepared cases of one or more folders by name; read when asked for, the most recent ones kept in memory.

    Threads may share it.

    Args:
        cards: card of each case by file, as `read_cards` returns them.
        most_bytes: memory limit for the kept cases; the most recent one is always kept.
        change: function applied to each case after it is read.
    """

    def __init__(
        self,
        cards: dict[Path, Card],
        *,
        most_bytes: int = MEMORY,
        change: Callable[[PreparedCase], PreparedCase] = lambda case: case,
    ) -> None:
        self.files = dict(cards)
        self.cards = tuple(cards.values())
        self._paths = {card.name: path for path, card in cards.items()}
        self._most_bytes = most_bytes
        self._change = change
        self._recent: Recent[PreparedCase] = Recent(most_bytes, lambda case: case.n_bytes)

    def __getitem__(self, name: str) -> PreparedCase:
        """The case of that name.

        Raises:
            InputError: its file is gone, damaged, or of another version.
        """
        return self._recent.get(name, lambda: self._change(read_prepared(self._paths[name])))

    def only(self, names: Collection[str]) -> "CaseStore":
        """A store with only the cases of these names."""
        cards = {path: card for path, card in self.files.items() if card.name in names}
        return CaseStore(cards, most_bytes=self._most_bytes, change=self._change)

    def changed(self, change: Callable[[PreparedCase], PreparedCase]) -> "CaseStore":
        """A store of the same files that applies `change` to each case read, instead of the present change."""
        return CaseStore(self.files, most_bytes=self._most_bytes, change=change)

    @property
    def n_bytes(self) -> int:
        """Memory that the kept cases take."""
        return self._recent.size


def open_store(folders: Iterable[Path], *, most_bytes: int = MEMORY) -> CaseStore:
    """A store of all cases that were packed into the folders.

    Raises:
        InputError: a folder without prepared cases, a file of another version, or a case name in two folders.
    """
    return joined((CaseStore(read_cards(folder)) for folder in folders), most_bytes=most_bytes)


def joined(stores: Iterable[CaseStore], *, most_bytes: int = MEMORY) -> CaseStore:
    """One store with the cases of several.

    Raises:
        InputError: a case name in two stores.
    """
    cards: dict[Path, Card] = {}
    for store in stores:
        names = {card.name: path for path, card in cards.items()}
        for path, card in store.files.items():
            if card.name in names:
                raise InputError(
                    f"{card.name} is there twice",
                    place=path,
                    found=f"another one in {names[card.name].parent}",
                    remedy="Remove one, or pack the cases under different names.",
                )
            cards[path] = card
    return CaseStore(cards, most_bytes=most_bytes)


def resample_labels(label_map: np.ndarray, shape: Shape) -> np.ndarray:
    """(i, j, k) uint8 label map on another grid with the same outer faces; the label of largest weight wins."""
    labels = np.unique(label_map)
    weights = np.stack([resample((label_map == label)[None].astype(np.float32), shape)[0] for label in labels])
    return labels[weights.argmax(axis=0)]


def _require_truths(cases: Iterable[Case], unlabelled: Collection[str], data: Path) -> None:
    """Raise unless every case has a truth or is named as unlabelled, and every name there belongs to a case."""
    names = {case.name for case in cases}
    strange = sorted(set(unlabelled) - names)
    if strange:
        raise SettingsError(
            f"{', '.join(strange)}: no such case in {data}",
            setting="unlabelled",
            expected="names of cases",
            remedy="Correct the name or leave it out.",
        )
    bare = [case for case in cases if case.truth is None and case.name not in unlabelled]
    if bare:
        raise InputError(
            f"no truth for {', '.join(case.name for case in bare)}",
            place=data,
            expected=f"a label map beside the scans, such as {bare[0].name}-seg.nii.gz",
            remedy="Add it, or name the case as unlabelled.",
        )


def _rule_for(case: Case, rules: Iterable[TruthRule]) -> TruthRule:
    """The first rule whose pattern matches the case's name."""
    patterns = [rule.pattern for rule in rules]
    for rule in rules:
        if fnmatchcase(case.name, rule.pattern):
            return rule
    raise SettingsError(
        f"no label set for {case.name}",
        setting="labels",
        found=f"label sets for {', '.join(patterns)}" if patterns else "no label set",
        remedy="Say how its truth is numbered.",
    )


def _packed(case: Case, rule: TruthRule | None, patient: str, cache: Path) -> Packed:
    """The packed case; its file is written unless it is there already."""
    path = prepared_path(cache, case.name)
    key = _key(case, rule, patient)
    if has_key(path, key):
        return Packed(read_card(path), was_there=True)
    try:
        prepared = _prepare(case, rule, patient, key)
    except InputError as error:
        raise error.at(case.name) from error
    write_prepared(cache, prepared)
    return Packed(prepared.card, was_there=False)


def _key(case: Case, rule: TruthRule | None, patient: str) -> str:
    """Digest of everything that decides the content of the case's file."""
    files = [case.files[sequence] for sequence in case.found]
    how = f"{patient} {' '.join(case.found)}"
    if rule and case.truth:
        numbers = sorted((number, label.name) for label, number in rule.labels.numbers.items())
        how += f" {numbers} {[region.name for region in rule.regions]}"
        files.append(case.truth)
    return key_of(case.name, how, files)


def _prepare(case: Case, rule: TruthRule | None, patient: str, key: str) -> PreparedCase:
    """The case preprocessed as for segmentation, with its truth on the same grid."""
    volume = read_case(case, most_missing=len(SEQUENCES) - 1)
    prepared = preprocess(volume.array, volume.affine, _WHOLE_BRAIN)
    i, j, k = prepared.array.shape[1:]
    label_map = np.zeros((i, j, k), np.uint8)
    if rule and case.truth:
        difference = grid_difference(read_grid(case.truth), volume.grid)
        if difference:
            raise InputError(
                f"the truth {difference}",
                place=case.truth,
                expected="the grid of the scans",
                remedy="Resample the truth to it, with nearest-neighbour interpolation.",
            )
        truth = decode(read_label_map(case.truth).array, rule.labels, where=str(case.truth))
        label_map = _as_networks_see(truth, prepared.undo)
    card = Card(
        name=case.name,
        kind=CaseKind.HEAD,
        patients=(patient,),
        sequences=case.found,
        known=rule.regions if rule else (),
        shape=(i, j, k),
        key=key,
    )
    return prepared_case(card, prepared.array, label_map)


def _as_networks_see(truth: np.ndarray, undo: Undo) -> np.ndarray:
    """A label map brought from the case's grid to the networks' grid."""
    turned = turn(truth, undo.order, undo.flips)
    if undo.resampled:
        turned = resample_labels(turned, undo.grid_shape)
    return np.ascontiguousarray(turned[undo.box])
