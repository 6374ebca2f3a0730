"""Settings of synthetic heads."""

from dataclasses import dataclass, fields

from htcnns.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How heads, tumours, contrasts and scanners vary.

    Attributes:
        healthy_share: fraction of heads without any tumour.
        several_share: fraction of heads with tumours that have two or three instead of one.
        grown_share: fraction of tumours that are grown instead of taken from a label map.
        small_share: fraction of first tumours that are small lesions of one to four centimetres; further ones: 0.6.
        quenched_share: fraction of tumours without enhancement.
        dry_share: fraction of tumours without edema.
        faint_share: fraction of heads whose edema hardly differs from healthy tissue.
        cavity_share: fraction of heads with tumours that have a resection cavity; needs shapes of post-treatment cases.
        wider: factor on the deviations of the contrasts that were measured between patients.
        thick_share: fraction of sequences with slices of 2 to 6.5 mm.
        moved_share: fraction of sequences shifted against the others, mostly by less than two voxels.
        cropped_share: fraction of sequences whose field of view ends inside the head.
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
