"""One member's probabilities made a label map: cut, nested, and rid of what is too small to be believed."""

from dataclasses import dataclass, field, fields

import cc3d
import numpy as np

from htcnns.errors import SettingsError
from htcnns.labels import REGIONS, Label, Region, compose, region_mask
from htcnns.volume import bounding_box, uncrop

_SMALLEST_THRESHOLD = 1e-6  # at 0 every voxel would be tumour


@dataclass(frozen=True)
class PostprocessRules:
    """When a voxel is tumour and when a piece of tumour is too small to be believed.

    Plain numbers and dicts keyed by region name, so `dataclasses.asdict` is the JSON object of the manifest and
    `from_json` reads it back. Sizes are voxels of the 1 mm grid, thus mm3 as well.

    Attributes:
        thresholds: a voxel at or above its region's threshold is in the region.
        min_component_voxels: smaller 26-connected components leave the region; 0 keeps all.
        et_component_voxels: an enhancing component of fewer voxels ...
        et_component_mean: ... and a mean probability below this becomes NCR.
        et_total_voxels: if all enhancing voxels that remain are fewer than this ...
        et_total_mean: ... with a mean probability below this, all of them become NCR.

    Raises:
        SettingsError: a region missing or unknown, a number outside its range.
    """

    thresholds: dict[str, float] = field(default_factory=lambda: {region.name: 0.5 for region in REGIONS})
    min_component_voxels: dict[str, int] = field(default_factory=lambda: {region.name: 0 for region in REGIONS})
    et_component_voxels: int = 16  # this and the next three as in the HT-CNNs paper
    et_component_mean: float = 0.9
    et_total_voxels: int = 73
    et_total_mean: float = 0.9

    def __post_init__(self) -> None:
        for name in ("thresholds", "min_component_voxels"):
            _require_each_region(name, getattr(self, name))
        for region, threshold in self.thresholds.items():
            _require_number(f"thresholds of {region}", threshold, _SMALLEST_THRESHOLD, 1.0)
        for region, n_voxels in self.min_component_voxels.items():
            _require_number(f"min_component_voxels of {region}", n_voxels, 0)
        for name in ("et_component_voxels", "et_total_voxels"):
            _require_number(name, getattr(self, name), 0)
        for name in ("et_component_mean", "et_total_mean"):
            _require_number(name, getattr(self, name), 0.0, 1.0)

    @classmethod
    def from_json(cls, settings: dict, *, where: str) -> "PostprocessRules":
        """The rules of a JSON object; fields that it leaves out have their defaults.

        Args:
            where: the file and member, for the message.

        Raises:
            SettingsError: an unknown field or an impossible value.
        """
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(settings) - set(known)):
            raise SettingsError(
                f"{where}: unknown fields {', '.join(unknown)}; known are {', '.join(known)}. Correct their names."
            )
        try:
            return cls(**settings)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Changes:
    """How many voxels the rules moved after the cut."""

    n_to_background: int
    n_to_ed: int
    n_to_ncr: int


def postprocess(probabilities: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    """The (I, J, K) uint8 label map of (3, I, J, K) float32 probabilities, regions in the order of REGIONS.

    After the cut, regions are nested by union: a TC voxel outside WT joins WT, an ET voxel outside TC joins both.
    Then, in this order: components below `min_component_voxels` go (WT to background, TC to ED, ET to NCR), each with
    what is nested in them; doubtful small ET components become NCR; what ET remains becomes NCR if doubtful as a whole.
    Nothing above a threshold gives an empty label map.
    """
    return postprocess_and_count(probabilities, rules)[0]


def postprocess_and_count(probabilities: np.ndarray, rules: PostprocessRules) -> tuple[np.ndarray, Changes]:
    """What `postprocess` gives, and what it changed."""
    wt, tc, et = (p >= rules.thresholds[region.name] for p, region in zip(probabilities, REGIONS, strict=True))
    box = bounding_box(wt | tc | et)
    if box is None:
        return np.zeros(wt.shape, np.uint8), Changes(0, 0, 0)
    before = compose(wt[box], tc[box], et[box])
    after = _without_small_components(before, rules)
    after = _without_doubtful_et(after, probabilities[REGIONS.index(Region.ET)][box], rules)
    return uncrop(after, box, wt.shape), _count_changes(before, after)


def agreeing(probabilities: np.ndarray, label_map: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    """Probabilities that say at a cut of 0.5 what the member's cleaned label map says, so that means respect both.

    Each region's threshold moves to 0.5, linearly on either side; where clean-up decided otherwise, the value stops
    short of the cut or rises to it.

    Args:
        probabilities: (3, I, J, K) float32 in the order of REGIONS.
        label_map: (I, J, K) uint8, what `postprocess` made of them by `rules`.

    Returns:
        (3, I, J, K) float32, 0 to 1.
    """
    moved = np.empty_like(probabilities)
    below = np.nextafter(np.float32(0.5), np.float32(0))
    for region, values, out in zip(REGIONS, probabilities, moved, strict=True):
        threshold = rules.thresholds[region.name]
        out[...] = np.interp(values, (0, threshold, 1), (0, 0.5, 1)) if threshold < 1 else values / 2
        inside = region_mask(label_map, region)
        out[inside] = np.maximum(out[inside], 0.5)
        out[~inside] = np.minimum(out[~inside], below)
    return moved


def _without_small_components(label_map: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    """The label map, a region's small components given to the region around it: WT first, then TC, then ET."""
    left_with = {Region.WT: Label.BACKGROUND, Region.TC: Label.ED, Region.ET: Label.NCR}
    for region, label in left_with.items():
        limit = rules.min_component_voxels[region.name]
        if limit > 1:
            component_map, n_voxels = _components(region_mask(label_map, region))
            label_map = np.where(_pick(component_map, n_voxels < limit), np.uint8(label), label_map)
    return label_map


def _without_doubtful_et(label_map: np.ndarray, probability: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    """The label map, its small enhancing components of low (I, J, K) float32 ET probability made NCR."""
    component_map, n_voxels = _components(region_mask(label_map, Region.ET))
    sums = np.bincount(component_map.ravel(), weights=probability.ravel())  # float64
    means = sums / np.maximum(n_voxels, 1)
    doubtful = (n_voxels < rules.et_component_voxels) & (means < _as_float32(rules.et_component_mean))
    kept = ~doubtful
    kept[0] = False
    n_kept = n_voxels[kept].sum()
    total_mean = sums[kept].sum() / max(n_kept, 1)
    if n_kept < rules.et_total_voxels and total_mean < _as_float32(rules.et_total_mean):
        doubtful[:] = True
    return np.where(_pick(component_map, doubtful), np.uint8(Label.NCR), label_map)


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 26-connected components of a mask, numbered from 1, and (1 + n_components,) their voxels."""
    component_map = cc3d.connected_components(mask, connectivity=26)
    return component_map, np.bincount(component_map.ravel())


def _pick(component_map: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The mask of the chosen components, (1 + n_components,) bool; never of what is no component."""
    return chosen[component_map] & (component_map > 0)


def _as_float32(limit: float) -> float:
    """The limit as probabilities know it: a mean of float32 0.9 must not count as below 0.9."""
    return float(np.float32(limit))


def _count_changes(before: np.ndarray, after: np.ndarray) -> Changes:
    """How many voxels of `after` have another label than in `before`, by their new label."""
    n_voxels = np.bincount(after[before != after], minlength=len(Label))
    return Changes(*(int(n_voxels[label]) for label in (Label.BACKGROUND, Label.ED, Label.NCR)))


def _require_each_region(name: str, values: object) -> None:
    expected = [region.name for region in REGIONS]
    if not isinstance(values, dict) or sorted(values) != sorted(expected):
        raise SettingsError(f"postprocess: {name} is {values!r}; expected one number each for {', '.join(expected)}.")


def _require_number(name: str, value: object, low: float, high: float = float("inf")) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        limits = f"from {low} to {high}" if high < float("inf") else f"of {low} or more"
        raise SettingsError(f"postprocess: {name} is {value!r}; expected a number {limits}. Correct it.")
