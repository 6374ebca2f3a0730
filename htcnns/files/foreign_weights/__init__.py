"""Other people's checkpoints, translated to our networks: a module for each family, and the table of all kinds."""

from collections.abc import Mapping
from types import MappingProxyType

from htcnns.files.foreign_weights import dmfnet, nnunet_v1, nnunet_v2, segresnet, swin_unetr, transbts
from htcnns.files.foreign_weights.kind import Kind

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "nnunet-v2": nnunet_v2.KIND,
        "nnunet-v1": nnunet_v1.BRATS_2020,
        "kaist-bl": nnunet_v1.KAIST_BL,
        "kaist-bl-l-gn": nnunet_v1.KAIST_LARGE,
        "transbts": transbts.KIND,
        "swin-unetr-1.4": swin_unetr.UNTIL_1_4,
        "swin-unetr-1.5": swin_unetr.SINCE_1_5,
        "segresnet": segresnet.KIND,
        "dmfnet": dmfnet.KIND,
    }
)
