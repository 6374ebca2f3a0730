"""Random members of every set of regions, and with fewer sequences: segment, fuse, report, evaluate."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.files.manifest import write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.nifti import read_label_map
from htcnns.files.weights import save_weights
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import LABEL_SETS, REGION_SETS, SEQUENCES, Label, Sequence
from htcnns.networks import build_network
from htcnns.networks.contract import Head

pytestmark = pytest.mark.slow

CASE = "BraTS-GLI-00001-000"
SIZE = {"channels": [4, 8], "n_convs": [1, 1]}
Command = Callable[..., object]


def _member(
    folder: Path, name: str, region_set: str, *, head: Head = Head.SIGMOID, sequences: tuple = SEQUENCES
) -> Member:
    """A member with random weights; its thresholds are 0.5, or 1 / n_outputs for a softmax head."""
    regions = REGION_SETS[region_set]
    outputs = regions.regions[::-1] if head is Head.SIGMOID else (Label.BACKGROUND, *regions.labels)
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        network = build_network("unet", SIZE, n_in=len(sequences), n_out=len(outputs))
    path = folder / f"{name}.safetensors"
    threshold = 0.5 if head is Head.SIGMOID else 1 / len(outputs)
    return Member(
        name=name,
        title=f"random {name}",
        network="unet",
        size=SIZE,
        files=(WeightsFile(path, save_weights(path, network)),),
        sequences=sequences,
        regions=regions,
        head=head,
        outputs=outputs,
        window=(32, 32, 32),
        rules=PostprocessRules(
            thresholds={region.name: threshold for region in regions.regions}, et_component_voxels=0, et_total_voxels=0
        ),
    )


@pytest.fixture
def run(htcnns: Command, tmp_path: Path, make_case: Callable[..., Path]) -> Command:
    """A function that writes members as a weights folder, segments one case with them and returns the report."""
    make_case(tmp_path / "in", CASE)

    def run(*members: Member, labels: str, fusion: str = "staple") -> dict:
        write_manifest(tmp_path / "weights", members)
        flags = ("--weights", tmp_path / "weights", "--device", "cpu", "--precision", "fp32", "--overlap", 0)
        more = ("--labels", labels, "--fusion", fusion, "--report", tmp_path / "report.json", "--again")
        maps = ("--probabilities", tmp_path / "maps", "--previews", tmp_path / "pictures")
        said = htcnns("segment", tmp_path / "in", tmp_path / "out", *flags, *more, *maps)
        assert (said.code, said.err) == (0, "")
        return json.loads((tmp_path / "report.json").read_text())

    (tmp_path / "weights").mkdir()
    return run


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("fusion", ["staple", "majority", "mean"])
@pytest.mark.parametrize(
    ("region_set", "labels", "rules"),
    [
        ("wt-tc-et", "brats2023", "brats2023-gli"),
        ("wt-tc-et-rc", "brats2024-gli", "brats2024-gli"),
        ("et-net-cc-ed", "brats2024-ped", "brats2024-ped"),
    ],
)
def test_each_set_of_regions_goes_from_the_manifest_to_the_scores(
    tmp_path: Path, run: Command, htcnns: Command, region_set: str, labels: str, rules: str, fusion: str, head: Head
) -> None:
    folder, regions = tmp_path / "weights", REGION_SETS[region_set]
    report = run(*(_member(folder, name, region_set, head=head) for name in "ab"), labels=labels, fusion=fusion)
    (case,) = report["cases"]
    mask = read_label_map(tmp_path / "out" / f"{CASE}.nii.gz").array
    numbers = {label.name: number for label, number in LABEL_SETS[labels].numbers.items()}
    assert case["labels"] == numbers
    assert list(case["volumes_ml"]) == [region.name for region in regions.regions]
    assert list(case["members"][0]["sensitivity"]) == [region.name for region in regions.regions]
    assert set(np.unique(mask).tolist()) <= {0, *numbers.values()}
    assert mask.any()
    assert [note for note in case["notes"] if "picture" in note] == []
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == sorted(
        f"{CASE}-{region.name}.nii.gz" for region in regions.regions
    )
    scored = htcnns("evaluate", tmp_path / "out", tmp_path / "out", "--rules", rules)
    assert (scored.code, scored.err) == (0, "")


@pytest.mark.parametrize(("region_set", "fits"), [("wt-tc-et-rc", "brats2024-gli"), ("et-net-cc-ed", "brats2024-ped")])
def test_labels_without_a_number_are_refused_before_any_work(
    tmp_path: Path, htcnns: Command, make_case: Callable[..., Path], region_set: str, fits: str
) -> None:
    make_case(tmp_path / "in", CASE)
    (tmp_path / "weights").mkdir()
    write_manifest(tmp_path / "weights", (_member(tmp_path / "weights", "a", region_set),))
    said = htcnns("segment", tmp_path / "in", tmp_path / "out", "--weights", tmp_path / "weights")
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(rf"htcnns: --labels: brats2023 has no number for .*expected one of .*{fits}.*\n", said.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "sequences", [(Sequence.T1C, Sequence.T2F), (Sequence.T2F, Sequence.T1C), (Sequence.T1C,)], ids=str
)
def test_a_member_sees_the_sequences_that_it_was_trained_with(
    tmp_path: Path, run: Command, sequences: tuple[Sequence, ...]
) -> None:
    members = (
        _member(tmp_path / "weights", "a", "wt-tc-et", sequences=sequences),
        _member(tmp_path / "weights", "bb", "wt-tc-et"),
    )
    report = run(*members, labels="brats2023")
    assert [member["sequences"] for member in report["members"]] == [list(sequences), list(SEQUENCES)]
    assert [finding["name"] for finding in report["cases"][0]["members"]] == ["a", "bb"]
