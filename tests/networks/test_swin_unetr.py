"""Swin UNETR: which corners it merges, that it equals MONAI's, and that only the first such network imports MONAI."""

import re
import subprocess
import sys
from functools import partial
from importlib.metadata import requires

import pytest
import torch
from monai.networks.nets import swin_unetr as monai
from parameters import n_macs, n_parameters, on_meta
from torch import Tensor

from htcnns.networks.swin_unetr import CORNERS, SIZES, Merging, SwinUNETR

LEGACY = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]  # MONAI 1.4
SINCE = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)]  # MONAI 1.5
NAMES = [  # of MONAI's weights and ours, where s is a number
    (r"^swinViT\.patch_embed\.proj\.", lambda _: "stem."),
    (r"^swinViT\.layers(\d)\.0\.blocks\.", lambda found: f"stages.{int(found[1]) - 1}.blocks."),
    (r"^swinViT\.layers(\d)\.0\.downsample\.", lambda found: f"stages.{int(found[1]) - 1}.merging."),
    (r"^encoder10\.", lambda _: "residuals.4."),
    (r"^encoder(\d)\.", lambda found: f"residuals.{int(found[1]) - 1}."),
    (r"^decoder(\d)\.", lambda found: f"ups.{5 - int(found[1])}."),
    (r"^out\.conv\.conv\.", lambda _: "head."),
]
each_merging = pytest.mark.parametrize(("merging", "corners"), [("monai-1.4", LEGACY), ("monai-1.5", SINCE)], ids=str)


def restated(module: Merging, x: Tensor, corners: list) -> Tensor:
    """The merging written out, corner by corner and cube by cube."""
    b, i, j, k, _ = x.shape
    result = torch.empty(b, i // 2, j // 2, k // 2, module.reduction.out_features)
    for p, q, r in torch.cartesian_prod(*(torch.arange(edge // 2) for edge in (i, j, k))).tolist():
        features = torch.cat([x[:, 2 * p + u, 2 * q + v, 2 * r + w] for u, v, w in corners], dim=1)
        centred = features - features.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        result[:, p, q, r] = (scaled * module.norm.weight + module.norm.bias) @ module.reduction.weight.T
    return result


def merging_of(corners: str, generator: torch.Generator) -> Merging:
    module = Merging(3, 6, CORNERS[corners])
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return module


class RestatedMerging(monai.PatchMerging):
    """MONAI's merging with these corners."""

    def __init__(self, corners: list, dim: int, **how: object) -> None:
        super().__init__(dim, **how)
        self.corners = corners

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in self.corners], dim=-1)))


def our_name(name: str) -> str:
    for pattern, name_of in NAMES:
        name = re.sub(pattern, name_of, name)
    return name


def permuted(x: Tensor, pattern: str) -> Tensor:
    """The two einops permutations that MONAI's class asks for."""
    return x.movedim(1, -1) if pattern.endswith("c") else x.movedim(-1, 1)


@each_merging
def test_merging_equals_the_restated_one(merging: str, corners: list, generator: torch.Generator) -> None:
    module = merging_of(merging, generator)
    x = torch.randn(2, 4, 6, 8, 3, generator=generator)
    torch.testing.assert_close(module(x), restated(module, x, corners), rtol=1e-5, atol=1e-5)


@each_merging
def test_exactly_the_listed_corners_count(merging: str, corners: list, generator: torch.Generator) -> None:
    module = merging_of(merging, generator)
    x = torch.randn(1, 2, 2, 2, 3, generator=generator, requires_grad=True)
    module(x).square().sum().backward()
    counting = {tuple(corner) for corner in x.grad[0].abs().sum(-1).nonzero().tolist()}
    assert counting == set(corners)


def test_merging_since_monai_1_5_equals_monais(generator: torch.Generator) -> None:
    ours, theirs = merging_of("monai-1.5", generator), monai.PatchMerging(3)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 4, 6, 8, 3, generator=generator)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_the_same_weights_mean_something_else_in_the_other_merging(generator: torch.Generator) -> None:
    old, new = (merging_of(merging, generator) for merging in CORNERS)
    new.load_state_dict(old.state_dict(), strict=True)
    x = torch.randn(1, 4, 4, 4, 3, generator=generator)
    assert not torch.allclose(old(x), new(x), rtol=0.1, atol=0.1)


@each_merging
def test_the_network_merges_as_its_size_says(merging: str, corners: list) -> None:
    with torch.device("meta"):
        network = SwinUNETR(**{**SIZES["compact"], "merging": merging})
    assert [stage.merging.corners for stage in network.stages] == [tuple(corners)] * 4


def test_the_published_weights_are_older_than_monai_1_5() -> None:
    assert [SIZES[size]["merging"] for size in ("published", "compact")] == ["monai-1.4", "monai-1.5"]


@pytest.mark.slow
@pytest.mark.parametrize("with_gradients", [True, False], ids=["training", "inference"])
@each_merging
def test_compact_size_with_monais_weights_equals_monai(
    with_gradients: bool, merging: str, corners: list, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monai, "rearrange", permuted)
    downsample = partial(RestatedMerging, corners)
    theirs = monai.SwinUNETR(in_channels=4, out_channels=3, feature_size=12, downsample=downsample).eval()
    ours = SwinUNETR(**{**SIZES["compact"], "merging": merging}).eval()
    tensors = {our_name(name): tensor for name, tensor in theirs.state_dict().items() if "position_index" not in name}
    ours.load_state_dict(tensors, strict=True)
    x = torch.randn(1, 4, 32, 32, 64, generator=generator)
    with torch.set_grad_enabled(with_gradients):
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("feature_size", "parameters", "macs"), [(12, 4_079_373, 56_496_455_328), (24, 15_705_621, 203_935_854_912)]
)
def test_smaller_feature_sizes_have_monais_parameters_and_macs(feature_size: int, parameters: int, macs: int) -> None:
    channels = tuple(feature_size * factor for factor in (1, 1, 2, 4, 8, 16))
    with torch.device("meta"):
        network = SwinUNETR(**{**SIZES["published"], "channels": channels})
    assert (n_parameters(network), n_macs(network)) == (parameters, macs)


def test_every_second_block_shifts_its_windows() -> None:
    shifts = [[block.shift_size for block in stage.blocks] for stage in on_meta("swin_unetr", "published").stages]
    assert shifts == [[(0, 0, 0), (3, 3, 3)]] * 4


def test_tables_of_distances_are_not_weights() -> None:
    network = on_meta("swin_unetr", "compact")
    assert len(list(network.buffers())) == 8
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("edge", [32, 48, 100], ids=str)
def test_windows_below_64_or_not_multiples_of_32_are_refused(edge: int) -> None:
    network = on_meta("swin_unetr", "published")
    with pytest.raises(Exception, match=r"^window: swin_unetr: .* multiples of 32, the largest edge at least 64"):
        network(torch.empty(1, 4, edge, edge, edge, device="meta"))


@pytest.mark.slow
def test_monai_is_not_imported_with_the_networks() -> None:
    code = "import sys, htcnns.networks; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_monai_comes_with_the_first_network_silently_and_without_torchvision() -> None:
    code = f"""import sys
from htcnns.networks import outline_network
outline_network("swin_unetr", {SIZES["compact"]}, (64, 64, 64), n_in=4, n_out=3)
print("monai" in sys.modules, "torchvision" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["True", "False"], "")


def test_monai_needs_only_packages_that_are_here_anyway() -> None:
    needed = {re.split(r"\W", need)[0] for need in requires("monai") or () if "extra" not in need}
    assert needed == {"torch", "numpy"}
