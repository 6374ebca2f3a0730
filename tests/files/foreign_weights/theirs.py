"""Tiny networks with the names that other people's checkpoints have, and folders of weights as they write them.

Each is written here from the names and shapes of its tensors; axes are in the order that it was trained in.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAIN, RESIDUAL = (
    f"dynamic_network_architectures.architectures.unet.{n}UNet" for n in ("PlainConv", "ResidualEncoder")
)
REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}
LABELS = {"background": 0, "NCR": 1, "edema": 2, "enhancing tumour": 3}
CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
NORMS = {"instance": lambda c: nn.InstanceNorm3d(c, affine=True), "batch": nn.BatchNorm3d}
ITK_AXES = (0, 1, 4, 3, 2)  # nnU-Net sees (K, J, I)
MIRRORED = "inference_allowed_mirroring_axes"  # axes of (K, J, I), in a checkpoint


def randomised(network: nn.Module, seed: int = 1) -> nn.Module:
    """The network in evaluation mode with random numbers that float16 holds; statistics are those of random windows."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        scale = 1.0 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(2, 4, 16, 16, 16, generator=generator))
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return network.eval()


class V2Conv(nn.Module):
    """nnU-Net v2's convolution and normalisation, each under two names."""

    def __init__(
        self, n_in: int, n_out: int, stride: int, norm: str, *, kernel: int = 3, is_last: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, kernel, stride, kernel // 2, bias=kernel > 1)
        self.norm = NORMS[norm](n_out)
        self.all_modules = nn.Sequential(self.conv, self.norm, *([] if is_last else [nn.LeakyReLU()]))

    def forward(self, x: Tensor) -> Tensor:
        return self.all_modules(x)


class V2Stack(nn.Module):
    def __init__(self, widths: Sequence[int], stride: int, norm: str) -> None:
        super().__init__()
        pairs = pairwise(widths)
        self.convs = nn.Sequential(*(V2Conv(a, b, 1 if i else stride, norm) for i, (a, b) in enumerate(pairs)))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class V2Block(nn.Module):
    """A residual block; it has no `skip` where that would do nothing."""

    def __init__(self, n_in: int, n_out: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = V2Conv(n_in, n_out, stride, norm)
        self.conv2 = V2Conv(n_out, n_out, 1, norm, is_last=True)
        ops = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        ops += [V2Conv(n_in, n_out, 1, norm, kernel=1, is_last=True)] if n_in != n_out else []
        if ops:
            self.skip = nn.Sequential(*ops)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.skip(x) if hasattr(self, "skip") else x
        return F.leaky_relu(self.conv2(self.conv1(x)) + residual)


class V2Blocks(nn.Module):
    def __init__(self, n_in: int, n_out: int, n: int, stride: int, norm: str) -> None:
        super().__init__()
        first = V2Block(n_in, n_out, stride, norm)
        self.blocks = nn.Sequential(first, *(V2Block(n_out, n_out, 1, norm) for _ in range(n - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class V2Encoder(nn.Module):
    def __init__(self, channels: Sequence[int], norm: str, *, is_residual: bool) -> None:
        super().__init__()
        strides = [1, *[2] * (len(channels) - 1)]
        if is_residual:
            self.stem = V2Stack((4, channels[0]), 1, norm)
            pairs = zip((channels[0], *channels), channels, strides, strict=False)
            self.stages = nn.Sequential(*(V2Blocks(a, b, 2, s, norm) for a, b, s in pairs))
        else:
            pairs = zip((4, *channels), channels, strides, strict=False)
            self.stages = nn.Sequential(*(nn.Sequential(V2Stack((a, b, b), s, norm)) for a, b, s in pairs))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x) if hasattr(self, "stem") else x
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class V2Decoder(nn.Module):
    """It also holds the encoder, so that each of the encoder's tensors has up to four names."""

    def __init__(self, encoder: V2Encoder, channels: Sequence[int], norm: str, *, n_convs: int, n_out: int) -> None:
        super().__init__()
        self.encoder = encoder
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.stages = nn.ModuleList(V2Stack((2 * b, *[b] * n_convs), 1, norm) for _, b in ups)
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, 2) for a, b in ups)
        self.seg_layers = nn.ModuleList(nn.Conv3d(b, n_out, 1) for _, b in ups)

    def forward(self, skips: list[Tensor]) -> Tensor:
        x = skips[-1]
        for up, stage, skip in zip(self.transpconvs, self.stages, skips[-2::-1], strict=True):
            x = stage(torch.cat((up(x), skip), 1))
        return self.seg_layers[-1](x)


class V2UNet(nn.Module):
    """PlainConvUNet, or ResidualEncoderUNet with two blocks at each resolution, by its names."""

    def __init__(
        self, channels: Sequence[int] = (4, 8, 8), *, norm: str = "instance", n_out: int = 3, is_residual: bool = False
    ) -> None:
        super().__init__()
        self.encoder = V2Encoder(channels, norm, is_residual=is_residual)
        self.decoder = V2Decoder(self.encoder, channels, norm, n_convs=1 if is_residual else 2, n_out=n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class V1Conv(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int, norm: str, n_groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, 3, stride, 1)
        self.instnorm = nn.GroupNorm(n_groups, n_out) if norm == "group" else NORMS[norm](n_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.instnorm(self.conv(x)))


class V1Stack(nn.Module):
    def __init__(self, widths: Sequence[int], stride: int, norm: str) -> None:
        super().__init__()
        pairs = pairwise(widths)
        self.blocks = nn.Sequential(*(V1Conv(a, b, 1 if i else stride, norm, 32) for i, (a, b) in enumerate(pairs)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class V1UNet(nn.Module):
    """nnU-Net v1's Generic_UNet by its names; `scale` is KAIST's divisor of the widths on the way back up."""

    def __init__(self, channels: Sequence[int] = (4, 8, 8), *, norm: str = "batch", scale: int = 1) -> None:
        super().__init__()
        deep, last = channels[-1], len(channels) - 1
        contexts = [
            V1Stack((a, b, b), 2 if i else 1, norm)
            for i, (a, b) in enumerate(zip((4, *channels), channels[:-1], strict=False))
        ]
        bottom = nn.Sequential(V1Stack((channels[-2], deep), 2, norm), V1Stack((deep, deep), 1, norm))
        self.conv_blocks_context = nn.ModuleList([*contexts, bottom])
        self.conv_blocks_localization, self.tu, self.seg_outputs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        below = deep
        for width in channels[-2::-1]:
            self.tu.append(nn.ConvTranspose3d(below, width, 2, 2, bias=False))
            stacks = V1Stack((2 * width, width), 1, norm), V1Stack((width, width // scale), 1, norm)
            self.conv_blocks_localization.append(nn.Sequential(*stacks))
            below = width // scale
            self.seg_outputs.append(nn.Conv3d(below, 3, 1, bias=False))
        assert len(self.tu) == last

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        for up, stage, skip in zip(self.tu, self.conv_blocks_localization, skips[-2::-1], strict=True):
            x = stage(torch.cat((up(x), skip), 1))
        return self.seg_outputs[-1](x)


def write_v2_checkpoint(
    path: Path, weights: dict, *, trainer: str = "nnUNetTrainer", configuration: str = "3d_fullres", **more: object
) -> Path:
    """A checkpoint with the contents of nnU-Net v2's; `more` adds or replaces parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [0.5], "ema_fg_dice": [0.25]},
        "current_epoch": 1000,
        "init_args": {"configuration": configuration, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": trainer,
        MIRRORED: (0, 1, 2),
    }
    torch.save(content | more, path)
    return path


def plans(channels: Sequence[int] = (4, 8, 8), *, residual: bool = False, **changes: object) -> dict:
    """What nnU-Net v2 plans for such a network; `changes` go into the configuration."""
    n = len(channels)
    arguments = {
        "n_stages": n,
        "features_per_stage": list(channels),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * n,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (n - 1)],
        "n_blocks_per_stage" if residual else "n_conv_per_stage": [2] * n,
        "n_conv_per_stage_decoder": [1 if residual else 2] * (n - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32, 24, 16],
        "median_image_size_in_voxels": [140.0, 170.0, 136.0],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 4,
        "use_mask_for_norm": [True] * 4,
        "architecture": {
            "network_class_name": RESIDUAL if residual else PLAIN,
            "arch_kwargs": arguments | changes.pop("arguments", {}),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset777_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration | changes},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
    }


def dataset(labels: dict | None = None, channels: dict | None = None) -> dict:
    labels = labels or REGIONS
    order = {} if labels is LABELS else {"regions_class_order": [1, 2, 3]}
    return {"channel_names": channels or CHANNELS, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"} | order


def write_v2_folder(
    folder: Path, networks: Sequence[nn.Module], *, of: dict | None = None, labels: dict | None = None, **more: object
) -> Path:
    """plans.json, dataset.json and a fold for each network; `more` goes into the checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(of or plans()))
    (folder / "dataset.json").write_text(json.dumps(dataset(labels)))
    for number, network in enumerate(networks):
        write_v2_checkpoint(folder / f"fold_{number}" / "checkpoint_final.pth", network.state_dict(), **more)
    return folder


def itk_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of a network that was trained on (K, J, I) for (1, C, I, J, K), in the latter order."""
    with torch.no_grad():
        return network(x.permute(ITK_AXES)).permute(ITK_AXES)
