"""What each challenge of each year scores, and how: one table row per edition and challenge.

Numbers are the file numbers of that challenge. Known bugs of the official code that change scores are fields of the
row, on by default because the published scores have them; `as_meant` clears them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from htcnns.errors import require_known


class Scheme(StrEnum):
    """The three ways in which the challenges have scored."""

    WHOLE = "whole masks"
    LESIONS = "lesions joined by dilation, false positives in the mean"
    INSTANCES = "one-to-one matched components"


@dataclass(frozen=True, kw_only=True)
class ScoredRegion:
    """One region under a rule.

    Attributes:
        name: name in the challenge's tables.
        numbers: the file numbers whose union it is.
        dilation: iterations of 18-neighbourhood dilation that join nearby parts into one lesion.
        ignored: largest lesion size that does not count: mm3 in the truth, voxels in the prediction.
        joined_by: regions whose lesions join the lesions of this one that touch them, in the official order.
        is_scored: False for a region that only serves to join lesions of other regions.
        dilation_meant: dilation that the official code intends but misses because of a misspelt name; None where
            it works as intended.
    """

    name: str
    numbers: tuple[int, ...]
    dilation: int = 0
    ignored: float = 0
    joined_by: tuple[str, ...] = ()
    is_scored: bool = True
    dilation_meant: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one challenge of one year scores a case.

    Attributes:
        regions: every region, including those that only join others.
        labels: name of the label set whose numbers the row uses; None where the files have numbers of their own.
        penalty_mm: HD95 of a missed or invented lesion or region; None for the diagonal of the image, in voxels.
        merges_prediction: whether predicted lesions are joined like those of the truth, and small ones dropped.
        drops_by_volume: whether `ignored` means mm3 for predicted lesions too.
        counts_false_positives: whether predicted lesions without truth lower the lesion-wise mean.
        has_nsd: whether normalised surface Dice at 0.5 and 1 mm is also computed.
        large_lesion_mm3: size from which a lesion counts as large in the extra table of the metastases challenge.
        whole_from_label_image: QUIRK of 2024 and 2025. Whole-mask HD95, sensitivity and specificity are computed on
            the numbered lesions instead of their mask, and are wrong from the second lesion on.
        whole_in_voxels: QUIRK of 2026. Whole-mask HD95 and NSD ignore the voxel size, and masks without a common
            voxel count as if one were empty.
        turns_spacing: QUIRK of 2026. Lesion-wise distances take the voxel size along I for K and along K for I.
        source: official code or definition that the row was taken from.
        verified: whether values of the official code were reproduced with exactly this row.
    """

    name: str
    scheme: Scheme
    regions: tuple[ScoredRegion, ...]
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
    def region_names(self) -> tuple[str, ...]:
        """Names of the scored regions, in the official order."""
        return tuple(region.name for region in self.regions if region.is_scored)

    @property
    def caution(self) -> str | None:
        """A warning for readers of the scores; None if there is none."""
        return None if self.verified else f"{self.name}: not verified against official output"


def rule(name: str) -> Rule:
    """The row of `RULES` with that name.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    require_known(name, RULES, what="rules", setting="rules")
    return RULES[name]


def as_meant(row: Rule) -> Rule:
    """The row without the bugs of its official code; if it had any, no official output can verify the result."""
    regions = tuple(
        replace(r, dilation=r.dilation if r.dilation_meant is None else r.dilation_meant) for r in row.regions
    )
    meant = replace(row, regions=regions, whole_from_label_image=False, whole_in_voxels=False, turns_spacing=False)
    return row if meant == row else replace(meant, verified=False)


_DIAGONAL_MM = 373.12864  # of 240x240x155 voxels of 1 mm: HD95 of a missed region in BraTS 2017 to 2022
_M2021 = "the challenge's definition of 2021; CaPTk's evaluation code could not be read"
_M2023 = "rachitsaluja/BraTS-2023-Metrics metrics.py at 43c9052"
_M2024 = "rachitsaluja/BraTS-2024-Metrics at 9a0ab9c"
_M2025 = "rachitsaluja/BraTS-2024-Metrics at 9e8879a"
_M2026 = "BraTS/BraTS_evaluation 0.0.10 with panoptica"
_WT, _TC, _ET, _NETC = (1, 2, 3), (1, 3), (3,), (1,)


def _region(name: str, numbers: tuple[int, ...], dilation: int, ignored: float) -> ScoredRegion:
    return ScoredRegion(name=name, numbers=numbers, dilation=dilation, ignored=ignored)


def _three(dilation: int, ignored: float, *, joins_et: bool = False) -> tuple[ScoredRegion, ...]:
    """WT, TC and ET in the numbers 1 2 3 of 2023 on; with NETC, unscored, if it joins lesions of ET."""
    wt, tc, et, netc = (
        _region(name, numbers, dilation, ignored)
        for name, numbers in {"WT": _WT, "TC": _TC, "ET": _ET, "NETC": _NETC}.items()
    )
    if not joins_et:
        return wt, tc, et
    return wt, tc, replace(et, joined_by=("NETC",)), replace(netc, is_scored=False)


_POST_TREATMENT = (
    _region("WT", _WT, 3, 20),
    _region("TC", _TC, 3, 20),
    replace(_region("NETC", _NETC, 5, 20), joined_by=("ET", "RC")),
    replace(  # the code asks for "SFNH"
        _region("SNFH", (2,), 3, 20), joined_by=("ET", "RC", "NETC"), dilation_meant=5
    ),
    replace(_region("ET", _ET, 3, 10), joined_by=("NETC", "RC")),
    replace(_region("RC", (4,), 5, 20), joined_by=("ET", "NETC")),
)
_PAEDIATRIC = tuple(
    _region(name, numbers, 5, 10)
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
_METASTASES_2025 = (*_METASTASES, _region("RC", (4,), 1, 2))
_RADIOTHERAPY = (_region("GTV", (1,), 1, 50),)


def _lesions_2023(challenge: str, regions: tuple[ScoredRegion, ...], *, verified: bool) -> Rule:
    return Rule(
        name=f"brats2023-{challenge}",
        scheme=Scheme.LESIONS,
        regions=regions,
        labels="brats2023",
        penalty_mm=374,
        source=_M2023,
        verified=verified,
    )


def _lesions_2024(
    challenge: str, regions: tuple[ScoredRegion, ...], labels: str | None, penalty_mm: float | None
) -> Rule:
    return Rule(
        name=f"brats2024-{challenge}",
        scheme=Scheme.LESIONS,
        regions=regions,
        labels=labels,
        penalty_mm=penalty_mm,
        source=_M2024,
        verified=True,
        merges_prediction=True,
        whole_from_label_image=True,
    )


def _of_2025(challenge: str, row: Rule) -> Rule:
    """A row of 2024 as it stood in 2025, with NSD, and not yet compared with official output."""
    return replace(row, name=f"brats2025-{challenge}", source=_M2025, verified=False, has_nsd=True)


def _instances_2026(challenge: str, regions: dict[str, tuple[int, ...]], labels: str | None, *, verified: bool) -> Rule:
    return Rule(
        name=f"brats2026-{challenge}",
        scheme=Scheme.INSTANCES,
        regions=tuple(ScoredRegion(name=name, numbers=numbers) for name, numbers in regions.items()),
        labels=labels,
        penalty_mm=373,
        source=_M2026,
        verified=verified,
        whole_in_voxels=True,
        turns_spacing=True,
    )


_ROW_2021 = Rule(
    name="brats2021",
    scheme=Scheme.WHOLE,
    regions=tuple(
        ScoredRegion(name=name, numbers=numbers)
        for name, numbers in {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}.items()
    ),
    labels="brats2021",
    penalty_mm=_DIAGONAL_MM,
    source=_M2021,
)
_GLI_2024 = _lesions_2024("gli", _POST_TREATMENT, "brats2024-gli", 337)
_SSA_2024 = _lesions_2024("ssa", _three(3, 50, joins_et=True), "brats2023", 374)
_PED_2024 = _lesions_2024("ped", _PAEDIATRIC, "brats2024-ped", 374)
_MET_2024 = _lesions_2024("met", _METASTASES, "brats2024-met", 374)
_MEN_RT_2024 = replace(
    _lesions_2024("men-rt", _RADIOTHERAPY, None, None), drops_by_volume=True, counts_false_positives=False
)
_MEN_2023 = _lesions_2023("men", _three(1, 50), verified=True)

_ROWS = (
    _ROW_2021,
    _lesions_2023("gli", _three(3, 50), verified=True),
    _lesions_2023("ssa", _three(3, 50), verified=False),
    _lesions_2023("ped", _three(3, 50), verified=False),
    _MEN_2023,
    _lesions_2023("met", _three(1, 2), verified=True),
    _GLI_2024,
    _SSA_2024,
    _PED_2024,
    _MET_2024,
    _MEN_RT_2024,
    _of_2025("gli", _GLI_2024),
    _of_2025("ssa", _SSA_2024),
    _of_2025("ped", _PED_2024),
    replace(_of_2025("met", _MET_2024), regions=_METASTASES_2025, penalty_mm=None, verified=True),
    _of_2025("men-rt", _MEN_RT_2024),
    replace(_of_2025("men", _MEN_2023), verified=True),
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

RULES: Mapping[str, Rule] = MappingProxyType({row.name: row for row in _ROWS})
