"""Transfer matches heads by region and first convolutions by sequence, and reports what happened to every tensor."""

from dataclasses import replace

import pytest
import torch

from htcnns.errors import SettingsError, WeightsError
from htcnns.labels import Label, Region, Sequence
from htcnns.networks import NETWORKS
from htcnns.training.transfer import Origin, Shapes, TransferSettings, learning_rates, transfer

T1N, T1C, T2W, T2F = Sequence
TINY = {
    "unet": {"channels": (4, 8, 8), "n_convs": (1, 1, 1)},
    "res_unet": {"channels": (4, 8, 8), "blocks": (1, 1, 1), "n_convs_up": (1, 1)},
    "transbts": {"channels": (4, 8, 8), "blocks": (0, 1, 1), "embedding": 8, "layers": 1, "heads": 2}
    | {"hidden": 16, "edge": 32, "norm": "instance", "dropout": 0.0},
    "axial_unet": {"channels": (4, 8, 8), "n_convs": (1, 1, 1), "hidden": (8,), "heads": (2,)}
    | {"edge": 32, "norm": "batch"},
    "vnet": {"channels": (4, 8, 8), "n_convs": (1, 1), "n_convs_up": (1, 1), "norm": "batch", "dropout": 0.0},
    "dmfnet": {"channels": (8, 16, 16), "groups": 4, "norm": "batch", "mie": True, "sie": True},
    "swin_unetr": {"channels": (8, 8, 8, 8, 8), "blocks": (1, 1, 1), "heads": (1, 2, 2), "attended": 2}
    | {"merging": "monai-1.5"},
    "segresnet": {"channels": (8, 8, 8), "blocks": (1, 1, 1), "blocks_up": (1, 1), "groups": 2, "dropout": 0.0},
}
FIRST = {
    "unet": "encoder.stages.0.0.convs.0.conv.weight",
    "res_unet": "encoder.stem.convs.0.conv.weight",
    "transbts": "stem.weight",
    "axial_unet": "encoder.stages.0.0.convs.0.conv.weight",
    "vnet": "stem.conv.weight",
    "dmfnet": "stem.weight",
    "swin_unetr": "stem.weight",
    "segresnet": "stem.0.weight",
}
HEAD = {
    "unet": "decoder.seg_layers.0.weight",
    "res_unet": "decoder.seg_layers.0.weight",
    "transbts": "head.weight",
    "axial_unet": "seg_layers.0.weight",
    "vnet": "head.0.weight",
    "dmfnet": "head.1.weight",
    "swin_unetr": "head.weight",
    "segresnet": "head.2.weight",
}


def shapes(network: str, **changes: object) -> Shapes:
    whole = Shapes(
        network=network,
        size=TINY[network],
        sequences=(T1N, T1C, T2W, T2F),
        outputs=(Region.WT, Region.TC, Region.ET),
    )
    return replace(whole, **changes)


def origin(of: Shapes) -> Origin:
    """Weights of a network of these shapes: random numbers from another seed."""
    torch.manual_seed(1)
    tensors = {name: torch.randn(tensor.shape) for name, tensor in of.build().state_dict().items()}
    return Origin(name="old/manifest.json: member", shapes=of, tensors=tensors, digest="0f")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_shapes_keep_everything(network: str) -> None:
    of = shapes(network)
    old, new = origin(of), of.build()
    report = transfer(new, of, old)
    assert report.kept == tuple(old.tensors)
    assert report.remapped == report.reset == ()
    for name, tensor in new.state_dict().items():
        torch.testing.assert_close(tensor, old.tensors[name].to(tensor.dtype), rtol=0, atol=0)
    assert report.lines() == [f"{len(old.tensors)} tensors kept"]


@pytest.mark.parametrize("network", NETWORKS)
def test_sequences_and_regions_in_another_order_are_reordered(network: str) -> None:
    old = origin(shapes(network))
    of = shapes(network, sequences=(T2F, T1C), outputs=(Region.ET, Region.WT))
    new = of.build()
    report = transfer(new, of, old)
    state = new.state_dict()
    torch.testing.assert_close(state[FIRST[network]], old.tensors[FIRST[network]][:, [3, 1]], rtol=0, atol=0)
    torch.testing.assert_close(state[HEAD[network]], old.tensors[HEAD[network]][[2, 0]], rtol=0, atol=0)
    assert {FIRST[network], HEAD[network]} <= set(report.remapped)
    assert report.reset == ()
    assert len(report.kept) + len(report.remapped) == len(state)
    assert report.lines()[1].startswith(f"{len(report.remapped)} put in another order: ")


@pytest.mark.parametrize("network", NETWORKS)
def test_what_the_old_weights_do_not_know_is_reinitialised(network: str) -> None:
    old = origin(shapes(network, sequences=(T1C, T2F)))
    of = shapes(network, outputs=(Region.WT, Region.RC, Region.ET))
    new = of.build()
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    report = transfer(new, of, old)
    first, head = new.state_dict()[FIRST[network]], new.state_dict()[HEAD[network]]
    torch.testing.assert_close(first[:, [1, 3]], old.tensors[FIRST[network]], rtol=0, atol=0)
    torch.testing.assert_close(first[:, [0, 2]], before[FIRST[network]][:, [0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(head[[0, 2]], old.tensors[HEAD[network]][[0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(head[1], before[HEAD[network]][1], rtol=0, atol=0)
    assert {FIRST[network], HEAD[network]} <= set(report.reset)
    assert report.lines()[-1].startswith(f"{len(report.reset)} reinitialised, in whole or in part: ")


def test_a_tensor_with_regions_on_both_axes_is_put_in_order_on_both() -> None:
    old = origin(shapes("vnet"))
    of = shapes("vnet", outputs=(Region.ET, Region.RC, Region.WT))
    new = of.build()
    before = new.state_dict()["head.3.weight"].clone()[..., 0, 0, 0]
    report = transfer(new, of, old)
    now, then = (tensors["head.3.weight"][..., 0, 0, 0] for tensors in (new.state_dict(), old.tensors))
    expected = torch.tensor(
        [
            [then[2, 2], before[0, 1], then[2, 0]],
            [before[1, 0], before[1, 1], before[1, 2]],
            [then[0, 2], before[2, 1], then[0, 0]],
        ]
    )
    torch.testing.assert_close(now, expected, rtol=0, atol=0)
    assert "head.3.weight" in report.reset


@pytest.mark.parametrize(
    ("outputs", "places"),
    [((Label.BACKGROUND, Label.ET, Label.NCR), [0, 3, 1]), ((Region.ET, Region.WT), [3])],
    ids=["labels", "regions"],
)
@pytest.mark.parametrize("network", NETWORKS)
def test_labels_go_to_the_same_label_or_to_an_equal_region(network: str, outputs: tuple, places: list[int]) -> None:
    old = origin(shapes(network, outputs=(Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)))
    of = shapes(network, outputs=outputs)
    new = of.build()
    transfer(new, of, old)
    now, then = new.state_dict()[HEAD[network]], old.tensors[HEAD[network]]
    torch.testing.assert_close(now[: len(places)], then[places], rtol=0, atol=0)


def test_several_channels_of_a_sequence_move_with_it() -> None:
    old = origin(shapes("dmfnet"))
    of = shapes("dmfnet", sequences=(T2F, T1C))
    new = of.build()
    report = transfer(new, of, old)
    now, then = (tensors["mie.join.0.weight"] for tensors in (new.state_dict(), old.tensors))
    torch.testing.assert_close(now, then[[3, 1]][:, [12, 13, 14, 15, 4, 5, 6, 7]], rtol=0, atol=0)
    assert "mie.join.0.weight" in report.remapped


def test_half_precision_weights_are_taken_as_float32() -> None:
    of = shapes("unet")
    old = origin(of)
    halved = replace(old, tensors={name: tensor.half() for name, tensor in old.tensors.items()})
    new = of.build()
    transfer(new, of, halved)
    assert {tensor.dtype for tensor in new.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            shapes("transbts"),
            shapes("unet"),
            "origin: old/manifest.json: member: the weights are for another network; found transbts, expected unet",
        ),
        (
            shapes("unet", size={"channels": (4, 8), "n_convs": (1, 1)}),
            shapes("unet"),
            r"the weights are for another size; found .*\[4, 8\].*, expected .*\[4, 8, 8\]",
        ),
        (
            shapes("unet", outputs=(Region.RC,)),
            shapes("unet"),
            "the weights have no output in common .*; found RC, expected at least one of WT, TC, ET",
        ),
        (
            shapes("unet", sequences=(T1N,)),
            shapes("unet", sequences=(T2F, T2W)),
            "the weights have no sequence in common .*; found t1n, expected at least one of t2f, t2w",
        ),
    ],
    ids=["network", "size", "region", "sequence"],
)
def test_weights_that_do_not_fit_are_refused_by_name(old: Shapes, new: Shapes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        transfer(new.build(), new, origin(old))


def test_a_size_with_lists_from_a_manifest_is_the_same_size() -> None:
    of = shapes("unet")
    listed = replace(of, size={"channels": [4, 8, 8], "n_convs": [1, 1, 1]})
    assert transfer(of.build(), of, replace(origin(of), shapes=listed)).reset == ()


@pytest.mark.parametrize("network", NETWORKS)
def test_rates_rise_from_the_first_stage_to_the_deepest(network: str) -> None:
    rates = learning_rates(shapes(network).build(), TransferSettings(early_rate=0.01))
    assert rates[FIRST[network]] == pytest.approx(0.01)
    assert sorted({round(rate, 6) for rate in rates.values()}) == [0.01, 0.1]
    assert HEAD[network] not in rates


@pytest.mark.parametrize("network", NETWORKS)
def test_frozen_stages_learn_nothing(network: str) -> None:
    rates = learning_rates(shapes(network).build(), TransferSettings(frozen_stages=2, early_rate=0.5))
    assert set(rates.values()) == {0.0}
    assert FIRST[network] in rates
    assert HEAD[network] not in rates


@pytest.mark.parametrize("network", NETWORKS)
def test_each_part_of_the_encoder_belongs_to_one_stage(network: str) -> None:
    built = shapes(network).build()
    parts = [part for stage in built.encoder_stages() for part in stage]
    found = [id(parameter) for part in parts for parameter in part.parameters()]
    assert 0 < len(found) == len(set(found)) < len(list(built.parameters()))


def test_mie_and_sie_are_frozen_with_their_stage() -> None:
    rates = learning_rates(shapes("dmfnet").build(), TransferSettings(frozen_stages=1))
    assert {name.split(".")[0] for name in rates} == {"mie", "stem", "enhancements"}
    assert {name.split(".")[1] for name in rates if name.startswith("enhancements")} == {"0"}


@pytest.mark.parametrize("network", NETWORKS)
def test_without_settings_everything_learns_at_the_same_rate(network: str) -> None:
    assert learning_rates(shapes(network).build(), TransferSettings()) == {}


def test_more_frozen_stages_than_there_are_are_refused() -> None:
    with pytest.raises(SettingsError, match="frozen_stages: impossible value; found 4, expected at most 3, the encod"):
        learning_rates(shapes("unet").build(), TransferSettings(frozen_stages=4))


@pytest.mark.parametrize("change", [{"frozen_stages": -1}, {"early_rate": 0.0}, {"early_rate": 1.5}], ids=str)
def test_impossible_settings_are_refused(change: dict) -> None:
    (setting,) = change
    with pytest.raises(SettingsError, match=f"{setting}: impossible value"):
        TransferSettings(**change)
