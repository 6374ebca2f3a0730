"""The recipes that come with htcnns: for synthetic heads, for a few patients, and those of papers."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from htcnns.files.prepared_cases import CaseKind
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS
from htcnns.networks.contract import Head
from htcnns.training.augment import Augmentation
from htcnns.training.recipes import Addition, MemberRecipe, Recipe, Round
from htcnns.volume import Shape

_CUBE = (96, 96, 96)
_MOST_OF_A_BRAIN = (128, 160, 128)  # for the last steps: windows of inference are larger than cubes, too
_ANY_SCANNER = Augmentation(
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
# Few patients need transplanted tumours; plain patients must still be most of what is seen, or too much gets marked.
_FEW_PATIENTS = replace(
    _ANY_SCANNER,
    tumour_share=0.4,
    transplant_share=0.15,
    quench_share=0.12,
    contrast_share=0.4,
    gamma_share=0.2,
    drop_share=0.08,
)

_TITLES = {
    "unet": "nnU-Net's plain 3-D U-Net",
    "transbts": "TransBTS",
    "axial_unet": "DeepSCAN: axial-attention U-Net",
}


def _compact(each: Round) -> tuple[MemberRecipe, ...]:
    """The three compact members, each with that round alone."""
    return tuple(
        MemberRecipe(name=name, title=f"{title}, compact", network=name, size="compact", rounds=(each,))
        for name, title in _TITLES.items()
    )


SYNTHETIC = Recipe(
    name="synthetic",
    title="small networks from synthetic heads alone: to start from, and for where no patient's images may be used",
    members=_compact(Round(steps=4000, patches=((0.0, (64, 64, 64)), (0.6, _CUBE)), variety=_ANY_SCANNER)),
    echoes=4,
    mix=MappingProxyType({CaseKind.SYNTHETIC: 1.0}),
)
COMPACT = Recipe(
    name="compact",
    title="small networks that two CPU cores fine-tune from `synthetic` to a few patients",
    members=_compact(
        Round(steps=1000, learning_rate=7.5e-4, patches=((0.0, _CUBE), (0.9, _MOST_OF_A_BRAIN)), variety=_FEW_PATIENTS)
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
                "norm": "batch",  # whose running statistics hold for whole heads, too
            },
            rounds=(Round(steps=100, learning_rate=1e-2, warmup=5, patches=((0.0, (32, 32, 32)),), variety=_PHANTOMS),),
        ),
    ),
    average=0.9,
    precision="fp32",
    window=(160, 192, 160),
)

# The paper's box, loss, optimizer, epochs and variety; learning rate, batch and clipping are ours.
_PAPER_BOX = (192, 224, 160)
_PAPER_VARIETY = Augmentation(quench_share=0.0, gamma_share=0.0, noise_share=0.0)  # flips, shift and scale


def _paper(name: str, title: str, *, learning_rate: float) -> Recipe:
    """The paper's three networks at their published size, 500 epochs."""
    whole = Round(
        epochs=500, learning_rate=learning_rate, warmup=0, patches=((0.0, _PAPER_BOX),), variety=_PAPER_VARIETY
    )
    return Recipe(
        name=name,
        title=title,
        members=tuple(
            MemberRecipe(name=network, title=_TITLES[network], network=network, size="published", rounds=(whole,))
            for network in _TITLES
        ),
        optimizer="adam",
        weight_decay=0.0,
        average=0.0,
        window=_PAPER_BOX,
        mix=MappingProxyType({CaseKind.HEAD: 1.0}),
        checkpoint_steps=250,
    )


# Zhu 2024, doi 10.1016/j.patcog.2024.110553, as the paper has it: its code cannot run its loss on boundaries. The
# weight of that loss, the turning, the mirroring and the 500 voxels of ET are the code's; that regions overlap, where
# patches lie, the cosine and half precision are ours.
_BOUNDARIES = Recipe(
    name="dmfnet-mie-sie-bsc",
    title="DMFNet with multi-modality spatial information and boundary correction, as published",
    members=(
        MemberRecipe(
            name="dmfnet",
            title="DMFNet with MIE, SIE and BSC",
            network="dmfnet",
            size={"channels": [32, 128, 256, 384], "groups": 16, "norm": "batch", "mie": True, "sie": True},
            rounds=(
                Round(
                    epochs=500,
                    learning_rate=1e-3,
                    warmup=0,
                    patches=((0.0, (128, 128, 128)),),
                    variety=Augmentation(
                        tumour_share=0.0,
                        quench_share=0.0,
                        gamma_share=0.0,
                        noise_share=0.0,
                        pose_share=1.0,
                        largest_turn=10.0,
                        largest_zoom=1.0,
                    ),
                ),
            ),
        ),
    ),
    batch=8,
    optimizer="adam",
    weight_decay=1e-5,
    dice_weight=0.0,
    generalised_dice_weight=1.0,
    entropy_weight=0.0,
    key_point_weight=0.1,
    clip_norm=0.0,
    average=0.0,
    mirror="ijk",
    rules=PostprocessRules(et_component_voxels=0, et_total_voxels=500, et_total_mean=1.0),
    additions=(
        Addition("MIE", arguments={"mie": False}),
        Addition("SIE", arguments={"sie": False}),
        Addition("BSC", settings={"key_point_weight": 0.0}),
    ),
    checkpoint_steps=250,
)
_FEW_STEPS = Round(steps=1000, learning_rate=1e-3, patches=((0.0, (64, 64, 64)), (0.6, _CUBE)), variety=_FEW_PATIENTS)
_SMALL_BOUNDARIES = replace(
    _BOUNDARIES,
    name="dmfnet-mie-sie-bsc-compact",
    title="DMFNet with the same additions at half the width, for two CPU cores and a few patients",
    members=(
        replace(
            _BOUNDARIES.members[0],
            title="DMFNet with MIE, SIE and BSC, compact",
            size={"channels": [16, 64, 128, 192], "groups": 8, "norm": "instance", "mie": True, "sie": True},
            rounds=(_FEW_STEPS,),
        ),
    ),
    batch=1,
    echoes=4,
    entropy_weight=1.0,
    empty_share=1e-3,
    clip_norm=5.0,
    average=0.99,
    mirror="",
    checkpoint_steps=50,
)

# BraTS 2024's glioma after treatment: preprocessing, network, optimizer, rate, batch, epochs and loss as published; the
# brain is cut out at the scans' background, as everywhere here, where a fixed threshold was published. Warm-up and
# cosine, weight decay and clipping of gradients are ours, and so is what varies, of which only the number is known.
_PUBLISHED_VIEW = (160, 160, 160)
_FIVE_FOLD = 5  # versions of every case in an epoch
_PUBLISHED_ROUND = Round(
    epochs=_FIVE_FOLD * 300,
    learning_rate=1e-3,
    patches=((0.0, _PUBLISHED_VIEW),),
    variety=Augmentation(quench_share=0.0, pose_share=0.5, gamma_share=0.3, noise_share=0.2),
)
_SMALL_VIEW = (96, 128, 96)  # about 1.4 mm along each axis of a mean brain
_SHORT_ROUND = Round(steps=1200, learning_rate=1e-3, patches=((0.0, _SMALL_VIEW),), variety=_ANY_SCANNER)


def _post_treatment(name: str, title: str, *, size: str, batch: int, view: Shape, each: Round) -> Recipe:
    """V-Net on whole brains of one size, background, NETC, SNFH, ET and RC excluding each other."""
    member = MemberRecipe(name="vnet", title=f"V-Net, {size}", network="vnet", size=size, rounds=(each,))
    return Recipe(
        name=name,
        title=title,
        members=(member,),
        regions=REGION_SETS["wt-tc-et-rc"],
        head=Head.SOFTMAX,
        preprocessing=Preprocessing(largest_piece=True, resize=view, clip=(0.01, 0.99)),
        batch=batch,
        mix=MappingProxyType({CaseKind.HEAD: 1.0, CaseKind.SYNTHETIC: 1.0}),
        window=view,
        whole=view,
    )


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            SYNTHETIC,
            COMPACT,
            DEMO,
            _BOUNDARIES,
            _SMALL_BOUNDARIES,
            _paper("paper-gli", "the paper's networks on adult glioma, from scratch", learning_rate=1e-4),
            _paper("paper-ssa", "the same, to be fine-tuned to BraTS-SSA from paper-gli's weights", learning_rate=2e-5),
            _paper("paper-ped", "the same, to be fine-tuned to BraTS-PED from paper-gli's weights", learning_rate=2e-5),
            _post_treatment(
                "vnet-gli2024",
                "V-Net on glioma after treatment, from scratch",
                size="published",
                batch=4,
                view=_PUBLISHED_VIEW,
                each=_PUBLISHED_ROUND,
            ),
            _post_treatment(
                "vnet-gli2024-compact",
                "a small V-Net on glioma after treatment, for two CPU cores",
                size="compact",
                batch=1,
                view=_SMALL_VIEW,
                each=_SHORT_ROUND,
            ),
        )
    }
)
