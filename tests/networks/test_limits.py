"""What a size from outside may ask for: the published ones and smaller, and nothing that would exhaust the memory."""

import pytest

from htcnns.errors import SettingsError
from htcnns.networks import NETWORKS, outline_network
from htcnns.networks.limits import MOST_PARAMETERS, require_edges

SIZES = [(name, size) for name, kind in NETWORKS.items() for size in kind.sizes]
TINY = {"channels": [4, 8], "n_convs": [1, 1]}
TRANSBTS = {"channels": [4, 8], "blocks": [0, 1], "embedding": 8, "layers": 1, "heads": 2} | {
    "hidden": 16,
    "edge": 32,
    "norm": "instance",
    "dropout": 0,
}
VNET = {"channels": [4, 8], "n_convs": [1], "n_convs_up": [1], "norm": "instance", "dropout": 0}
DMFNET = {"channels": [4, 8], "groups": 4, "norm": "instance", "mie": False, "sie": False}
SWIN = {"channels": [4, 4, 8], "blocks": [1], "heads": [2], "attended": 2, "merging": "monai-1.5"}
SEGRESNET = {"channels": [4, 8], "blocks": [1, 1], "blocks_up": [1], "groups": 4, "dropout": 0}


@pytest.mark.parametrize(("name", "size"), SIZES, ids=str)
def test_every_named_size_has_an_outline_that_takes_no_memory(name: str, size: str) -> None:
    network = outline_network(name, NETWORKS[name].sizes[size], (128, 128, 128), n_in=4, n_out=3)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    assert sum(parameter.numel() for parameter in network.parameters()) < MOST_PARAMETERS / 2


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("transbts", TRANSBTS | {"heads": 0}, "impossible heads; found 0, expected whole numbers from 1 to 64"),
        ("transbts", TRANSBTS | {"layers": 10**8}, "impossible layers; found 100000000, expected whole numbers from 0"),
        ("transbts", TRANSBTS | {"hidden": 10**30}, "impossible hidden; found 10+, expected"),
        ("transbts", TRANSBTS | {"edge": True}, "impossible edge; found True"),
        ("transbts", TRANSBTS | {"dropout": 2}, "transbts cannot be built at that size; found ValueError"),
        ("transbts", TRANSBTS | {"norm": "none"}, "transbts cannot be built at that size; found KeyError"),
        ("transbts", TRANSBTS | {"heads": 65}, "impossible heads; found 65, expected whole numbers from 1 to 64"),
        ("unet", TINY | {"n_convs": [10**8, 1]}, "impossible n_convs"),
        ("unet", TINY | {"n_convs": [0, 1]}, "impossible n_convs; found 0, expected whole numbers from 1 to 64"),
        ("unet", TINY | {"channels": [4, -8]}, "impossible channels; found -8"),
        ("unet", TINY | {"channels": [4, [8]]}, r"impossible channels; found \[8\]"),
        ("unet", TINY | {"channels": 4}, "impossible channels; found 4, expected at least two resolutions"),
        ("unet", TINY | {"channels": [4] * 9}, "impossible channels; found 9 values, expected at most 8"),
        ("unet", TINY | {"n_in": 3}, "unknown argument 'n_in'; expected one of channels, n_convs"),
        ("unet", {"channels": [4096] * 4, "n_convs": [64] * 4}, "unet is too large at that size; found .* million"),
        ("unet", {}, "unet cannot be built at that size; found TypeError"),
        ("vnet", VNET | {"n_convs_up": [0]}, "impossible n_convs_up; found 0, expected whole numbers from 1 to 64"),
        ("vnet", VNET | {"n_convs": [10**8]}, "impossible n_convs; found 100000000"),
        ("vnet", VNET | {"dropout": 2}, "vnet cannot be built at that size; found ValueError"),
        ("dmfnet", DMFNET | {"mie": 1}, "impossible mie; found 1, expected true or false"),
        ("dmfnet", DMFNET | {"sie": [True]}, r"impossible sie; found \[True\], expected true or false"),
        ("dmfnet", DMFNET | {"groups": True}, "impossible groups; found True, expected whole numbers from 1"),
        ("dmfnet", DMFNET | {"groups": 3}, "dmfnet cannot be built at that size; found ValueError"),
        ("dmfnet", DMFNET | {"channels": [2, 8]}, "dmfnet cannot be built at that size; found ValueError"),
        ("swin_unetr", SWIN | {"attended": 9}, "impossible attended; found 9, expected whole numbers from 1 to 8"),
        ("swin_unetr", SWIN | {"attended": [7]}, "swin_unetr cannot be built at that size; found TypeError"),
        ("swin_unetr", SWIN | {"merging": "merging"}, "swin_unetr cannot be built at that size; found KeyError"),
        ("swin_unetr", SWIN | {"merging": ["a"]}, "swin_unetr cannot be built at that size; found KeyError"),
        ("swin_unetr", SWIN | {"heads": 2}, "swin_unetr cannot be built at that size; found TypeError"),
        ("swin_unetr", SWIN | {"heads": [3]}, "swin_unetr cannot be built at that size; found ValueError"),
        ("swin_unetr", SWIN | {"channels": [4, 4], "blocks": [], "heads": []}, "swin_unetr cannot be built at that s"),
        ("segresnet", SEGRESNET | {"blocks_up": [65]}, "impossible blocks_up; found 65, expected whole numbers from 0"),
        ("segresnet", SEGRESNET | {"groups": 3}, "segresnet cannot be built at that size; found ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_sizes_are_refused_before_anything_is_allocated(name: str, size: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=f"{says}.*Correct the manifest|{says}.*Did you mean|{says}.*Choose one"):
        outline_network(name, size, (32, 32, 32), n_in=4, n_out=3)


def test_an_empty_table_of_positions_is_refused() -> None:
    with pytest.raises(SettingsError, match="transbts cannot be built at that size"):
        outline_network("transbts", TRANSBTS | {"edge": 1}, (32, 32, 32), n_in=4, n_out=3)


def test_a_window_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"window cannot be halved.*found 32 x 33 x 32"):
        outline_network("unet", TINY, (32, 33, 32), n_in=4, n_out=3)


def test_a_window_that_is_too_much_work_is_refused() -> None:
    with pytest.raises(SettingsError, match="impossible channels; found 2147 million values at full resolution, exp"):
        outline_network("unet", TINY | {"channels": [1024, 8]}, (128, 128, 128), n_in=4, n_out=3)
    with pytest.raises(
        SettingsError, match="impossible channels; found 262144 tokens in a window, expected at most 327"
    ):
        outline_network("transbts", TRANSBTS, (128, 128, 128), n_in=4, n_out=3)


@pytest.mark.parametrize(
    ("size", "n_pairs"),
    [
        (SWIN | {"channels": [4, 64, 8], "heads": [64], "attended": 7}, 6114),
        (SWIN | {"channels": [4, 4, 64, 8], "blocks": [1, 1], "heads": [1, 64], "attended": 8}, 1141),
    ],
    ids=["first layer", "second layer"],
)
def test_more_attention_than_fits_into_memory_is_refused(size: dict, n_pairs: int) -> None:
    says = f"impossible heads; found {n_pairs} million pairs of voxels in a window, expected at most 1074 million"
    with pytest.raises(SettingsError, match=says):
        outline_network("swin_unetr", size, (128, 128, 136), n_in=4, n_out=3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_size_accepts_the_papers_box(name: str) -> None:
    outline_network(name, NETWORKS[name].sizes["published"], (192, 224, 160), n_in=4, n_out=3)


@pytest.mark.parametrize("shape", [(8, 1024, 8), (2, 2, 2**21), (256, 256, 256)], ids=str)
def test_edges_too_large_for_any_run_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(
        SettingsError, match=r"^box is too large to fit in memory; found .*, expected edges of at most 512"
    ):
        require_edges(shape, what="box")


def test_the_papers_box_is_accepted() -> None:
    require_edges((192, 224, 160), what="box")
