"""How patches are drawn and varied: the shares and sizes of everything that `samples.draw` may do to a patch."""

from dataclasses import dataclass, fields

from htcnns.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How patches are drawn and varied. Every share is a fraction of the patches; 0 turns that change off.

    Attributes:
        tumour_share: patches around a voxel of the tumour; the others lie anywhere in the brain.
        transplant_share: patches with another case's tumour pasted in, cut out at a random distance from its boundary
            (CarveMix).
        quench_share: patches in which nothing takes up contrast agent.
        pose_share: patches that are turned and zoomed.
        elastic_share: patches that are bent elastically.
        misregister_share: patches in which one or two sequences are shifted by up to two voxels.
        thick_share: patches with thick slices.
        coarse_share: patches in which some sequences have a lower resolution.
        contrast_share: patches with the contrast of another scanner.
        bias_share: patches with a different coil sensitivity in each sequence.
        gamma_share: patches whose contrast is changed mildly by a gamma curve.
        noise_share: patches with noise added.
        drop_share: patches that lose one or more sequences.
        flip_share: patches flipped along an axis, drawn independently for each axis.
        scale, shift: largest change of a sequence's scale, as a fraction, and of its level, in z-scores.
        slopes: smallest and largest slope of another scanner's contrast curve.
        largest_turn: largest rotation about each axis, in degrees.
        largest_zoom: largest zoom factor; the smallest is its inverse.
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
