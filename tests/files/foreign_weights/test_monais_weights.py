"""MONAI's checkpoints (Swin UNETR's folds and the SegResNet bundle) return the logits of MONAI's own classes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNet
from monai.networks.nets import swin_unetr as monai
from torch import Tensor, nn

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights import KINDS
from htcnns.files.foreign_weights.kind import WINDOWS_OF_LOGITS
from htcnns.files.foreign_weights.swin_unetr import MONAIS_MERGING
from htcnns.labels import GLIOMA, Region, Sequence
from htcnns.networks.contract import Head
from htcnns.networks.swin_unetr import CORNERS, Merging
from htcnns.runs.foreign_member import ImportSettings, import_member

pytestmark = pytest.mark.slow

FOLDS = [f"fold{fold}_f48_ep300_4gpu_dice0_9035" for fold in range(2)]
LEGACY = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]  # MONAI 1.4
INDEX = "relative_position_index"
SMALL = (32, 32, 64)


class LegacyMerging(monai.PatchMergingV2):
    """What MONAI's "merging" was until 1.4: two corners twice, two never."""

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in LEGACY], dim=-1)))


def halved(network: nn.Module) -> nn.Module:
    """The network in evaluation mode with random numbers that float16 holds."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        scale = 0.5 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator)).copy_(parameter.half())
    return network.eval()


def swin(downsample: object = "merging") -> nn.Module:
    """Swin UNETR with other numbers of blocks than published; each number of heads divides its feature size."""
    layers = {"depths": (1, 2, 1, 1), "num_heads": (1, 2, 4, 4), "window_size": 3}
    return halved(monai.SwinUNETR(in_channels=4, out_channels=3, feature_size=4 * 3, downsample=downsample, **layers))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return swin()


def segresnet() -> nn.Module:
    return halved(SegResNet(init_filters=8, in_channels=4, out_channels=3, blocks_down=(1, 2, 1), blocks_up=(2, 1)))


def written_fold(path: Path, network: nn.Module, **changes: Tensor | None) -> Path:
    """A file as Swin UNETR's `trainer.py` writes it; a change of None leaves a tensor out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor for name, tensor in {**network.state_dict(), **changes}.items() if tensor is not None}
    state = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 299, "best_acc": 0.9035, "state_dict": state}, path)
    return path


@pytest.fixture
def _with_einops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-in for the two permutations by einops that MONAI's Swin UNETR uses."""
    monkeypatch.setattr(monai, "rearrange", lambda x, to: x.movedim(1, -1) if to.endswith("c") else x.movedim(-1, 1))


@pytest.mark.usefixtures("_with_einops")
@pytest.mark.parametrize(
    ("kind", "other", "downsample"),
    [("swin-unetr-1.4", "swin-unetr-1.5", LegacyMerging), ("swin-unetr-1.5", "swin-unetr-1.4", "merging")],
    ids=["1.4", "1.5"],
)
def test_a_fold_of_swin_unetr_returns_monais_logits(
    tmp_path: Path, kind: str, other: str, downsample: object, read_logits: Callable
) -> None:
    network = swin(downsample)
    path = written_fold(tmp_path / "model.pt", network)
    foreign = KINDS[kind].read(path)
    ours, expected = read_logits(foreign, network, SMALL)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1
    ours, compared_with = read_logits(foreign, foreign.original, SMALL)
    torch.testing.assert_close(ours, compared_with, rtol=0, atol=1e-4)
    otherwise, _ = read_logits(KINDS[other].read(path), torch.zeros_like, SMALL)
    assert (otherwise - ours).abs().max() > 1e-2


@pytest.mark.parametrize("edges", [(2, 4, 6), (8, 2, 2)], ids=str)
def test_our_merging_of_1_5_is_monais(edges: tuple[int, int, int], generator: torch.Generator) -> None:
    theirs = halved(monai.MERGING_MODE[MONAIS_MERGING["monai-1.5"]](5))
    ours = Merging(5, 10, CORNERS["monai-1.5"])
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, *edges, 5, generator=generator)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_without_einops_swin_unetr_has_no_original(
    tmp_path: Path, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("einops")

    monkeypatch.setattr(monai, "rearrange", missing)
    foreign = KINDS["swin-unetr-1.5"].read(written_fold(tmp_path / "model.pt", network))
    assert foreign.original(torch.zeros(1, 4, *SMALL)) is None


@pytest.mark.usefixtures("_with_einops")
def test_a_mistake_in_our_merging_shows_in_the_comparison_with_monai(
    tmp_path: Path, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(self: Merging, x: Tensor) -> Tensor:
        return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in LEGACY], dim=-1)))

    monkeypatch.setattr(Merging, "forward", mistaken)
    path = written_fold(tmp_path / "model.pt", network)
    with pytest.raises(WeightsError, match="computes different values here than in its own program"):
        import_member(ImportSettings(files=(path,), kind="swin-unetr-1.5", out=tmp_path / "out"))


@pytest.mark.usefixtures("_with_einops")
def test_the_folds_of_a_folder_are_compared_with_monai_when_they_are_imported(
    tmp_path: Path, network: nn.Module
) -> None:
    for name in FOLDS:
        written_fold(tmp_path / "theirs" / name / "model.pt", network)
    settings = ImportSettings(files=(tmp_path / "theirs",), kind="swin-unetr-1.5", out=tmp_path / "out")
    member, found = import_member(settings)
    order = "sequences: assumed to be t2f, t1c, t1n, t2w, as in its fold lists; the checkpoint does not say so"
    assert member.trained_on["differs"] == [WINDOWS_OF_LOGITS, order]
    assert [file.path.name for file in member.files] == ["swin-unetr-1.5-0.safetensors", "swin-unetr-1.5-1.safetensors"]
    for each in found:
        assert each.comparison.original is not None
        assert each.comparison.original < 1e-4
        assert each.comparison.rounding == 0


def test_folds_are_found_in_a_folder_of_folds_a_fold_or_a_file(tmp_path: Path) -> None:
    paths = tuple(tmp_path / name / "model.pt" for name in FOLDS)
    for path in paths:
        written_fold(path, nn.Linear(1, 1))
    assert KINDS["swin-unetr-1.4"].find(tmp_path) == paths
    assert KINDS["swin-unetr-1.4"].find(tmp_path / FOLDS[1]) == paths[1:]
    assert KINDS["swin-unetr-1.4"].find(paths[0]) == paths[:1]


@pytest.mark.parametrize("kind", ["swin-unetr-1.4", "segresnet"])
def test_a_folder_without_checkpoints_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(WeightsError, match=r"no (models/)?model\.pt there; expected (models/)?model\.pt or "):
        KINDS[kind].find(tmp_path)


@pytest.mark.parametrize("merging", ["1.4", "1.5"])
def test_what_the_folds_do_not_hold_is_as_published(tmp_path: Path, network: nn.Module, merging: str) -> None:
    found = KINDS[f"swin-unetr-{merging}"].read(written_fold(tmp_path / "model.pt", network)).description
    assert found.sequences == (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    assert (found.regions, found.head, found.window) == (GLIOMA, Head.SIGMOID, (128, 128, 128))
    assert found.outputs == (Region.TC, Region.WT, Region.ET)
    assert found.size == {
        "channels": [12, 12, 24, 48, 96, 192],
        "blocks": [1, 2, 1, 1],
        "heads": [1, 2, 4, 4],
        "attended": 3,
        "merging": f"monai-{merging}",
    }


def test_the_bundle_returns_monais_logits(tmp_path: Path, read_logits: Callable) -> None:
    network = segresnet()
    (tmp_path / "bundle" / "models").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "bundle" / "models" / "model.pt")
    (path,) = KINDS["segresnet"].find(tmp_path / "bundle")
    foreign = KINDS["segresnet"].read(path)
    ours, expected = read_logits(foreign, network, (16, 24, 16))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1
    ours, compared_with = read_logits(foreign, foreign.original, (16, 24, 16))
    torch.testing.assert_close(ours, compared_with, rtol=0, atol=1e-4)


def test_the_bundle_is_compared_with_monai_when_it_is_imported(tmp_path: Path) -> None:
    torch.save(segresnet().state_dict(), tmp_path / "model.pt")
    settings = ImportSettings(files=(tmp_path,), kind="segresnet", out=tmp_path / "out")
    member, (found,) = import_member(settings)
    assert found.comparison.original is not None
    assert found.comparison.original < 1e-4
    assert found.comparison.rounding == 0
    assert (member.sequences, member.window) == (
        (Sequence.T1C, Sequence.T1N, Sequence.T2W, Sequence.T2F),
        (224, 224, 144),
    )
    order = (
        "sequences: assumed to be t1c, t1n, t2w, t2f, as the bundle describes its input; the checkpoint does not say so"
    )
    assert member.trained_on["differs"] == [WINDOWS_OF_LOGITS, order]
    assert member.outputs == (Region.TC, Region.WT, Region.ET)
    assert member.size["blocks"] == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("encoder10.layer.conv2.conv.weight", None, r"missing encoder10\.layer\.conv2\.conv\.weight; found 1 tensors"),
        ("encoder1.layer.conv1.conv.weight", None, r"missing encoder1\.layer\.conv1\.conv\.weight"),
        ("swinViT.layers3.0.downsample.norm.bias", None, r"missing swinViT\.layers3\.0\.downsample\.norm\.bias"),
        ("out_dec0.weight", torch.ones(1), r"unexpected out_dec0\.weight; found 0 tensors missing and 1 unexpected"),
        (
            "decoder5.transp_conv.conv.weight",
            torch.ones(2, 2),
            r"decoder5\.transp_conv\.conv\.weight and .*wrong shape",
        ),
        (
            "out.conv.conv.bias",
            torch.ones(4),
            r"out\.conv\.conv\.bias and .*wrong shape; found \(4,\), expected \(3,\)",
        ),
    ],
    ids=["missing", "width", "norm", "unexpected", "axes", "shape"],
)
def test_tensors_of_a_fold_that_do_not_fit_are_named(
    tmp_path: Path, network: nn.Module, name: str, tensor: Tensor | None, says: str
) -> None:
    path = written_fold(tmp_path / "model.pt", network, **{name: tensor})
    with pytest.raises(WeightsError, match=f"model.pt: {says}"):
        KINDS["swin-unetr-1.4"].read(path)


def test_tables_that_follow_from_the_sizes_are_optional(tmp_path: Path, network: nn.Module) -> None:
    tables = dict.fromkeys(name for name in network.state_dict() if name.endswith(INDEX))
    read = KINDS["swin-unetr-1.5"].read
    with_tables = read(written_fold(tmp_path / "a.pt", network)).tensors
    assert len(tables) == 5
    torch.testing.assert_close(read(written_fold(tmp_path / "b.pt", network, **tables)).tensors, with_tables)


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("convInit.conv.weight", None, r"missing convInit\.conv\.weight"),
        ("up_samples.1.0.conv.weight", None, r"missing up_samples\.1\.0\.conv\.weight"),
        ("vae_fc1.weight", torch.ones(1), r"unexpected vae_fc1\.weight"),
        ("conv_final.2.conv.bias", torch.ones(2), r"conv_final\.2\.conv\.bias and .*wrong shape"),
    ],
    ids=["width", "missing", "unexpected", "shape"],
)
def test_tensors_of_a_bundle_that_do_not_fit_are_named(
    tmp_path: Path, name: str, tensor: Tensor | None, says: str
) -> None:
    weights = {**segresnet().state_dict(), name: tensor}
    torch.save({key: each for key, each in weights.items() if each is not None}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=f"model.pt: {says}"):
        KINDS["segresnet"].read(tmp_path / "model.pt")
