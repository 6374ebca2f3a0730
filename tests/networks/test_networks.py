"""What holds for every network: sizes, shapes, gradients, evaluation, loading, refusals."""

from collections.abc import Callable

import pytest
import torch
from cancelled_biases import cancelled_biases
from parameters import n_macs, n_parameters, on_meta

from htcnns.errors import SettingsError
from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Network

LARGEST_FILE_BYTES = 8 * 2**20
SMALLEST = {
    "unet": (16, 16, 32),
    "res_unet": (16, 16, 32),
    "transbts": (8, 8, 16),
    "axial_unet": (32, 32, 64),
    "vnet": (16, 16, 32),
    "dmfnet": (16, 16, 32),
    "swin_unetr": (32, 32, 64),
    "segresnet": (8, 8, 16),
}
TWO_TINY: dict[str, dict] = {
    "unet": {"channels": (4, 8), "n_convs": (1, 1)},
    "res_unet": {"channels": (4, 8), "blocks": (1, 2), "n_convs_up": (1,)},
    "transbts": {
        "channels": (4, 8),
        "blocks": (1, 1),
        "embedding": 8,
        "layers": 1,
        "heads": 2,
        "hidden": 16,
        "edge": 8,
        "norm": "instance",
        "dropout": 0.1,
    },
    "axial_unet": {
        "channels": (4, 8, 8),
        "n_convs": (1, 1, 1),
        "hidden": (8,),
        "heads": (2,),
        "edge": 8,
        "norm": "instance",
    },
    "vnet": {"channels": (4, 8), "n_convs": (1,), "n_convs_up": (1,), "norm": "instance", "dropout": 0.0},
    "dmfnet": {"channels": (8, 16, 16), "groups": 4, "norm": "instance", "mie": True, "sie": True},
    "swin_unetr": {
        "channels": (4, 4, 8, 8),
        "blocks": (2, 1),
        "heads": (2, 2),
        "attended": 3,
        "merging": "monai-1.5",
    },
    "segresnet": {"channels": (4, 8), "blocks": (1, 1), "blocks_up": (1,), "groups": 2, "dropout": 0.2},
}
NORMALISED_AFTER_A_SUM = {"transbts": {"stages.1.0.conv2.bias"}}  # the sum with the skip goes to `bottleneck.norm`
SMALLEST_GRADIENT = 1e-9  # in float64 those that are 0 come out below 1e-15, all others above 1e-6 (measured)
each_network = pytest.mark.parametrize("name", NETWORKS)


def tiny(name: str) -> Network:
    return build_network(name, TWO_TINY[name])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet", 31_198_991),
        ("res_unet", 102_353_167),
        ("transbts", 32_723_891),
        ("axial_unet", 50_561_760),
        ("vnet", 45_607_906),
        ("dmfnet", 3_875_858),
        ("swin_unetr", 62_191_941),
        ("segresnet", 4_702_227),
    ],
)
def test_published_size_has_this_many_parameters_with_three_outputs(name: str, expected: int) -> None:
    assert n_parameters(on_meta(name, "published")) == expected


@pytest.mark.parametrize(
    ("name", "n_out", "parameters", "macs"),
    [
        ("unet", 3, 31_198_991, 482_801_057_792),
        ("res_unet", 3, 102_353_167, 722_972_672_000),
        ("transbts", 3, 32_723_891, 325_377_327_104),
        ("axial_unet", 3, 50_561_760, 538_065_207_296),
        ("vnet", 5, 45_615_928, 769_321_336_832),
        ("dmfnet", 4, 3_875_890, 26_362_773_504),
        ("swin_unetr", 3, 62_191_941, 771_643_486_848),
        ("segresnet", 3, 4_702_227, 148_008_599_552),
    ],
)
def test_parameters_and_macs_with_published_output_count(name: str, n_out: int, parameters: int, macs: int) -> None:
    network = on_meta(name, "published", n_out=n_out)
    assert (n_parameters(network), n_macs(network)) == (parameters, macs)


@each_network
def test_compact_weights_fit_their_file_in_half_precision(name: str) -> None:
    n_values = sum(tensor.numel() for tensor in on_meta(name, "compact").state_dict().values())
    assert 2 * n_values < LARGEST_FILE_BYTES - 64 * 1024  # room for the names


@each_network
def test_compact_gives_a_logit_per_region_and_voxel(name: str, generator: torch.Generator) -> None:
    network = build_network(name, NETWORKS[name].sizes["compact"]).eval()
    x = torch.randn(1, 4, *SMALLEST[name], generator=generator)
    with torch.no_grad():
        logits = network(x)
    assert logits.shape == (1, 3, *SMALLEST[name])
    assert logits.isfinite().all()


@each_network
@pytest.mark.parametrize("size", ["published", "compact"])
def test_logits_of_the_papers_window_have_its_shape(name: str, size: str) -> None:
    logits = on_meta(name, size).eval()(torch.empty(1, 4, 128, 128, 128, device="meta"))
    assert logits.shape == (1, 3, 128, 128, 128)


@each_network
def test_full_resolution_comes_first_in_deep(name: str, generator: torch.Generator) -> None:
    network = tiny(name).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    torch.testing.assert_close(network.deep(x)[0], network(x))


@each_network
def test_each_head_has_half_the_edge_of_the_one_before(name: str) -> None:
    edges = [logits.shape[-1] for logits in on_meta(name, "compact").deep(torch.empty(1, 4, 64, 64, 64, device="meta"))]
    assert edges == [64 // 2**i for i in range(len(edges))]


@pytest.mark.slow
@each_network
@pytest.mark.parametrize("size", ["published", "compact"])
def test_every_parameter_is_used(name: str, size: str) -> None:
    network = on_meta(name, size).train()
    outputs = network.deep(torch.empty(2, 4, 64, 64, 64, device="meta"))
    torch.stack([logits.sum() for logits in outputs]).sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@each_network
def test_gradient_reaches_every_parameter_but_the_biases_that_a_normalisation_cancels(
    name: str, generator: torch.Generator
) -> None:
    network = tiny(name).double().train()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator, dtype=torch.float64)
    outputs = network.deep(x)
    torch.stack([logits.square().mean() for logits in outputs]).sum().backward()
    largest = {key: parameter.grad.abs().max().item() for key, parameter in network.named_parameters()}
    cancelled = cancelled_biases(network, x) | NORMALISED_AFTER_A_SUM.get(name, set())
    assert {key for key, gradient in largest.items() if not gradient > SMALLEST_GRADIENT} == cancelled & set(largest)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@each_network
def test_two_passes_in_evaluation_are_equal(name: str, generator: torch.Generator) -> None:
    network = tiny(name).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


@each_network
def test_cases_of_a_batch_do_not_affect_each_other_in_evaluation(name: str, generator: torch.Generator) -> None:
    network = tiny(name).eval()
    x = torch.randn(2, 4, 16, 16, 16, generator=generator)
    torch.testing.assert_close(network(x), torch.cat([network(x[:1]), network(x[1:])]), rtol=1e-4, atol=1e-4)


@each_network
def test_strict_loading_gives_the_same_network(name: str, generator: torch.Generator) -> None:
    network, other = tiny(name).eval(), tiny(name).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(network.state_dict(), strict=True)
    torch.testing.assert_close(other(x), network(x), rtol=0, atol=0)


@each_network
def test_channels_last_gives_the_same_logits(name: str, generator: torch.Generator) -> None:
    network = tiny(name).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    expected = network(x)
    moved = network.to(memory_format=torch.channels_last_3d)
    actual = moved(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@each_network
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])  # Swin UNETR's attention differs by mode
def test_half_precision_gives_nearly_the_same_logits(name: str, mode: Callable, generator: torch.Generator) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = tiny(name).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    expected = network(x)
    with mode(), torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
    assert logits.isfinite().all()
    # random weights amplify rounding from layer to layer, and DMFNet has 50 layers in a row
    assert (logits - expected).abs().mean() < 0.15 * expected.abs().mean()


@each_network
def test_half_precision_trains_every_parameter_of_a_batch_of_one(name: str, generator: torch.Generator) -> None:
    network = tiny(name).train()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network.deep(x)
    loss = torch.stack([logits.float().square().mean() for logits in outputs]).sum()
    loss.backward()
    assert loss.isfinite()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    assert [key for key, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []


@each_network
def test_a_window_that_does_not_halve_evenly_is_refused(name: str) -> None:
    network = on_meta(name, "compact")
    message = (
        f"^window: {name}: .* found 100 x 128 x 128 voxels, expected multiples of {network.multiple}, .* 96 x 128 x 128"
    )
    with pytest.raises(SettingsError, match=message):
        network(torch.empty(1, 4, 100, 128, 128, device="meta"))


@each_network
@pytest.mark.parametrize("edge", [0, 1, "multiple"], ids=str)
def test_a_window_that_leaves_fewer_than_two_voxels_is_refused(name: str, edge: int | str) -> None:
    network = on_meta(name, "compact")
    twice = 2 * network.multiple
    with pytest.raises(SettingsError, match=f"at least {twice}. Use for instance {twice} x {twice} x {twice}."):
        network(torch.empty(1, 4, *[{"multiple": network.multiple}.get(edge, edge)] * 3, device="meta"))


@each_network
def test_the_window_that_a_refusal_suggests_is_accepted(name: str) -> None:
    network = on_meta(name, "compact")
    twice = 2 * network.multiple
    assert network(torch.empty(1, 4, twice, twice, twice, device="meta")).shape[-1] == twice


@each_network
def test_lists_from_json_build_the_same_network(name: str) -> None:
    as_lists = {key: list(value) if isinstance(value, tuple) else value for key, value in TWO_TINY[name].items()}
    shapes = {key: tensor.shape for key, tensor in build_network(name, as_lists).state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in tiny(name).state_dict().items()}


@each_network
@pytest.mark.parametrize(("n_in", "n_out"), [(2, 3), (1, 4), (4, 5)], ids=str)
def test_sequences_and_channels_may_be_any_number(name: str, n_in: int, n_out: int, generator: torch.Generator) -> None:
    network = build_network(name, TWO_TINY[name], n_in=n_in, n_out=n_out).eval()
    outputs = network.deep(torch.randn(1, n_in, 16, 16, 16, generator=generator))
    assert {logits.shape[1] for logits in outputs} == {n_out}


@each_network
def test_every_network_keeps_to_the_contract(name: str) -> None:
    network = tiny(name)
    assert isinstance(network, Network)
    assert type(network).forward is Network.forward
    assert network.multiple >= 2


def test_networks_and_their_sizes_are_read_only() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        NETWORKS["mednext"] = NETWORKS["unet"]  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        NETWORKS["unet"].sizes["huge"] = {}  # type: ignore[index]


def test_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown network 'unett'; expected one of unet, .*segresnet\. Did you mean 'unet'"
    ):
        build_network("unett", {})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("unet", {"n_convs": (1,)}),
        ("unet", {"n_convs": (1, 1, 1)}),
        ("unet", {"norm": "layer"}),
        ("unet", {"halvings": (1, 1)}),
        ("unet", {"halvings": (0, 0, 0)}),
        ("unet", {"halvings": (2, 1, 1)}),
        ("unet", {"narrowing": 3}),
        ("res_unet", {"blocks": (1,)}),
        ("res_unet", {"blocks": (1, 0)}),
        ("res_unet", {"n_convs_up": (1, 1)}),
        ("transbts", {"norm": "layer"}),
        ("transbts", {"heads": 3}),
        ("transbts", {"blocks": (1,)}),
        ("axial_unet", {"heads": (3,)}),
        ("axial_unet", {"heads": (2, 2)}),
        ("axial_unet", {"norm": "layer"}),
        ("vnet", {"n_convs": (1, 1)}),
        ("vnet", {"n_convs_up": (1, 1)}),
        ("vnet", {"norm": "group"}),
        ("vnet", {"dropout": 2.0}),
        ("dmfnet", {"groups": 5}),
        ("dmfnet", {"norm": "group"}),
        ("dmfnet", {"channels": (2, 4, 4)}),
        ("swin_unetr", {"merging": "merging"}),
        ("swin_unetr", {"blocks": (1,)}),
        ("swin_unetr", {"heads": (2,)}),
        ("swin_unetr", {"heads": (2, 3)}),
        ("segresnet", {"blocks": (1,)}),
        ("segresnet", {"blocks_up": (1, 1)}),
        ("segresnet", {"groups": 3}),
    ],
    ids=str,
)
def test_an_impossible_size_lists_the_arguments_of_a_size(name: str, change: dict) -> None:
    wanted = ", ".join(NETWORKS[name].sizes["published"])
    with pytest.raises(
        SettingsError, match=f"^size: {name} cannot be built at that size; found .*, expected values for {wanted}"
    ):
        build_network(name, {**TWO_TINY[name], **change})
