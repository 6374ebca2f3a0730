"""Members whose answer is known: networks that look at one voxel at a time, with weights set by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from htcnns.files.member import Member
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA
from htcnns.networks.contract import Network
from htcnns.runs.ensemble import Ensemble

T1N, T1C, T2W, T2F = range(4)


class Pointwise(Network):
    """Logits (B, 3, I, J, K): `gain` times one sequence plus a bias for each of WT, TC, ET."""

    multiple = 1

    def __init__(self, looks_at: tuple[int, int, int], bias: tuple[float, float, float], gain: float = 4.0) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 3, 1)
        with torch.no_grad():
            self.conv.weight.zero_()
            for region, sequence in enumerate(looks_at):
                self.conv.weight[region, sequence] = gain
            self.conv.bias.copy_(torch.tensor(bias))

    def deep(self, x: Tensor) -> list[Tensor]:
        return [self.conv(x)]

    def blocks(self) -> list[nn.Module]:
        return [self.conv]

    def encoder_stages(self) -> list[list[nn.Module]]:
        return [[self.conv]]


@pytest.fixture
def pointwise() -> Callable[..., nn.Module]:
    """Makes a network: bright t2f is WT, bright t1c TC and brighter t1c ET, unless told otherwise."""

    def make(
        looks_at: tuple[int, int, int] = (T2F, T1C, T1C),
        bias: tuple[float, float, float] = (-4.0, -4.0, -6.0),
        gain: float = 4.0,
    ) -> nn.Module:
        return Pointwise(looks_at, bias, gain).eval()

    return make


@pytest.fixture
def ensemble_of() -> Callable[..., Ensemble]:
    """Makes an ensemble on the CPU in float32 of members called a, b, c …, each a list of networks (its folds)."""

    def make(*folds: list[nn.Module], **settings: object) -> Ensemble:
        rules = PostprocessRules(et_component_voxels=0, et_total_voxels=0)
        defaults = {"window": (32, 32, 32), "rules": rules, "regions": GLIOMA, "outputs": GLIOMA.regions}
        names = "abcdefgh"[: len(folds)]
        members = tuple(
            Member(name=name, title=name, network="none", size={}, files=(), **(defaults | settings)) for name in names
        )
        networks = dict(zip(names, folds, strict=True))
        return Ensemble(members=members, networks=networks, device=torch.device("cpu"), precision=torch.float32)

    return make


@pytest.fixture
def always(pointwise: Callable[..., nn.Module]) -> Callable[[float, float, float], nn.Module]:
    """Makes a network that returns these probabilities of WT, TC and ET in every voxel of every window."""

    def make(wt: float, tc: float, et: float) -> nn.Module:
        bias = torch.logit(torch.tensor((wt, tc, et))).tolist()
        return pointwise(bias=tuple(bias), gain=0.0)

    return make
