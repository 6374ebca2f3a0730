"""nnU-Net v2's plans.json: the network that it describes, as one of ours, if our code and preprocessing support it.

The names of classes in it are looked up in tables of ours; nothing that they name is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from htcnns.errors import WeightsError, shown
from htcnns.files.foreign_weights.fields import field, read_object
from htcnns.networks.blocks import strides_of
from htcnns.networks.limits import LARGEST_EDGE, MOST_RESOLUTIONS
from htcnns.volume import Shape

Requirement = tuple[str, Callable[[Any], bool], str]  # a key, whether its value is accepted, what is expected

_DNA = "dynamic_network_architectures.architectures"
_NETWORKS = MappingProxyType(
    {
        f"{_DNA}.unet.PlainConvUNet": "unet",
        f"{_DNA}.unet.ResidualEncoderUNet": "res_unet",
        f"{_DNA}.residual_unet.ResidualEncoderUNet": "res_unet",  # before version 0.3
    }
)
_ENCODERS = MappingProxyType({"unet": "n_conv_per_stage", "res_unet": "n_blocks_per_stage"})
_NORMS = MappingProxyType(
    {
        "torch.nn.modules.instancenorm.InstanceNorm3d": "instance",
        "torch.nn.InstanceNorm3d": "instance",
        "torch.nn.modules.batchnorm.BatchNorm3d": "batch",
        "torch.nn.BatchNorm3d": "batch",
    }
)
_SHAPES = {"n_stages", "features_per_stage", "strides", "n_conv_per_stage_decoder", "norm_op", *_ENCODERS.values()}
_FIRST_OF_CONVS = "n_conv_per_stage_encoder"  # as plans before version 2.3 call it
_SHOWN = 100  # letters of a name that are kept


def _is_in(*values: object) -> Callable[[Any], bool]:
    return lambda value: any(value == each and type(value) is type(each) for each in values)


def _is_each(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(test, value))


_OF_PLANS: tuple[Requirement, ...] = (
    ("transpose_forward", _is_in([0, 1, 2]), "[0, 1, 2]: axes in the order of the file"),
    ("image_reader_writer", _is_in("SimpleITKIO", "NibabelIO"), "SimpleITKIO or NibabelIO: scans as stored"),
)
_OF_CONFIGURATION: tuple[Requirement, ...] = (
    ("spacing", _is_each(lambda mm: type(mm) in (int, float) and abs(mm - 1) < 1e-3), "1 mm along every axis"),
    ("normalization_schemes", _is_each(_is_in("ZScoreNormalization")), "ZScoreNormalization for every sequence"),
    ("use_mask_for_norm", _is_each(_is_in(True)), "true for every sequence: z-scores inside the brain"),
    ("preprocessor_name", _is_in("DefaultPreprocessor"), "DefaultPreprocessor"),
    ("previous_stage", _is_in(None), "none: no cascade of networks"),
)
_NORMAL = MappingProxyType({"eps": 1e-5, "affine": True})
_OF_NETWORK: tuple[Requirement, ...] = (
    ("conv_op", _is_in("torch.nn.modules.conv.Conv3d", "torch.nn.Conv3d"), "three axes"),
    ("kernel_sizes", lambda value: _are_threes(value), "3 along every axis"),
    ("conv_bias", _is_in(True), "true"),
    ("norm_op_kwargs", lambda value: _is_within(value, _NORMAL), "eps 1e-5 and affine"),
    ("dropout_op", _is_in(None), "none"),
    ("dropout_op_kwargs", _is_in(None, {}), "none"),
    ("nonlin", _is_in("torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"), "LeakyReLU"),
    ("nonlin_kwargs", lambda value: _is_within(value, {"inplace": True, "negative_slope": 0.01}), "slope 0.01"),
    ("nonlin_first", _is_in(None, False), "false"),
    ("deep_supervision", _is_in(None, True, False), "true or false"),
    ("block", _is_in(None, "dynamic_network_architectures.building_blocks.residual.BasicBlockD"), "BasicBlockD"),
    ("bottleneck_channels", _is_in(None), "none"),
    ("stem_channels", _is_in(None), "as wide as the first stage"),
)


@dataclass(frozen=True)
class Plan:
    """The planned network as one of ours.

    Attributes:
        network, size, window: as in `Member`.
        data_set: nnU-Net's name for the data set.
    """

    network: str
    size: dict[str, Any]
    window: Shape
    data_set: str


def read_plan(path: Path, configuration: str, *, norm: str | None = None) -> Plan:
    """The network of a configuration.

    Args:
        path: plans.json.
        configuration: such as "3d_fullres".
        norm: normalisation that the trainer used instead of the planned one; None if it used the planned one.

    Raises:
        WeightsError: there is no such configuration, or its network or preprocessing is not supported.
    """
    plans = read_object(path)
    place = (path, configuration)
    chosen = _resolved(plans, configuration, path)
    for requirements, data in ((_OF_PLANS, plans), (_OF_CONFIGURATION, chosen)):
        _require(requirements, data, problem="preprocessing that htcnns does not support", place=place)
    name, arguments = _architecture(chosen, place)
    _require(_OF_NETWORK, arguments, problem="a network that htcnns cannot build", place=place)
    unknown = sorted(arguments.keys() - _SHAPES - {key for key, _, _ in _OF_NETWORK})
    if unknown:
        raise _other_network(f"an unknown argument {shown(unknown[0])}", place)
    size = _size(name, arguments, place)
    planned = norm or _NORMS.get(str(arguments.get("norm_op")))
    if planned is None:
        raise _other_network(f"norm_op is {shown(arguments.get('norm_op'))}", place)
    if planned != "instance":
        size["norm"] = planned
    return Plan(name, size, _window(chosen, place), str(plans.get("dataset_name", "not named"))[:_SHOWN])


def _resolved(plans: Mapping, configuration: str, path: Path) -> dict[str, Any]:
    """A configuration with the settings that it inherits from others."""
    known = field(plans, "configurations", dict, place=path)
    names: list[str] = []
    while configuration:
        if configuration not in known or configuration in names:
            raise WeightsError(
                f"{shown(configuration)} inherits from itself" if configuration in names else "no such configuration",
                place=path,
                found=shown(configuration),
                expected=f"one of {', '.join(sorted(map(str, known))[:8])}",
                remedy="Give the plans.json that belongs to the checkpoint.",
            )
        names.append(configuration)
        chosen = field(known, configuration, dict, place=path)
        inherits = chosen.get("inherits_from") is not None
        configuration = field(chosen, "inherits_from", str, place=(path, configuration)) if inherits else ""
    merged: dict[str, Any] = {}
    for name in reversed(names):
        merged |= known[name]
    return merged


def _require(requirements: tuple[Requirement, ...], data: Mapping, *, problem: str, place: tuple) -> None:
    """Raise WeightsError for the first value that is not accepted."""
    for key, will_do, expected in requirements:
        if not will_do(data.get(key)):
            raise WeightsError(
                problem,
                place=place,
                found=f"{key} {shown(data.get(key))}",
                expected=expected,
                remedy="Such weights cannot be used here.",
            )


def _architecture(chosen: Mapping, place: tuple) -> tuple[str, Mapping]:
    """Our name for the network, and the arguments of its class in nnU-Net."""
    if "architecture" not in chosen:
        return _old_architecture(chosen, place)
    architecture = field(chosen, "architecture", dict, place=place)
    name = field(architecture, "network_class_name", str, place=place)
    if name not in _NETWORKS:
        raise _other_network(shown(name), place)
    return _NETWORKS[name], field(architecture, "arch_kwargs", dict, place=place)


def _old_architecture(chosen: Mapping, place: tuple) -> tuple[str, Mapping]:
    """As `_architecture`, from plans before version 2.3, which have no arguments of the class, only a few settings."""
    name = field(chosen, "UNet_class_name", str, place=place)
    full = f"{_DNA}.unet.{name}"
    if full not in _NETWORKS:
        raise _other_network(shown(name), place)
    n_stages = len(field(chosen, _FIRST_OF_CONVS, list, place=place))
    first, most = (field(chosen, key, int, place=place) for key in ("UNet_base_num_features", "unet_max_num_features"))
    return _NETWORKS[full], {
        "n_stages": n_stages,
        "features_per_stage": [min(first * 2**s, most) for s in range(min(n_stages, MOST_RESOLUTIONS + 1))],
        "conv_op": "torch.nn.Conv3d",
        "kernel_sizes": chosen.get("conv_kernel_sizes"),
        "strides": chosen.get("pool_op_kernel_sizes"),
        _ENCODERS[_NETWORKS[full]]: chosen[_FIRST_OF_CONVS],
        "n_conv_per_stage_decoder": chosen.get("n_conv_per_stage_decoder"),
        "conv_bias": True,
        "norm_op": "torch.nn.InstanceNorm3d",
        "norm_op_kwargs": dict(_NORMAL),
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _size(network: str, arguments: Mapping, place: tuple) -> dict[str, Any]:
    """The arguments of our class."""
    n_stages = field(arguments, "n_stages", int, place=place)
    if not 2 <= n_stages <= MOST_RESOLUTIONS:
        raise _other_network(f"{n_stages} resolutions", place)
    channels = _whole_numbers(arguments, "features_per_stage", length=n_stages, place=place)
    down = _whole_numbers(arguments, _ENCODERS[network], length=n_stages, place=place)
    up = _whole_numbers(arguments, "n_conv_per_stage_decoder", length=n_stages - 1, place=place)[::-1]  # deepest first
    if network == "unet" and up != down[:-1]:
        raise _other_network(
            f"convolutions {down} on the way down and {up} on the way up, full resolution first", place
        )
    size = {"channels": channels}
    size |= {"n_convs": down} if network == "unet" else {"blocks": down, "n_convs_up": up}
    halvings = _halvings(arguments, n_stages, place)
    return size if set(halvings) == {n_stages - 1} else size | {"halvings": halvings}


def _halvings(arguments: Mapping, n_stages: int, place: tuple) -> list[int]:
    """How often each of our axes is halved; their axes are in reverse order."""
    given = arguments.get("strides")
    strides = [_axes(each) for each in given] if isinstance(given, list) else []
    k, j, i = (sum(stride[axis] == 2 for stride in strides) for axis in range(3))
    try:
        expected = [(1, 1, 1), *strides_of((k, j, i), n_stages)]
    except ValueError:
        expected = []
    if strides != expected or not strides:
        raise _other_network(f"strides {shown(given)}", place)
    return [i, j, k]


def _window(chosen: Mapping, place: tuple) -> Shape:
    """The patch size as our window; its axes are in reverse order."""
    patch = field(chosen, "patch_size", list, place=place)
    if len(patch) != 3 or not all(type(edge) is int and 0 < edge <= LARGEST_EDGE for edge in patch):
        raise _other_network(f"patch_size {shown(patch)}", place)
    return patch[2], patch[1], patch[0]


def _whole_numbers(arguments: Mapping, key: str, *, length: int, place: tuple) -> list[int]:
    """A whole number for each stage; a single number is repeated."""
    value = arguments.get(key)
    values = [value] * length if type(value) is int else value
    if not isinstance(values, list) or len(values) != length or not all(type(each) is int for each in values):
        raise _other_network(f"{key} {shown(value)}", place)
    return values


def _axes(value: object) -> tuple:
    """A stride or kernel along each axis; a single value is repeated."""
    return tuple(value) if isinstance(value, list) and len(value) == 3 else (value, value, value)


def _are_threes(value: object) -> bool:
    """Whether every kernel has an edge of 3 along each axis."""
    return value == 3 or (isinstance(value, list) and all(_axes(each) == (3, 3, 3) for each in value))


def _is_within(value: object, known: Mapping) -> bool:
    """Whether the value is a dict with only known arguments and values, some of which may be left out."""
    return isinstance(value, dict) and all(key in known and known[key] == each for key, each in value.items())


def _other_network(found: str, place: tuple) -> WeightsError:
    return WeightsError(
        "a network that htcnns cannot build",
        place=place,
        found=found,
        expected="PlainConvUNet or ResidualEncoderUNet over three axes, each halved without gaps from the start",
        remedy="Such weights cannot be used here.",
    )
