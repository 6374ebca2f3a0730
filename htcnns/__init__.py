"""htcnns: brain tumours segmented by three networks and STAPLE.

    htcnns.segment(t1n=…, t1c=…, t2w=…, t2f=…, output=…)    one case
    htcnns.segment_folder("in", "out")                      every case of a folder
    htcnns.RunSettings(…)                                   how either runs

All are imported on first use, so that `import htcnns.scores` needs no torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htcnns.doors.api import RunSettings, segment, segment_folder

__all__ = ["RunSettings", "segment", "segment_folder"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from htcnns.doors import api  # imports torch

        return getattr(api, name)
    raise AttributeError(f"module 'htcnns' has no attribute {name!r}")
