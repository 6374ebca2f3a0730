"""nnU-Net v2's plans are read as networks of ours, and whatever we cannot build is refused by name."""

import json
from pathlib import Path

import pytest
import theirs

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.nnunet_plans import Plan, read_plan

OLD = {  # plans before version 2.3
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 8,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "num_pool_per_axis": [2, 2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
}


def read(tmp_path: Path, plans: dict, configuration: str = "3d_fullres") -> Plan:
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    return read_plan(tmp_path / "plans.json", configuration)


def with_arguments(**arguments: object) -> dict:
    return theirs.plans(arguments=arguments)


def test_a_plain_network_becomes_a_unet(tmp_path: Path) -> None:
    assert read(tmp_path, theirs.plans()) == Plan(
        network="unet",
        size={"channels": [4, 8, 8], "n_convs": [2, 2, 2]},
        window=(16, 24, 32),
        data_set="Dataset777_Tiny",
    )


def test_a_residual_network_becomes_a_res_unet(tmp_path: Path) -> None:
    arguments = {"n_blocks_per_stage": [1, 3, 4], "n_conv_per_stage_decoder": [1, 2]}
    plan = read(tmp_path, theirs.plans(residual=True, arguments=arguments))
    assert (plan.network, plan.size) == (
        "res_unet",
        {"channels": [4, 8, 8], "blocks": [1, 3, 4], "n_convs_up": [2, 1]},
    )


def test_one_number_for_all_stages_is_repeated(tmp_path: Path) -> None:
    numbers = {"features_per_stage": 4, "n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2, "kernel_sizes": 3}
    assert read(tmp_path, with_arguments(**numbers)).size == {"channels": [4, 4, 4], "n_convs": [2, 2, 2]}


def test_an_axis_that_is_halved_less_often_comes_in_our_order(tmp_path: Path) -> None:
    plan = read(tmp_path, with_arguments(strides=[[1, 1, 1], [2, 2, 2], [2, 2, 1]]))
    assert plan.size["halvings"] == [1, 2, 2]


def test_batch_normalisation_is_recognised(tmp_path: Path) -> None:
    plan = read(tmp_path, with_arguments(norm_op="torch.nn.modules.batchnorm.BatchNorm3d"))
    assert plan.size["norm"] == "batch"


def test_plans_before_version_2_3_are_read(tmp_path: Path) -> None:
    plans = theirs.plans(**OLD)
    del plans["configurations"]["3d_fullres"]["architecture"]
    assert read(tmp_path, plans) == read(tmp_path, theirs.plans())


def test_a_configuration_may_inherit_from_another(tmp_path: Path) -> None:
    plans = theirs.plans()
    plans["configurations"]["big"] = {"inherits_from": "3d_fullres", "patch_size": [32, 32, 32]}
    assert read(tmp_path, plans, "big").window == (32, 32, 32)


def test_a_configuration_may_inherit_from_none(tmp_path: Path) -> None:
    assert read(tmp_path, theirs.plans(inherits_from=None)) == read(tmp_path, theirs.plans())


def test_a_configuration_that_inherits_from_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"plans\.json: 3d_fullres: inherits_from is 3; expected a string\. Restore"):
        read(tmp_path, theirs.plans(inherits_from=3))


def test_a_configuration_that_inherits_from_itself_is_refused(tmp_path: Path) -> None:
    plans = theirs.plans()
    plans["configurations"]["a"] = {"inherits_from": "b"}
    plans["configurations"]["b"] = {"inherits_from": "a"}
    with pytest.raises(WeightsError, match=r"plans\.json: 'a' inherits from itself"):
        read(tmp_path, plans, "a")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"spacing": [1.0, 1.0, 5.0]}, r"found spacing \[1\.0, 1\.0, 5\.0\], expected 1 mm along every axis"),
        (
            {"normalization_schemes": ["ZScoreNormalization", "CTNormalization"]},
            r"found normalization_schemes .*'CTNormalization'\], expected ZScoreNormalization for every sequence",
        ),
        ({"use_mask_for_norm": [True, False]}, r"use_mask_for_norm \[True, False\], expected true for every sequence"),
        ({"preprocessor_name": "MyPreprocessor"}, "found preprocessor_name 'MyPreprocessor'"),
        ({"previous_stage": "3d_lowres"}, "found previous_stage '3d_lowres', expected none: no cascade"),
        ({"spacing": None}, "found spacing None"),
    ],
    ids=["spacing", "normalisation", "outside the brain", "preprocessor", "cascade", "none"],
)
def test_preprocessing_that_differs_from_ours_is_refused_by_name(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(WeightsError, match=f"3d_fullres: preprocessing that htcnns does not support; .*{says}"):
        read(tmp_path, theirs.plans(**changes))


@pytest.mark.parametrize(
    ("key", "value"),
    [("transpose_forward", [2, 0, 1]), ("image_reader_writer", "NibabelIOWithReorient")],
)
def test_axes_in_another_order_than_in_the_file_are_refused(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(WeightsError, match=f"preprocessing that htcnns does not support; found {key}"):
        read(tmp_path, theirs.plans() | {key: value})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"conv_op": "torch.nn.modules.conv.Conv2d"}, "conv_op 'torch.nn.modules.conv.Conv2d', expected three axes"),
        ({"kernel_sizes": [[1, 3, 3]] * 3}, r"kernel_sizes \[\[1, 3, 3\]"),
        ({"conv_bias": False}, "conv_bias False"),
        ({"norm_op": "torch.nn.GroupNorm"}, "norm_op is 'torch.nn.GroupNorm'"),
        ({"norm_op_kwargs": {"eps": 1e-3, "affine": True}}, "norm_op_kwargs"),
        ({"dropout_op": "torch.nn.Dropout3d"}, "dropout_op 'torch.nn.Dropout3d', expected none"),
        ({"nonlin": "torch.nn.ReLU"}, "nonlin 'torch.nn.ReLU', expected LeakyReLU"),
        ({"nonlin_kwargs": {"negative_slope": 0.2}}, "nonlin_kwargs"),
        ({"nonlin_first": True}, "nonlin_first True"),
        ({"squeeze_excitation": True}, "an unknown argument 'squeeze_excitation'"),
        ({"n_conv_per_stage": [2, 3, 2]}, r"convolutions \[2, 3, 2\] on the way down and \[2, 2\] on the way up"),
        ({"n_conv_per_stage": [2, 2]}, r"n_conv_per_stage \[2, 2\]"),
        ({"features_per_stage": ["a", 8, 8]}, r"features_per_stage \['a', 8, 8\]"),
        ({"strides": [[1, 1, 1], [2, 2, 1], [2, 2, 2]]}, r"strides \[\[1, 1, 1\], \[2, 2, 1\]"),
        ({"strides": [[1, 1, 1], [3, 3, 3], [2, 2, 2]]}, r"strides \[\[1, 1, 1\], \[3, 3, 3\]"),
        ({"strides": None}, "strides None"),
        ({"n_stages": 10**9}, "1000000000 resolutions"),
        ({"n_stages": True}, "n_stages is True; expected a whole number"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ", ".join(value),
)
def test_a_network_that_we_cannot_build_is_refused_by_name(tmp_path: Path, arguments: dict, says: str) -> None:
    with pytest.raises(WeightsError, match=f"3d_fullres: .*{says}"):
        read(tmp_path, with_arguments(**arguments))


@pytest.mark.parametrize("name", ["os.system", "dynamic_network_architectures.architectures.unet.ResidualUNet", ""])
def test_an_unknown_class_is_refused_and_not_imported(tmp_path: Path, name: str) -> None:
    plans = theirs.plans()
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = name
    with pytest.raises(
        WeightsError, match=f"a network that htcnns cannot build; found '{name}', expected PlainConvUNet or"
    ):
        read(tmp_path, plans)


@pytest.mark.parametrize("text", ["[]", "{", '{"configurations": 3}', '{"configurations": {"3d_fullres": []}}'])
def test_other_json_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "plans.json").write_text(text)
    with pytest.raises(WeightsError, match=r"plans\.json: .*\. (Restore|Give)"):
        read_plan(tmp_path / "plans.json", "3d_fullres")


@pytest.mark.parametrize("patch", [[128, 128], [128, 128, 0], [128, 128, 10**6], "x"], ids=str)
def test_a_patch_that_cannot_be_a_window_is_refused(tmp_path: Path, patch: object) -> None:
    with pytest.raises(WeightsError, match="patch_size"):
        read(tmp_path, theirs.plans(patch_size=patch))
