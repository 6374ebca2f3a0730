"""Label maps of prediction and truth, each in its own numbers, brought to the numbers of a rule."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from htcnns.errors import InputError, SettingsError
from htcnns.labels import LABEL_SETS, Label, LabelSet, default_label_set, label_set
from htcnns.scores.rules import Rule


@dataclass(frozen=True)
class Translation:
    """From one file's numbers to a rule's.

    Attributes:
        table: (256,) uint8, the rule's number for each number of the file; 0 for what the rule drops.
        name: of the label set that the file is read in.
    """

    table: np.ndarray
    name: str

    def __call__(self, label_map: np.ndarray) -> np.ndarray:
        """The uint8 label map in the rule's numbers."""
        return self.table[label_map]

    def dropped(self, label_map: np.ndarray) -> Counter[int]:
        """How many voxels hold each number that the rule drops."""
        counts = np.bincount(label_map.reshape(-1), minlength=256)
        lost = (counts > 0) & (self.table == 0)
        return Counter({int(n): int(counts[n]) for n in np.flatnonzero(lost) if n > 0})


def translation(rule: Rule, chosen: str | None, case_name: str) -> Translation:
    """How a file of that case is read under a rule.

    Args:
        chosen: name of a label set; None for 1 2 4 in the cases of 2017 to 2022, the rule's own numbers in all others.

    Raises:
        SettingsError: an unknown name, or any name under a rule whose files have one label of their own.
    """
    scored = {number for tissue in rule.tissues for number in tissue.numbers}
    if rule.labels is None:
        if chosen is not None:
            raise SettingsError(f"{rule.name}: has no label sets, found {chosen!r}. Leave the flag out.")
        return Translation(_table({number: number for number in scored}), rule.name)
    target = label_set(rule.labels)
    source = label_set(chosen) if chosen else _default(target, case_name)
    pairs = {number: target.numbers[label] for label, number in source.numbers.items() if label in target.numbers}
    return Translation(_table({a: b for a, b in pairs.items() if b in scored}), source.name)


def require_plausible(label_map: np.ndarray, read_as: str, *, where: str, side: str) -> None:
    """Raise InputError where enhancing tumour has the number of another year: 4 without 3 among 1 2 3, or the reverse.

    Args:
        read_as: name of the label set that the file is read in; sets in which both numbers have a meaning pass.
        side: "prediction" or "truth", for the flag's name.
    """
    numbers = LABEL_SETS[read_as].numbers if read_as in LABEL_SETS else {}
    known = set(numbers.values())
    strange = {3, 4} - known
    if len(strange) != 1 or Label.ET not in numbers:
        return
    found, expected = strange.pop(), numbers[Label.ET]
    if (label_map == found).any() and not (label_map == expected).any():
        other = "brats2021" if found == 4 else "brats2023"
        raise InputError(
            f"{where}: holds {found} and no {expected}; {read_as} has {', '.join(map(str, sorted(known)))}. "
            f"Say --{side}-labels {other} if {found} is enhancing tumour."
        )


def dropped_warning(counts: dict[str, Counter[int]], rule: Rule) -> str | None:
    """One sentence on all that was dropped, from voxel counts by file; None when nothing was."""
    lost = {name: count for name, count in counts.items() if count}
    if not lost:
        return None
    total = sum(lost.values(), Counter[int]())
    numbers = ", ".join(f"{number} ({n} voxels)" for number, n in sorted(total.items()))
    files = "1 file" if len(lost) == 1 else f"{len(lost)} files"
    return f"{rule.name} does not score these labels, found in {files}: {numbers}. They count as background."


def _default(target: LabelSet, case_name: str) -> LabelSet:
    """The set that a case's name asks for where it or the rule is of 2017 to 2022, else the rule's own."""
    named = default_label_set(case_name)
    return named if "brats2021" in (named.name, target.name) else target


def _table(pairs: dict[int, int]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for number, becomes in pairs.items():
        table[number] = becomes
    return table
