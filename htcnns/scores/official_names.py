"""The names under which the official code of each year writes the scores, so that tables can be compared."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from htcnns.scores.rules import Rule, Scheme

_LESIONS: Mapping[str, str] = MappingProxyType(
    {
        "Num_TP": "n_tp",
        "Num_FP": "n_fp",
        "Num_FN": "n_fn",
        "Sensitivity": "sensitivity",
        "Specificity": "specificity",
        "Legacy_Dice": "dice",
        "Legacy_HD95": "hd95_mm",
        "Legacy NSD @ 0.5": "nsd_0.5mm",
        "Legacy NSD @ 1.0": "nsd_1mm",
        "LesionWise_Score_Dice": "lesion_dice",
        "LesionWise_Score_HD95": "lesion_hd95_mm",
        "LesionWise_Score_NSD @ 0.5": "lesion_nsd_0.5mm",
        "LesionWise_Score_NSD @ 1.0": "lesion_nsd_1mm",
    }
)
_INSTANCES: Mapping[str, str] = MappingProxyType(
    {
        "n_ref_instances": "n_truth",
        "n_pred_instances": "n_prediction",
        "tp": "n_tp",
        "fp": "n_fp",
        "fn": "n_fn",
        "prec": "precision",
        "rec": "recall",
        "rq": "f1",
        "sq_dsc": "lesion_dice",
        "sq_dsc_std": "lesion_dice_sd",
        "pq_dsc": "panoptic_quality",
        "sq_hd95": "lesion_hd95_mm",
        "sq_hd95_std": "lesion_hd95_mm_sd",
        "sq_nsd": "lesion_nsd",
        "sq_nsd_std": "lesion_nsd_sd",
        "instance_voxel_count_ref": "found_voxels",
        "global_bin_volume_pred": "n_prediction_voxels",
        "global_bin_volume_ref": "n_truth_voxels",
        "global_bin_dsc": "dice",
        "global_bin_hd95": "hd95_mm",
        "global_bin_nsd": "nsd",
    }
)


def official_scores(scores: dict[str, float], rule: Rule) -> dict[str, float]:
    """A region's scores under the names and in the units of the official code of the rule's year.

    Scores that the official code lacks are left out; empty for rules without official code.
    """
    return _BY_SCHEME[rule.scheme](scores)


def _lesion_names(scores: dict[str, float]) -> dict[str, float]:
    named = {official: scores[ours] for official, ours in _LESIONS.items() if ours in scores}
    return {**named, "GT_Complete_Volume": scores["truth_of_spacing_mm3"]}


def _instance_names(scores: dict[str, float]) -> dict[str, float]:
    named = {official: scores[ours] for official, ours in _INSTANCES.items() if ours in scores}
    return {**named, "instance_volume_ref": scores["found_volume_ml"] * 1000}


_BY_SCHEME: Mapping[Scheme, Callable[[dict[str, float]], dict[str, float]]] = MappingProxyType(
    {
        Scheme.WHOLE: lambda _: {},
        Scheme.LESIONS: _lesion_names,
        Scheme.INSTANCES: _instance_names,
    }
)
