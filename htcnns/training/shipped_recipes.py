"""The recipes that come with htcnns: for synthetic heads, for a few patients, the paper's, and other published ones."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from htcnns.files.prepared_cases import CaseKind
from htcnns.labels import Sequence
from htcnns.training.augment import Augmentation
from htcnns.training.recipes import MemberRecipe, Recipe, Round

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


# Swin UNETR's research scripts for BraTS 2021 (MONAI), which the transfer to BraTS 2018 starts from: every patch lies
# anywhere in the brain, and the loss is Dice alone. There each sequence is z-scored within the patch, here within the
# brain, and all sequences of a patch change their scale and level alike.
SWIN = Recipe(
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
    batch=4,  # one on each of four GPUs
    weight_decay=1e-5,
    entropy_weight=0.0,
    clip_norm=0.0,
    average=0.0,
    checkpoint_steps=250,
)
SWIN_COMPACT = replace(
    SWIN,
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
                    patches=((0.0, (64, 64, 64)), (0.6, _CUBE)),
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

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            SYNTHETIC,
            COMPACT,
            DEMO,
            _paper("paper-gli", "the paper's networks on adult glioma, from scratch", learning_rate=1e-4),
            _paper("paper-ssa", "the same, to be fine-tuned to BraTS-SSA from paper-gli's weights", learning_rate=2e-5),
            _paper("paper-ped", "the same, to be fine-tuned to BraTS-PED from paper-gli's weights", learning_rate=2e-5),
            SWIN,
            SWIN_COMPACT,
        )
    }
)
