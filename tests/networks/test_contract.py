"""The contract of networks: windows that are accepted, and probabilities worked out by hand from logits."""

import math

import numpy as np
import pytest
import torch

from htcnns.errors import SettingsError
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import GLIOMA, REGION_SETS, Label, Region, RegionSet
from htcnns.networks.contract import Head, Network, outputs_of, region_probabilities, require_window

WITH_CAVITY, PAEDIATRIC = REGION_SETS["wt-tc-et-rc"], REGION_SETS["et-net-cc-ed"]


def test_a_network_without_its_methods_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"abstract methods '?blocks'?, '?deep"):
        Network()  # type: ignore[abstract]


@pytest.mark.parametrize("size", [(32, 16, 16), (16, 32, 48), (128, 128, 128)], ids=str)
def test_windows_of_multiples_with_more_than_one_voxel_at_the_bottom_are_accepted(size: tuple[int, int, int]) -> None:
    require_window(size, 16, network="unet")


@pytest.mark.parametrize(
    ("size", "instead"),
    [
        ((100, 128, 128), "96 x 128 x 128"),
        ((16, 16, 16), "32 x 32 x 32"),
        ((0, 16, 32), "16 x 16 x 32"),
        ((-16, 32, 32), "16 x 32 x 32"),
        ((5, 5, 5), "32 x 32 x 32"),
    ],
    ids=str,
)
def test_other_windows_are_refused_and_an_accepted_one_is_suggested(size: tuple[int, int, int], instead: str) -> None:
    with pytest.raises(
        SettingsError, match=f"multiples of 16, the largest edge at least 32. Use for instance {instead}"
    ):
        require_window(size, 16, network="unet")
    i, j, k = map(int, instead.split(" x "))
    require_window((i, j, k), 16, network="unet")


def test_each_axis_may_have_its_own_multiple() -> None:
    require_window((128, 160, 112), (32, 32, 16), network="unet")
    require_window((32, 32, 32), (32, 32, 16), network="unet")


@pytest.mark.parametrize(
    ("size", "instead"), [((128, 160, 120), "128 x 160 x 128"), ((32, 32, 16), "64 x 64 x 32")], ids=str
)
def test_a_window_that_does_not_fit_its_axes_is_refused(size: tuple[int, int, int], instead: str) -> None:
    with pytest.raises(
        SettingsError, match=f"multiples of 32 x 32 x 16 with at least one .* Use for instance {instead}"
    ):
        require_window(size, (32, 32, 16), network="unet")


def logits_of(*channels: list[float]) -> torch.Tensor:
    """(1, n_out, 1, 1, K) float32, one list per channel."""
    return torch.tensor(channels)[None, :, None, None, :]


def odds(*probabilities: float) -> list[float]:
    """The logits whose sigmoids are those probabilities."""
    return [math.log(p / (1 - p)) for p in probabilities]


def test_sigmoids_are_put_into_the_order_of_the_set() -> None:
    logits = logits_of(odds(0.1, 0.2), odds(0.7, 0.9), odds(0.4, 0.5))
    found = region_probabilities(logits, GLIOMA, Head.SIGMOID, (Region.ET, Region.WT, Region.TC))
    expected = torch.tensor([[0.7, 0.9], [0.4, 0.5], [0.1, 0.2]])[None, :, None, None, :]
    torch.testing.assert_close(found, expected)


def test_sigmoids_in_the_order_of_the_set_are_not_changed_by_a_bit() -> None:
    logits = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    found = region_probabilities(logits, GLIOMA, Head.SIGMOID, GLIOMA.regions)
    assert torch.equal(found, logits.sigmoid())


def test_exclusive_labels_are_summed_to_nested_regions_by_hand() -> None:
    # background, ET, NCR, ED: 0.1, 0.2, 0.3, 0.4
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()[None, :, None, None, None] + 5
    outputs = (Label.BACKGROUND, Label.ET, Label.NCR, Label.ED)
    found = region_probabilities(logits, GLIOMA, Head.SOFTMAX, outputs)
    assert found.shape == (1, 3, 1, 1, 1)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.9, 0.5, 0.2]))


def test_a_cavity_counts_for_itself_alone_by_hand() -> None:
    logits = torch.tensor([0.1, 0.3, 0.05, 0.15, 0.4]).log()[None, :, None, None, None]
    outputs = (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET, Label.RC)
    found = region_probabilities(logits, WITH_CAVITY, Head.SOFTMAX, outputs)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.5, 0.45, 0.15, 0.4]))


def test_paediatric_labels_are_regions_by_hand() -> None:
    logits = torch.tensor([0.1, 0.15, 0.2, 0.25, 0.3]).log()[None, :, None, None, None]
    outputs = (Label.BACKGROUND, Label.ET, Label.NCR, Label.CC, Label.ED)
    found = region_probabilities(logits, PAEDIATRIC, Head.SOFTMAX, outputs)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.3, 0.2, 0.25, 0.15]))  # ED, NET, CC, ET


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32], ids=str)
def test_probabilities_are_float32_from_0_to_1(regions: RegionSet, kind: torch.dtype) -> None:
    logits = 20 * torch.randn(2, 1 + len(regions.labels), 9, 8, 7, generator=torch.Generator().manual_seed(1))
    found = region_probabilities(logits.to(kind), regions, Head.SOFTMAX, (Label.BACKGROUND, *regions.labels))
    assert found.dtype == torch.float32
    assert found.shape == (2, len(regions.regions), 9, 8, 7)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_labels_of_a_softmax_come_back_from_their_regions(regions: RegionSet) -> None:
    outputs = outputs_of(regions, Head.SOFTMAX)
    assert outputs == (Label.BACKGROUND, *sorted(regions.labels))
    label_map = np.array(outputs, np.uint8)[np.random.default_rng(1).integers(len(outputs), size=(4, 5, 6))]
    logits = torch.from_numpy(np.stack([label_map == label for label in outputs]))[None] * 30.0
    probabilities = region_probabilities(logits, regions, Head.SOFTMAX, outputs)[0].numpy()
    keep_all = PostprocessRules(et_component_voxels=0, et_total_voxels=0)
    found, changes = postprocess(probabilities, regions, keep_all)
    np.testing.assert_array_equal(found, label_map)
    assert changes.n_voxels == 0


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_a_sigmoid_gives_the_regions_in_the_order_of_the_set(regions: RegionSet) -> None:
    assert outputs_of(regions, Head.SIGMOID) == regions.regions
