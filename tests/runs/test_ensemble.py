"""Members applied to a prepared case; the answer is known, as their networks look at one voxel at a time."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from torch import Tensor, nn

from htcnns.errors import DeviceError, SettingsError, WeightsError
from htcnns.files.manifest import read_manifest
from htcnns.files.member import WeightsFile
from htcnns.image.member_input import Preprocessing, shown_to_member
from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import Prepared, PreprocessSettings, preprocess
from htcnns.labels import GLIOMA, REGION_SETS, SEQUENCES, Label
from htcnns.networks.contract import Head
from htcnns.networks.contract import Network as NetworkContract
from htcnns.runs import ensemble as ensemble_module
from htcnns.runs.ensemble import (
    Ensemble,
    Stopped,
    Stopwatch,
    load_ensemble,
    member_probabilities,
    mirrored,
    n_windows,
    start_ensemble,
    window_voxels,
)
from htcnns.runs.settings import RunSettings

CPU = torch.device("cpu")
Make = Callable[..., Ensemble]


class Constant(NetworkContract):
    """The same logits in every voxel."""

    multiple = 1

    def __init__(self, logits: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits)[None, :, None, None, None])

    def deep(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.logits + torch.zeros_like(x[:, :1])]

    def blocks(self) -> list[nn.Module]:
        return []

    def encoder_stages(self) -> list[list[nn.Module]]:
        return []


Network = Callable[..., nn.Module]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """A phantom whose brain takes 2 x 2 x 2 windows of 32 voxels."""
    phantom = make_phantom((40, 40, 40), seed=2)
    return preprocess(phantom.sequences, phantom.affine, PreprocessSettings((32, 32, 32)))


def _say(ensemble: Ensemble, prepared: Prepared, **settings: object) -> np.ndarray:
    """The first member's probabilities."""
    return member_probabilities(
        ensemble,
        ensemble.members[0],
        prepared,
        settings=RunSettings(**settings),
        stopwatch=Stopwatch(),
        on_window=lambda: None,
    )


def test_a_pointwise_network_returns_its_sigmoid_in_every_voxel(
    prepared: Prepared, ensemble_of: Make, pointwise: Network
) -> None:
    said = _say(ensemble_of([pointwise((3, 1, 0), (1.0, 2.0, 3.0), 0.5)]), prepared)
    expected = 1 / (1 + np.exp(-(0.5 * prepared.array[[3, 1, 0]] + np.array([1, 2, 3])[:, None, None, None])))
    assert said.dtype == np.float32
    np.testing.assert_allclose(said, expected, atol=1e-6)


def test_folds_are_averaged_as_probabilities(prepared: Prepared, ensemble_of: Make, always: Network) -> None:
    said = _say(ensemble_of([always(0.9, 0.8, 0.2), always(0.5, 0.2, 0.2)]), prepared)
    np.testing.assert_allclose(said[:, 16, 16, 16], [0.7, 0.5, 0.2], atol=1e-6)


def test_the_manifests_order_of_sequences_and_regions_is_kept(
    prepared: Prepared, ensemble_of: Make, pointwise: Network
) -> None:
    """A network that takes t2f first and returns ET first, and is described so, agrees with one in our order."""
    ours = ensemble_of([pointwise((3, 1, 0), (1.0, 2.0, 3.0))])
    turned = ensemble_of(
        [pointwise((3, 2, 0), (3.0, 2.0, 1.0))], sequences=SEQUENCES[::-1], outputs=GLIOMA.regions[::-1]
    )
    np.testing.assert_array_equal(_say(turned, prepared), _say(ours, prepared))
    undescribed = ensemble_of([pointwise((3, 2, 0), (3.0, 2.0, 1.0))])
    assert not np.array_equal(_say(undescribed, prepared), _say(ours, prepared))


@pytest.mark.parametrize(
    "settings",
    [{"overlap": 0.0}, {"mirror": "ijk"}, {"batch": 3}],
    ids=["no overlap", "mirrored", "three at a time"],
)
def test_a_pointwise_network_does_not_depend_on_the_windows(
    prepared: Prepared, ensemble_of: Make, pointwise: Network, settings: dict
) -> None:
    ensemble = ensemble_of([pointwise()])
    np.testing.assert_allclose(_say(ensemble, prepared, **settings), _say(ensemble, prepared), atol=1e-6)


class OneSided(NetworkContract):
    """Logits that are the first three sequences, shifted by one voxel along the first axis."""

    multiple = 1

    def deep(self, x: Tensor) -> list[Tensor]:
        return [x[:, :3].roll(1, 2)]

    def blocks(self) -> list[nn.Module]:
        return []

    def encoder_stages(self) -> list[list[nn.Module]]:
        return []


@pytest.mark.parametrize(
    ("of_member", "of_run", "expected"), [("ik", None, "ik"), ("ik", "", ""), ("", "j", "j"), ("", None, "")]
)
def test_a_member_is_mirrored_as_its_manifest_says_unless_the_run_says_otherwise(
    ensemble_of: Make, always: Network, of_member: str, of_run: str | None, expected: str
) -> None:
    (member,) = ensemble_of([always(0.5, 0.5, 0.5)], mirror=of_member).members
    assert mirrored(member, RunSettings(mirror=of_run)) == expected


def test_mirroring_has_the_same_effect_from_manifest_and_run(prepared: Prepared, ensemble_of: Make) -> None:
    one_sided = OneSided()
    plain, member_s, run_s = (
        _say(ensemble_of([one_sided], mirror=of_member), prepared, overlap=0.0, **settings)
        for of_member, settings in (("", {}), ("i", {}), ("", {"mirror": "i"}))
    )
    np.testing.assert_array_equal(member_s, run_s)
    assert not np.allclose(member_s, plain)


@pytest.mark.parametrize("batch", [1, 3])
def test_windows_are_counted_the_same_before_and_after(
    prepared: Prepared, ensemble_of: Make, always: Network, batch: int
) -> None:
    ensemble = ensemble_of([always(0.5, 0.5, 0.5), always(0.5, 0.5, 0.5)], [always(0.5, 0.5, 0.5)])
    stopwatch, calls = Stopwatch(), []
    settings = RunSettings(batch=batch)
    for member in ensemble.members:
        member_probabilities(
            ensemble, member, prepared, settings=settings, stopwatch=stopwatch, on_window=lambda: calls.append(1)
        )
    assert stopwatch.n_windows == n_windows(ensemble, prepared, overlap=0.6) == 3 * 8
    assert stopwatch.forward_s > 0
    assert len(calls) == 3 * math.ceil(8 / batch)


@pytest.mark.parametrize(
    ("whole", "multiple", "overlap", "expected"),
    [
        (None, 8, None, (32, 8)),
        ((48, 48, 48), 16, None, (48, 1)),
        ((64, 48, 64), 8, None, (40, 1)),
        ((40, 32, 40), 8, None, (32, 8)),
        ((48, 48, 48), 64, None, (32, 8)),
        ((48, 48, 48), 16, 0.6, (32, 8)),
        ((48, 48, 48), 16, 0.0, (32, 8)),
    ],
    ids=["none", "a multiple above", "just so", "too small", "its multiple is too large", "overlap", "no overlap"],
)
def test_a_brain_that_the_manifest_allows_whole_is_seen_at_once(
    prepared: Prepared,
    ensemble_of: Make,
    always: Network,
    whole: tuple | None,
    multiple: int,
    overlap: float | None,
    expected: tuple[int, int],
) -> None:
    network, seen = always(0.9, 0.8, 0.2), []
    network.multiple = multiple
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    ensemble = ensemble_of([network], whole=whole)
    said = _say(ensemble, prepared, overlap=overlap)
    edge, number = expected
    assert seen == [(edge, edge, edge)] * number
    assert n_windows(ensemble, prepared, overlap=overlap) == number
    assert window_voxels(ensemble, prepared, overlap=overlap) == ((number, edge**3),)
    assert said.shape[1:] == prepared.brain.shape == (34, 36, 35)
    np.testing.assert_allclose(said[:, 17, 17, 17], [0.9, 0.8, 0.2], atol=1e-6)


def test_a_request_to_stop_is_heard_between_windows(prepared: Prepared, ensemble_of: Make, always: Network) -> None:
    ensemble, stopwatch = ensemble_of([always(0.5, 0.5, 0.5)]), Stopwatch()

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        member_probabilities(
            ensemble, ensemble.members[0], prepared, settings=RunSettings(), stopwatch=stopwatch, on_window=stop
        )
    assert stopwatch.n_windows == 1


def test_values_that_are_not_finite_are_refused_not_thresholded(
    prepared: Prepared, ensemble_of: Make, pointwise: Network
) -> None:
    with pytest.raises(
        WeightsError, match=r"a: returned values that are not finite, in fp32 on cpu; .*weights are unusable"
    ):
        _say(ensemble_of([pointwise(bias=(0.0, math.nan, 0.0))]), prepared)


def test_a_full_device_is_reported_with_what_to_do(prepared: Prepared, ensemble_of: Make) -> None:
    class Greedy(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    with pytest.raises(DeviceError, match=r"a: cpu ran out of memory on windows of 32 x 32 x 32.*20 GiB.*batch 1"):
        _say(ensemble_of([Greedy()]), prepared)


def test_a_softmax_head_returns_the_share_of_each_regions_labels(prepared: Prepared, ensemble_of: Make) -> None:
    """Logits of background, ED and ET that stand for the shares 1/6, 2/6 and 3/6; the share of NCR is negligible."""
    labels = (Label.BACKGROUND, Label.ED, Label.ET, Label.NCR)
    network = Constant((math.log(1), math.log(2), math.log(3), -30.0))
    said = _say(ensemble_of([network], head=Head.SOFTMAX, outputs=labels), prepared)
    np.testing.assert_allclose(said[:, 16, 16, 16], [5 / 6, 3 / 6, 3 / 6], atol=1e-6)


def test_a_member_sees_a_resized_brain_and_answers_on_the_prepared_one(
    prepared: Prepared, ensemble_of: Make, pointwise: Network
) -> None:
    network, seen = pointwise((3, 1, 0), (0.0, 0.0, 0.0), 1.0), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    how = Preprocessing(resize=(48, 32, 40), clip=(0.01, 0.99))
    ensemble = ensemble_of([network], window=(48, 32, 40), preprocessing=how)
    said = _say(ensemble, prepared)
    (x,) = seen
    assert x.shape[2:] == (48, 32, 40)
    np.testing.assert_array_equal(x[0].numpy(), shown_to_member(prepared, how).array)
    assert n_windows(ensemble, prepared, overlap=None) == 1
    assert said.shape == (3, *prepared.brain.shape)
    plain = _say(ensemble_of([network]), prepared)
    inner = binary_erosion(prepared.brain, iterations=2)
    assert np.corrcoef(said[:, inner].ravel(), plain[:, inner].ravel())[0, 1] > 0.95


def test_windows_slide_over_a_resized_brain(prepared: Prepared, ensemble_of: Make, always: Network) -> None:
    how = Preprocessing(resize=(48, 32, 40))
    ensemble, stopwatch = ensemble_of([always(0.9, 0.8, 0.2)], preprocessing=how), Stopwatch()
    said = member_probabilities(
        ensemble,
        ensemble.members[0],
        prepared,
        settings=RunSettings(overlap=0.5),
        stopwatch=stopwatch,
        on_window=lambda: None,
    )
    assert stopwatch.n_windows == n_windows(ensemble, prepared, overlap=0.5) == 2 * 1 * 2
    np.testing.assert_allclose(said[:, 17, 17, 17], [0.9, 0.8, 0.2], atol=1e-6)


def test_members_with_different_regions_are_refused(tiny_weights: Path) -> None:
    first, second, _ = read_manifest(tiny_weights)
    regions = REGION_SETS["wt-tc-et-rc"]
    other = replace(second, regions=regions, outputs=regions.regions)
    with pytest.raises(SettingsError, match=r"^members: members with different regions.*transbts with wt-tc-et-rc"):
        load_ensemble((first, other), device=CPU, precision=torch.float32)


def test_the_largest_window_and_box_satisfy_every_member(ensemble_of: Make) -> None:
    a, b = ensemble_of([], []).members
    members = (replace(a, window=(32, 64, 16)), replace(b, window=(48, 32, 16), box=(40, 80, 40)))
    settings = replace(ensemble_of(), members=members).preprocess_settings
    assert settings == PreprocessSettings((48, 64, 16), (40, 80, 40))


def test_a_member_that_resizes_the_brain_needs_no_room_around_it(ensemble_of: Make) -> None:
    a, b = ensemble_of([], []).members
    b = replace(b, window=(160, 160, 160), box=(200, 200, 200), preprocessing=Preprocessing(resize=(160, 160, 160)))
    assert replace(ensemble_of(), members=(a, b)).preprocess_settings == PreprocessSettings((32, 32, 32))
    assert replace(ensemble_of(), members=(b,)).preprocess_settings == PreprocessSettings((1, 1, 1))


def test_members_are_loaded_ready_to_infer(tiny_weights: Path) -> None:
    ensemble = load_ensemble(read_manifest(tiny_weights), device=CPU, precision=torch.float32)
    assert [member.name for member in ensemble.members] == ["unet", "transbts", "axial_unet"]
    assert {network.training for networks in ensemble.networks.values() for network in networks} == {False}


def test_a_window_that_a_network_cannot_take_is_refused_when_loading(tiny_weights: Path, tmp_path: Path) -> None:
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    manifest = json.loads((weights / "manifest.json").read_text())
    manifest["members"][1]["window"] = [32, 33, 32]
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=r"transbts: .*32 x 33 x 32.*multiple.* of 2.*Correct the manifest"):
        load_ensemble(read_manifest(weights), device=CPU, precision=torch.float32)


def test_more_members_than_can_be_fused_are_refused_when_loading(tiny_weights: Path) -> None:
    with pytest.raises(SettingsError, match=r"^members: .* cannot be fused; found 9, expected 1 to 8"):
        load_ensemble(read_manifest(tiny_weights) * 3, device=CPU, precision=torch.float32)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda entries: entries[1].update(region_set="wt-tc-et-rc", regions=["WT", "TC", "ET", "RC"]),
            "members with different regions cannot be fused; found unet with wt-tc-et, transbts with wt-tc-et-rc",
        ),
        (
            lambda entries: entries.extend({**entries[0], "name": f"unet {n}"} for n in range(6)),
            "this number of members cannot be fused; found (9|10), expected 1 to 8",
        ),
    ],
    ids=["mixed regions", "too many"],
)
def test_a_manifest_whose_members_cannot_be_fused_is_at_fault_unless_somebody_chose_them(
    tiny_weights: Path, tmp_path: Path, change: Callable[[list[dict]], None], says: str
) -> None:
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    manifest = json.loads((weights / "manifest.json").read_text())
    change(manifest["members"])
    manifest["members"].append({**manifest["members"][0], "name": "the last"})
    (weights / "manifest.json").write_text(json.dumps(manifest))
    members = read_manifest(weights)
    with pytest.raises(WeightsError, match=rf"manifest\.json: members: {says}.*Name the members to fuse, or restore"):
        load_ensemble(members, device=CPU, precision=torch.float32)
    with pytest.raises(SettingsError, match=rf"^members: {says}"):
        load_ensemble(members[:-1], device=CPU, precision=torch.float32)


@pytest.fixture
def broken_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is seen and refuses every network."""
    load = ensemble_module.load_ensemble

    def refuse(members: tuple, *, device: torch.device, precision: torch.dtype) -> Ensemble:
        if device.type == "cuda":
            raise DeviceError("cannot be used (no kernel image)", place=device, remedy="Use device cpu.")
        return load(members, device=device, precision=precision)

    monkeypatch.setattr(ensemble_module, "choose_device", lambda name: torch.device(name.replace("auto", "cuda:0")))
    monkeypatch.setattr(ensemble_module, "load_ensemble", refuse)


@pytest.mark.usefixtures("broken_gpu")
def test_auto_reports_that_an_unusable_gpu_gave_way_to_the_cpu(tiny_weights: Path) -> None:
    ensemble = start_ensemble(read_manifest(tiny_weights), device="auto", precision="auto")
    assert ensemble.device == CPU
    assert ensemble.precision in (torch.float32, torch.bfloat16)
    assert ensemble.note.startswith("on the CPU instead: cuda:0: cannot be used (no kernel image)")


@pytest.mark.usefixtures("broken_gpu")
def test_a_gpu_asked_for_by_name_does_not_give_way(tiny_weights: Path) -> None:
    with pytest.raises(DeviceError, match="cuda:0: cannot be used"):
        start_ensemble(read_manifest(tiny_weights), device="cuda:0", precision="auto")


def test_an_ensemble_on_the_requested_device_has_no_note(tiny_weights: Path) -> None:
    assert start_ensemble(read_manifest(tiny_weights), device="cpu", precision="fp32").note == ""


def test_half_precision_returns_nearly_the_same(prepared: Prepared, tiny_weights: Path) -> None:
    members = read_manifest(tiny_weights)[:1]
    exact = _say(load_ensemble(members, device=CPU, precision=torch.float32), prepared, overlap=0)
    half = _say(load_ensemble(members, device=CPU, precision=torch.bfloat16), prepared, overlap=0)
    assert not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, atol=0.06)


def test_members_whose_boxes_are_too_large_together_are_refused(ensemble_of: Make, always: Network) -> None:
    (member,) = ensemble_of([always(0.5, 0.5, 0.5)]).members
    members = tuple(replace(member, name=str(edges), window=edges) for edges in ((512, 512, 8), (8, 8, 512)))
    with pytest.raises(SettingsError, match="the box that holds every window is too large to fit in memory"):
        load_ensemble(members, device=CPU, precision=torch.float32)


def test_files_that_are_too_large_together_are_refused(
    ensemble_of: Make, always: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = ensemble_of([always(0.5, 0.5, 0.5)]).members
    monkeypatch.setattr("htcnns.files.weights.size_of", lambda _: 2**30)
    file = WeightsFile(Path("x.safetensors"), "0" * 64)
    with pytest.raises(WeightsError, match=r"too many or too large files; found 3\.0 GiB, expected at most 2 GiB"):
        load_ensemble((replace(member, files=(file,) * 3),), device=CPU, precision=torch.float32)
