"""What can be chosen about synthetic heads; shares are of heads unless they say otherwise."""

from dataclasses import dataclass, fields

from htcnns.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How heads, tumours, contrasts and scanners vary.

    Attributes:
        healthy_share: without any tumour.
        several_share: with two or three tumours instead of one.
        grown_share: of tumours that are grown instead of taken from a label map.
        small_share: of tumours that are shrunk or grown to a lesion of one to two centimetres.
        quenched_share: of tumours of which nothing enhances.
        dry_share: of tumours without edema.
        faint_share: of tumours whose edema hardly differs from healthy tissue.
        cavity_share: with a resection cavity; needs shapes of post-treatment cases.
        wider: deviations of the contrasts, as a multiple of those measured between patients.
        thick_share: of sequences with slices of two to six millimetres.
        moved_share: of sequences that lie up to two voxels beside the others.
        cropped_share: of sequences whose field of view ends inside the head.
    """

    healthy_share: float = 0.04
    several_share: float = 0.2
    grown_share: float = 0.3
    small_share: float = 0.08
    quenched_share: float = 0.15
    dry_share: float = 0.05
    faint_share: float = 0.15
    cavity_share: float = 0.0
    wider: float = 1.5
    thick_share: float = 0.35
    moved_share: float = 0.25
    cropped_share: float = 0.04

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise SettingsError(
                    "not a share",
                    setting=field.name,
                    found=value,
                    expected="a number from 0 to 1",
                    remedy="Use for instance 0.25, which is one in four.",
                )
        if self.wider < 0:
            raise SettingsError(
                "negative", setting="wider", found=self.wider, expected="0 or more", remedy="Use for instance 1.5."
            )
