"""Which cases are trained on and which are held out, by patient, so that no patient is on both sides."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from htcnns.errors import InputError, SettingsError, WeightsError
from htcnns.files.fold_lists import Listed
from htcnns.files.manifest import read_manifest
from htcnns.files.names.brats import patient_of
from htcnns.files.prepared_cases import Card, CaseKind

_MASK_ENDING = re.compile(r"[-_.](seg|label|mask|t1n|t1c|t1ce|t1|t2w|t2f|t2|flair)$", re.IGNORECASE)


@dataclass(frozen=True)
class Folds:
    """Folds of patients, numbered from 0.

    Attributes:
        fold_of: fold that holds each patient out; patients who are never held out have no entry.
        n_folds: number of folds.
    """

    fold_of: Mapping[str, int]
    n_folds: int

    def held_out(self, cards: Iterable[Card], fold: int) -> tuple[Card, ...]:
        """The real heads with truth that a fold is scored on, sorted by name."""
        self._require(fold)
        return _sorted(card for card in cards if _is_measured(card) and self.fold_of.get(card.patients[0]) == fold)

    def trained_on(self, cards: Iterable[Card], fold: int | None) -> tuple[Card, ...]:
        """The cases with truth that a fit may see, sorted by name: those that contain nothing of a held-out patient.

        Args:
            fold: fold that is held out; None for a fit on everything.
        """
        if fold is not None:
            self._require(fold)
        return _sorted(
            card
            for card in cards
            if card.known and (fold is None or all(self.fold_of.get(patient) != fold for patient in card.patients))
        )

    def by_case(self, cards: Iterable[Card]) -> dict[str, int]:
        """The fold that holds out each case, by case name; cases that no fold holds out are absent."""
        measured = [card for card in cards if _is_measured(card) and card.patients[0] in self.fold_of]
        return {card.name: self.fold_of[card.patients[0]] for card in measured}

    def as_one(self) -> "Folds":
        """One fold that holds out all of these patients, for members that are trained on others."""
        return Folds(MappingProxyType(dict.fromkeys(self.fold_of, 0)), 1)

    def _require(self, fold: int) -> None:
        if not 0 <= fold < self.n_folds:
            raise SettingsError(
                f"no fold {fold}",
                setting="fold",
                expected=f"0 to {self.n_folds - 1}",
                remedy="Choose one of them.",
            )


def seen_by(weights: Path, patients: Collection[str], cards: Iterable[Card]) -> list[str]:
    """Names of the cases of these patients that the weights of a folder were trained on, sorted.

    Args:
        cards: cases whose patients are known; the patients of other cases are derived from the cases' names.

    Raises:
        WeightsError: as `read_manifest`, or a member whose training cases are not stated, such as an imported one.
    """
    patients_of = {card.name: card.patients for card in cards}
    members = read_manifest(weights, setting="origin")
    for member in members:
        if "cases" not in member.trained_on:
            raise WeightsError(
                f"does not say what {member.name} was trained on",
                place=weights,
                setting="origin",
                expected="the names of its cases in the manifest",
                remedy="List them there under trained_on, or start from other weights.",
            )
    names = {str(case) for member in members for case in member.trained_on["cases"]}
    return sorted(name for name in names if set(patients) & set(patients_of.get(name, (patient_of(name),))))


def deal(cards: Iterable[Card], n_folds: int) -> Folds:
    """Folds of nearly the same size: the patients of the measured cases, sorted by name, are dealt in turn.

    Raises:
        SettingsError: fewer than two folds, or more folds than patients.
    """
    patients = sorted({card.patients[0] for card in cards if _is_measured(card)})
    if not 2 <= n_folds <= len(patients):
        raise SettingsError(
            f"{n_folds} folds of {len(patients)} patients",
            setting="folds",
            expected="at least 2, and a patient in each",
            remedy="Give another number of folds or more cases.",
        )
    return Folds(MappingProxyType({patient: i % n_folds for i, patient in enumerate(patients)}), n_folds)


def given(cards: Iterable[Card], listed: Iterable[Listed], *, place: object) -> Folds:
    """The folds stated in a list.

    Args:
        listed: lines of the list; lines of missing cases are ignored, and cases without a fold are trained on in every
            fold.
        place: name of the list, for messages.

    Raises:
        InputError: cases that are not listed, a case in two folds, a patient in two folds, or folds that are fewer
            than two or not numbered from 0 without a gap.
    """
    measured = _sorted(card for card in cards if _is_measured(card))
    folds_of = _folds_by_name(listed)
    missing = [card.name for card in measured if card.name not in folds_of]
    if missing:
        raise InputError(
            f"does not list {', '.join(missing)}",
            place=place,
            expected="a fold for every case",
            remedy="Add them, or leave the cases out.",
        )
    fold_of: dict[str, int | None] = {}
    seen: dict[str, str] = {}
    for card in measured:
        patient, folds = card.patients[0], folds_of[card.name]
        if len(folds) > 1:
            raise InputError(f"{card.name} is in folds {_and(folds)}", place=place, remedy="Keep it in one of them.")
        if fold_of.setdefault(patient, *folds) not in folds:
            raise InputError(
                f"{seen[patient]} and {card.name} are of one patient",
                place=place,
                found=f"folds {_and({fold_of[patient], *folds})}",
                expected="one fold for all cases of a patient",
                remedy="Move one of them.",
            )
        seen[patient] = card.name
    held_out = {patient: fold for patient, fold in fold_of.items() if fold is not None}
    numbers = set(held_out.values())
    if len(numbers) < 2 or numbers != set(range(len(numbers))):
        raise InputError(
            f"its folds are {_and(numbers) or 'none'}",
            place=place,
            expected="at least two, numbered from 0 without a gap",
            remedy="Renumber them.",
        )
    return Folds(MappingProxyType(held_out), len(numbers))


def among(names: Iterable[str], listed: Iterable[Listed], *, place: object) -> frozenset[str]:
    """The names that appear in a list.

    Args:
        names: names of the cases at hand.
        listed: lines of the list, each of one of these cases.
        place: where the cases are, for messages.

    Raises:
        InputError: lines of missing cases; the first few are named.
    """
    there = frozenset(names)
    lines = [_called(line) for line in listed]
    strange = [sorted(line, key=len)[-1] for line in lines if not line & there]
    if strange:
        raise InputError(
            f"has no case {', '.join(strange[:5])}",
            place=place,
            found=f"{len(strange)} of the {len(lines)} listed cases missing",
            expected="every listed case",
            remedy="Add them, or take them out of the list.",
        )
    return there.intersection(name for line in lines for name in line)


def _folds_by_name(listed: Iterable[Listed]) -> dict[str, set[int | None]]:
    """The folds in which each name is listed."""
    folds: dict[str, set[int | None]] = defaultdict(set)
    for line in listed:
        for name in _called(line):
            folds[name].add(line.fold)
    return folds


def _called(line: Listed) -> frozenset[str]:
    """The possible names of a line's case; a file's name also counts without its last word, such as -seg."""
    return line.names | {_MASK_ENDING.sub("", name) for name in line.names}


def _is_measured(card: Card) -> bool:
    return card.kind is CaseKind.HEAD and bool(card.known)


def _sorted(cards: Iterable[Card]) -> tuple[Card, ...]:
    return tuple(sorted(cards, key=lambda card: card.name))


def _and(folds: Iterable[int | None]) -> str:
    """The fold numbers in words, smallest first; "none" for cases that are never held out."""
    return " and ".join(
        "none" if fold is None else str(fold) for fold in sorted(folds, key=lambda f: (f is None, f or 0))
    )
