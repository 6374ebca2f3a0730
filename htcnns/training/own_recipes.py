"""Our own recipes, for synthetic heads, for a few patients and for a demo, and their augmentations."""

from dataclasses import replace
from types import MappingProxyType

from htcnns.files.prepared_cases import CaseKind
from htcnns.training.augment import Augmentation
from htcnns.training.recipes import MemberRecipe, Recipe, Round

CUBE = (96, 96, 96)
_MOST_OF_A_BRAIN = (128, 160, 128)  # for the last steps, as inference windows are also larger than cubes
ANY_SCANNER = Augmentation(
    tumour_share=0.5,
    pose_share=0.5,
    elastic_share=0.2,
    misregister_share=0.1,
    thick_share=0.25,
    coarse_share=0.15,
    contrast_share=0.75,
    bias_share=0.5,
    drop_share=0.05,
    slopes=(0.5, 1.8),
)
# With few patients, tumours are also transplanted; most patches must still show plain patients, or too much is marked.
FEW_PATIENTS = replace(
    ANY_SCANNER,
    tumour_share=0.4,
    transplant_share=0.15,
    quench_share=0.12,
    contrast_share=0.4,
    gamma_share=0.2,
    drop_share=0.08,
)

TITLES = {
    "unet": "nnU-Net's plain 3-D U-Net",
    "transbts": "TransBTS",
    "axial_unet": "DeepSCAN: axial-attention U-Net",
}


def _compact(each: Round) -> tuple[MemberRecipe, ...]:
    """The three compact members, each trained for this round only."""
    return tuple(
        MemberRecipe(name=name, title=f"{title}, compact", network=name, size="compact", rounds=(each,))
        for name, title in TITLES.items()
    )


SYNTHETIC = Recipe(
    name="synthetic",
    title="small networks from synthetic heads alone: to start from, and for where no patient's images may be used",
    members=_compact(Round(steps=4000, patches=((0.0, (64, 64, 64)), (0.6, CUBE)), variety=ANY_SCANNER)),
    echoes=4,
    mix=MappingProxyType({CaseKind.SYNTHETIC: 1.0}),
)
COMPACT = Recipe(
    name="compact",
    title="small networks that two CPU cores fine-tune from `synthetic` to a few patients",
    members=_compact(
        Round(steps=1000, learning_rate=7.5e-4, patches=((0.0, CUBE), (0.9, _MOST_OF_A_BRAIN)), variety=FEW_PATIENTS)
    ),
    echoes=4,
    entropy_weight=4.0,
    empty_share=1e-3,
    mix=MappingProxyType({CaseKind.HEAD: 0.75, CaseKind.SYNTHETIC: 0.1, CaseKind.PIECE: 0.15}),
)

_PHANTOMS = Augmentation(tumour_share=0.3, quench_share=0.0, gamma_share=0.0)
DEMO = Recipe(
    name="demo",
    title="one tiny network that learns phantoms in half a minute, to see that training works here",
    members=(
        MemberRecipe(
            name="tiny",
            title="U-Net with axial attention, tiny",
            network="axial_unet",
            size={
                "channels": [8, 16, 32],
                "n_convs": [1, 1, 1],
                "hidden": [16],
                "heads": [2],
                "edge": 32,
                "norm": "batch",  # its running statistics also hold for whole heads
            },
            rounds=(Round(steps=100, learning_rate=1e-2, warmup=5, patches=((0.0, (32, 32, 32)),), variety=_PHANTOMS),),
        ),
    ),
    average=0.9,
    precision="fp32",
    window=(160, 192, 160),
)
