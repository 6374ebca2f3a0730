"""How patches are drawn and varied: the shares and sizes of everything that `samples.draw` may do to one."""

from dataclasses import dataclass, fields

from htcnns.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How patches are drawn and varied. Every share is a fraction of the patches; 0 leaves the thing out.

    Attributes:
        tumour_share: patches around a voxel of the tumour; the others lie anywhere in the brain.
        transplant_share: patches that get a second case's tumour, cut out along a random level (CarveMix).
        quench_share: patches in which nothing takes up contrast agent.
        pose_share: patches that are turned and zoomed.
        elastic_share: patches that are bent elastically.
        misregister_share: patches of which one or two sequences are moved by up to two voxels.
        thick_share: patches whose slices are made thick.
        coarse_share: patches of which some sequences are scanned at a lower resolution.
        contrast_share: patches that look as from another scanner.
        bias_share: patches with another coil sensitivity in each sequence.
        gamma_share: patches whose contrast is bent mildly.
        noise_share: patches with noise added.
        drop_share: patches that lose one or more sequences.
        flip_share: patches reversed along each axis, independently.
        scale, shift: largest change of a sequence's scale, as a fraction, and of its level, in z-scores.
        slopes: least and most that another scanner's contrast stretches a part of the range.
        largest_turn: degrees about each axis.
        largest_zoom: factor; its inverse is the smallest.
    """

    tumour_share: float = 0.7
    transplant_share: float = 0.0
    quench_share: float = 0.2
    pose_share: float = 0.0
    elastic_share: float = 0.0
    misregister_share: float = 0.0
    thick_share: float = 0.0
    coarse_share: float = 0.0
    contrast_share: float = 0.0
    bias_share: float = 0.0
    gamma_share: float = 0.3
    noise_share: float = 0.2
    drop_share: float = 0.0
    flip_share: float = 0.5
    scale: float = 0.1
    shift: float = 0.1
    slopes: tuple[float, float] = (0.6, 1.5)
    largest_turn: float = 15.0
    largest_zoom: float = 1.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise _impossible(field.name, value, "a fraction from 0 to 1")
        if not 0 < self.slopes[0] <= self.slopes[1]:
            raise _impossible("slopes", self.slopes, "two positive numbers, the smaller first")
        if self.largest_zoom < 1:
            raise _impossible("largest_zoom", self.largest_zoom, "a factor of at least 1")


def _impossible(setting: str, found: object, expected: str) -> SettingsError:
    return SettingsError(
        "impossible value", setting=setting, found=found, expected=expected, remedy="Correct the recipe."
    )
