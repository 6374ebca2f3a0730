"""What each challenge of each year scores, and how: one table row per edition and challenge.

Numbers are the file numbers of that challenge. Known bugs of the official code that change scores are fields of the
row, on by default because the published scores have them; `as_meant` clears them.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from htcnns.errors import require_known


class Scheme(StrEnum):
    """The three ways in which the challenges have scored."""

    WHOLE = "whole masks"
    LESIONS = "lesions joined by dilation, false positives in the mean"
    INSTANCES = "one-to-one matched components"


@dataclass(frozen=True)
class Tissue:
    """One region under a rule.

    Attributes:
        name: as the challenge's tables have it.
        numbers: the file numbers whose union it is.
        dilation: iterations of the 18-neighbourhood that join near parts into one lesion.
        ignored: lesions of at most this size do not count: mm3 of truth, voxels of prediction.
        joined_by: tissues whose touch joins lesions of this one, in the official order.
        scored: False for a tissue that only joins others.
        dilation_meant: the dilation that the code means to have where a misspelt name keeps it from it.
    """

    name: str
    numbers: tuple[int, ...]
    dilation: int = 0
    ignored: float = 0
    joined_by: tuple[str, ...] = ()
    scored: bool = True
    dilation_meant: int | None = None


@dataclass(frozen=True)
class Rule:
    """How one challenge of one year scores a case.

    Attributes:
        labels: name of the label set whose numbers the row speaks; None where the files have numbers of their own.
        penalty_mm: HD95 of what was missed or invented; None for the diagonal of the image, in voxels.
        merges_prediction: predicted lesions are joined by dilation and small ones dropped, before everything else.
        drops_by_volume: that `ignored` means mm3 for predicted lesions too.
        counts_false_positives: predicted lesions without truth lower the lesion-wise mean.
        has_nsd: normalised surface Dice at 0.5 and 1 mm besides.
        large_lesion_mm3: from this size on a lesion counts as large in the extra table of the metastases challenge.
        whole_from_label_image: QUIRK of 2024 and 2025. Whole-mask HD95, sensitivity and specificity are computed on
            the numbered lesions instead of their mask, and are wrong from the second lesion on.
        whole_in_voxels: QUIRK of 2026. Whole-mask HD95 and NSD forget the voxel size, and masks without a common
            voxel count as if one were empty.
        turns_spacing: QUIRK of 2026. Lesion-wise distances take the voxel size along I for K and along K for I.
        source: the code that the row was read from.
        verified: whether values of the official code were reproduced with this very row.
    """

    name: str
    scheme: Scheme
    tissues: tuple[Tissue, ...]
    labels: str | None
    penalty_mm: float | None
    source: str
    verified: bool = False
    merges_prediction: bool = False
    drops_by_volume: bool = False
    counts_false_positives: bool = True
    has_nsd: bool = False
    large_lesion_mm3: float | None = None
    whole_from_label_image: bool = False
    whole_in_voxels: bool = False
    turns_spacing: bool = False

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the scored tissues, in the official order."""
        return tuple(tissue.name for tissue in self.tissues if tissue.scored)

    @property
    def caution(self) -> str | None:
        """What a reader must be told about the row; None when nothing."""
        return None if self.verified else f"{self.name}: not verified against official output"


def rule(name: str) -> Rule:
    """The row of that name.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    require_known(name, RULES, what="rules", where="--rules")
    return RULES[name]


def as_meant(row: Rule) -> Rule:
    """The row without the bugs of its official code; then there is no official output to verify it against."""
    tissues = tuple(
        replace(t, dilation=t.dilation if t.dilation_meant is None else t.dilation_meant) for t in row.tissues
    )
    meant = replace(row, tissues=tissues, whole_from_label_image=False, whole_in_voxels=False, turns_spacing=False)
    return row if meant == row else replace(meant, verified=False)


_DIAGONAL_MM = 373.12864  # of 240x240x155 voxels of 1 mm: HD95 of a missed region in BraTS 2017 to 2022
_M2021 = "the challenge's definition of 2021; CaPTk's evaluation code could not be read"
_M2023 = "rachitsaluja/BraTS-2023-Metrics metrics.py at 43c9052"
_M2024 = "rachitsaluja/BraTS-2024-Metrics at 9a0ab9c"
_M2025 = "rachitsaluja/BraTS-2024-Metrics at 9e8879a"
_M2026 = "BraTS/BraTS_evaluation 0.0.10 with panoptica"
_WT, _TC, _ET, _NETC = (1, 2, 3), (1, 3), (3,), (1,)


def _three(dilation: int, ignored: float, *, joins_et: bool = False) -> tuple[Tissue, ...]:
    """WT, TC and ET in the numbers 1 2 3, of 2023 on."""
    helper = (Tissue("NETC", _NETC, dilation, ignored, scored=False),) if joins_et else ()
    et = Tissue("ET", _ET, dilation, ignored, ("NETC",) if joins_et else ())
    return Tissue("WT", _WT, dilation, ignored), Tissue("TC", _TC, dilation, ignored), et, *helper


_POST_TREATMENT = (
    Tissue("WT", _WT, 3, 20),
    Tissue("TC", _TC, 3, 20),
    Tissue("NETC", _NETC, 5, 20, ("ET", "RC")),
    Tissue("SNFH", (2,), 3, 20, ("ET", "RC", "NETC"), dilation_meant=5),  # the code asks for "SFNH"
    Tissue("ET", _ET, 3, 10, ("NETC", "RC")),
    Tissue("RC", (4,), 5, 20, ("ET", "NETC")),
)
_PAEDIATRIC = tuple(
    Tissue(name, numbers, 5, 10)
    for name, numbers in {
        "WT": (1, 2, 3, 4),
        "TC": (1, 2, 3),
        "ET": (1,),
        "NETC": (2,),
        "CC": (3,),
        "ED": (4,),
    }.items()
)
_METASTASES = _three(1, 2, joins_et=True)
_METASTASES_2025 = (*_METASTASES, Tissue("RC", (4,), 1, 2))
_RADIOTHERAPY = (Tissue("GTV", (1,), 1, 50),)


def _lesions_2023(challenge: str, tissues: tuple[Tissue, ...], *, verified: bool) -> Rule:
    name = f"brats2023-{challenge}"
    return Rule(name, Scheme.LESIONS, tissues, "brats2023", 374, _M2023, verified=verified)


def _lesions_2024(challenge: str, tissues: tuple[Tissue, ...], labels: str | None, penalty_mm: float | None) -> Rule:
    return Rule(
        f"brats2024-{challenge}",
        Scheme.LESIONS,
        tissues,
        labels,
        penalty_mm,
        _M2024,
        verified=True,
        merges_prediction=True,
        whole_from_label_image=True,
    )


def _of_2025(row: Rule) -> Rule:
    """A row of 2024 as it stood in 2025, with NSD, and not yet compared with official output."""
    return replace(row, name=row.name.replace("2024", "2025"), source=_M2025, verified=False, has_nsd=True)


def _instances_2026(challenge: str, tissues: dict[str, tuple[int, ...]], labels: str | None, *, verified: bool) -> Rule:
    return Rule(
        f"brats2026-{challenge}",
        Scheme.INSTANCES,
        tuple(Tissue(name, numbers) for name, numbers in tissues.items()),
        labels,
        373,
        _M2026,
        verified=verified,
        whole_in_voxels=True,
        turns_spacing=True,
    )


_GLI_2024 = _lesions_2024("gli", _POST_TREATMENT, "brats2024-gli", 337)
_SSA_2024 = _lesions_2024("ssa", _three(3, 50, joins_et=True), "brats2023", 374)
_PED_2024 = _lesions_2024("ped", _PAEDIATRIC, "brats2024-ped", 374)
_MET_2024 = _lesions_2024("met", _METASTASES, "brats2024-met", 374)
_MEN_RT_2024 = replace(
    _lesions_2024("men-rt", _RADIOTHERAPY, None, None), drops_by_volume=True, counts_false_positives=False
)

_ROWS = (
    Rule(
        "brats2021",
        Scheme.WHOLE,
        (Tissue("WT", (1, 2, 4)), Tissue("TC", (1, 4)), Tissue("ET", (4,))),
        "brats2021",
        _DIAGONAL_MM,
        _M2021,
    ),
    _lesions_2023("gli", _three(3, 50), verified=True),
    _lesions_2023("ssa", _three(3, 50), verified=False),
    _lesions_2023("ped", _three(3, 50), verified=False),
    _lesions_2023("men", _three(1, 50), verified=True),
    _lesions_2023("met", _three(1, 2), verified=True),
    _GLI_2024,
    _SSA_2024,
    _PED_2024,
    _MET_2024,
    _MEN_RT_2024,
    _of_2025(_GLI_2024),
    _of_2025(_SSA_2024),
    _of_2025(_PED_2024),
    replace(_of_2025(_MET_2024), tissues=_METASTASES_2025, penalty_mm=None, verified=True),
    _of_2025(_MEN_RT_2024),
    Rule("brats2025-men", Scheme.LESIONS, _three(1, 50), "brats2023", 374, _M2025, verified=True, has_nsd=True),
    _instances_2026(
        "gli",
        {"SNFH": (2,), "ET": _ET, "NETC": _NETC, "RC": (4,), "TC": _TC, "WT": _WT},
        "brats2024-gli",
        verified=True,
    ),
    replace(
        _instances_2026("met", {"ET": _ET, "RC": (4,), "TC": _TC, "WT": _WT}, "brats2024-met", verified=True),
        large_lesion_mm3=27,
    ),
    _instances_2026(
        "ped",
        {"ET": (1,), "NETC": (2,), "CC": (3,), "ED": (4,), "TC": (1, 2, 3), "WT": (1, 2, 3, 4)},
        "brats2024-ped",
        verified=False,
    ),
    _instances_2026("men", {"ET": _ET, "TC": _TC, "WT": _WT}, "brats2023", verified=False),
    _instances_2026("goat", {"ET": _ET, "TC": _TC, "WT": _WT}, "brats2023", verified=False),
    _instances_2026("men-rt", {"GTV": (1,)}, None, verified=False),
)

RULES: dict[str, Rule] = {row.name: row for row in _ROWS}
