"""Published recipes: those of the HT-CNNs paper, and those of other systems with compact versions."""

from dataclasses import replace
from types import MappingProxyType

from htcnns.files.prepared_cases import CaseKind
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, Sequence
from htcnns.networks.contract import Head
from htcnns.training.augment import Augmentation
from htcnns.training.own_recipes import ANY_SCANNER, CUBE, FEW_PATIENTS, TITLES
from htcnns.training.recipes import Addition, MemberRecipe, Recipe, Round
from htcnns.volume import Shape

# Box, loss, optimizer, epochs and augmentation are the paper's; learning rate, batch and clipping are ours.
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
            MemberRecipe(name=network, title=TITLES[network], network=network, size="published", rounds=(whole,))
            for network in TITLES
        ),
        optimizer="adam",
        weight_decay=0.0,
        average=0.0,
        window=_PAPER_BOX,
        mix=MappingProxyType({CaseKind.HEAD: 1.0}),
        checkpoint_steps=250,
    )


# Zhu 2024, doi 10.1016/j.patcog.2024.110553, as described in the paper: the published code cannot run the boundary
# loss. That loss's weight, the rotation, the mirroring and the 500 voxels of ET are from the code; overlapping regions,
# patch positions, cosine, half precision, plain Adam instead of AMSGrad and z-scores without clipping are ours.
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
_FEW_STEPS = Round(steps=1000, learning_rate=1e-3, patches=((0.0, (64, 64, 64)), (0.6, CUBE)), variety=FEW_PATIENTS)
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

# BraTS 2024, glioma after treatment: preprocessing, network, optimizer, learning rate, batch, epochs and loss as
# published, but the brain is cut out at the scans' background, as everywhere in htcnns, instead of at a fixed
# threshold. Warm-up, cosine, weight decay, gradient clipping and half precision are ours, and so are the augmentations,
# of which only the number is published.
_PUBLISHED_VIEW = (160, 160, 160)
_FIVE_FOLD = 5  # augmented versions of every case per published epoch
_PUBLISHED_ROUND = Round(
    epochs=_FIVE_FOLD * 300,
    learning_rate=1e-3,
    patches=((0.0, _PUBLISHED_VIEW),),
    variety=Augmentation(quench_share=0.0, pose_share=0.5, gamma_share=0.3, noise_share=0.2),
)
_SMALL_VIEW = (96, 128, 96)  # voxels of about 1.4 mm along each axis for an average brain
_SHORT_ROUND = Round(steps=1200, learning_rate=1e-3, patches=((0.0, _SMALL_VIEW),), variety=ANY_SCANNER)


_AS_CUT = PostprocessRules(et_component_voxels=0, et_total_voxels=0)  # nothing is cleaned up


def _post_treatment(name: str, title: str, *, size: str, batch: int, view: Shape, each: Round) -> Recipe:
    """V-Net on whole brains resized to `view`, with background, NETC, SNFH, ET and RC as exclusive labels."""
    member = MemberRecipe(name="vnet", title=f"V-Net, {size}", network="vnet", size=size, rounds=(each,))
    return Recipe(
        name=name,
        title=title,
        members=(member,),
        regions=REGION_SETS["wt-tc-et-rc"],
        head=Head.SOFTMAX,
        preprocessing=Preprocessing(largest_piece=True, resize=view, clip=(0.01, 0.99)),
        batch=batch,
        average=0.0,
        mix=MappingProxyType({CaseKind.HEAD: 1.0, CaseKind.SYNTHETIC: 1.0}),
        window=view,
        whole=view,
        rules=_AS_CUT,
    )


# Swin UNETR's research scripts for BraTS 2021 (MONAI), from which the transfer to BraTS 2018 starts: patches lie
# anywhere in the brain, and the loss is Dice alone. The scripts z-score each sequence within the patch and change scale
# and level of all its sequences alike; we z-score within the brain and change each sequence independently.
_SWIN = Recipe(
    name="swin-brats18",
    title="Swin UNETR as published for BraTS 2021, and for BraTS 2018 from the weights of that",
    members=(
        MemberRecipe(
            name="swin_unetr",
            title="Swin UNETR",
            network="swin_unetr",
            size="published",
            rounds=(
                Round(
                    epochs=300,
                    learning_rate=1e-4,
                    warmup=50,
                    patches=((0.0, (128, 128, 128)),),
                    variety=replace(_PAPER_VARIETY, tumour_share=0.0),
                ),
            ),
        ),
    ),
    sequences=(Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W),
    batch=4,  # one patch on each of four GPUs
    weight_decay=1e-5,
    entropy_weight=0.0,
    clip_norm=0.0,
    average=0.0,
    rules=_AS_CUT,
    checkpoint_steps=250,
)
_SWIN_COMPACT = replace(
    _SWIN,
    name="swin-brats18-compact",
    title="Swin UNETR of feature size 12, which two CPU cores train; loss and rates are ours",
    members=(
        MemberRecipe(
            name="swin_unetr",
            title="Swin UNETR, compact",
            network="swin_unetr",
            size="compact",
            rounds=(
                Round(
                    steps=1000,
                    learning_rate=5e-4,
                    warmup=100,
                    patches=((0.0, (64, 64, 64)), (0.6, CUBE)),
                    variety=_PAPER_VARIETY,
                ),
            ),
        ),
    ),
    batch=1,
    entropy_weight=4.0,  # Dice alone marks too much after few steps
    clip_norm=5.0,
    average=0.99,
    checkpoint_steps=50,
)

PUBLISHED = (
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
    _SWIN,
    _SWIN_COMPACT,
)
