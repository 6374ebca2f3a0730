"""The recipes that come with htcnns: the one behind the shipped weights, and the paper's."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from htcnns.files.prepared_cases import CaseKind
from htcnns.training.augment import Augmentation
from htcnns.training.recipes import MemberRecipe, Recipe, Round

_CUBE = (96, 96, 96)
_FIRST = Round(steps=1)
_OTHER_SCANNERS = Augmentation(tumour_share=0.5, thick_share=0.25, contrast_share=0.75, bias_share=0.5)
_OTHER_HEADS = replace(
    _OTHER_SCANNERS,
    quench_share=0.35,
    transplant_share=0.15,
    pose_share=0.5,
    elastic_share=0.2,
    misregister_share=0.1,
    coarse_share=0.15,
    drop_share=0.05,
    slopes=(0.5, 1.8),
)
_SECOND = Round(steps=1, learning_rate=7.5e-4, patches=((0.0, _CUBE),), variety=_OTHER_SCANNERS)
_THIRD = Round(steps=1, learning_rate=6e-4, patches=((0.0, _CUBE),), variety=_OTHER_HEADS)


def _compact(name: str, title: str, steps: tuple[int, int, int]) -> MemberRecipe:
    """A compact member that sees more variety in every round."""
    rounds = tuple(replace(each, steps=n) for each, n in zip((_FIRST, _SECOND, _THIRD), steps, strict=True))
    return MemberRecipe(name=name, title=f"{title}, compact", network=name, size="compact", rounds=rounds)


_TITLES = {
    "unet": "nnU-Net's plain 3-D U-Net",
    "transbts": "TransBTS",
    "axial_unet": "DeepSCAN: axial-attention U-Net",
}

COMPACT = Recipe(
    name="compact",
    title="small networks that two CPU cores train in hours; what we ship",
    members=(
        _compact("unet", _TITLES["unet"], (1200, 600, 400)),
        _compact("transbts", _TITLES["transbts"], (1000, 500, 600)),
        _compact("axial_unet", _TITLES["axial_unet"], (1000, 500, 600)),
    ),
    echoes=3,
    mix=MappingProxyType({CaseKind.HEAD: 0.6, CaseKind.SYNTHETIC: 0.3, CaseKind.PIECE: 0.1}),
)

_FOR_ANY_SCANNER = replace(_OTHER_HEADS, quench_share=0.2, transplant_share=0.0)
SYNTHETIC = Recipe(
    name="synthetic",
    title="one small network from synthetic heads alone, for where no patient's images may be used",
    members=(
        MemberRecipe(
            name="unet",
            title=f"{_TITLES['unet']}, compact",
            network="unet",
            size="compact",
            rounds=(Round(steps=5000, patches=((0.0, (64, 64, 64)), (0.5, _CUBE)), variety=_FOR_ANY_SCANNER),),
        ),
    ),
    echoes=3,
    mix=MappingProxyType({CaseKind.SYNTHETIC: 1.0}),
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


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            COMPACT,
            SYNTHETIC,
            DEMO,
            _paper("paper-gli", "the paper's networks on adult glioma, from scratch", learning_rate=1e-4),
            _paper("paper-ssa", "the same, to be fine-tuned to BraTS-SSA from paper-gli's weights", learning_rate=2e-5),
            _paper("paper-ped", "the same, to be fine-tuned to BraTS-PED from paper-gli's weights", learning_rate=2e-5),
        )
    }
)
