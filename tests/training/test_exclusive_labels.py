"""Post-surgery cases, from files to scores: members with a softmax over labels on resized brains, alone and fused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.files.manifest import read_manifest, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.nifti import read_label_map, write_case_file
from htcnns.image.member_input import Preprocessing
from htcnns.image.phantom import make_phantom
from htcnns.labels import LABEL_SETS, REGION_SETS, SEQUENCES, Label, encode
from htcnns.networks.contract import Head
from htcnns.networks.vnet import VNet
from htcnns.scores.metrics import dice
from htcnns.training.augment import Augmentation
from htcnns.training.losses import label_losses
from htcnns.training.recipe_text import recipe_toml
from htcnns.training.recipes import MemberRecipe, Recipe, Round

pytestmark = pytest.mark.usefixtures("no_pictures")

NUMBERS = LABEL_SETS["brats2024-gli"]
NAMES = [f"BraTS-GLI-0000{number}-100" for number in (1, 2)]
EVEN = Augmentation(quench_share=0.0, gamma_share=0.0, noise_share=0.0)
EACH = Round(steps=60, learning_rate=1e-2, warmup=5, patches=((0.0, (32, 32, 32)),), variety=EVEN)
SIZE = {"channels": [8, 16], "n_convs": [1], "n_convs_up": [1], "norm": "instance", "dropout": 0.0}
LABELS = Recipe(
    name="labels",
    title="",
    members=(MemberRecipe(name="vnet", title="V-Net", network="vnet", size=SIZE, rounds=(EACH,)),),
    regions=REGION_SETS["wt-tc-et-rc"],
    head=Head.SOFTMAX,
    preprocessing=Preprocessing(largest_piece=True, resize=(32, 32, 32), clip=(0.01, 0.99)),
    average=0.9,
    precision="fp32",
    window=(32, 32, 32),
    whole=(32, 32, 32),
)
UNET = MemberRecipe(
    name="unet", title="U-Net", network="unet", size={"channels": [8, 16], "n_convs": [1, 1]}, rounds=(EACH,)
)
REGIONS = replace(LABELS, name="regions", members=(UNET,), head=Head.SIGMOID, preprocessing=Preprocessing())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small phantoms after surgery, and their truths."""
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate(NAMES, start=1):
        phantom = make_phantom((34, 34, 33), seed=seed, resected=True)
        (folder / name).mkdir()
        for sequence, array in zip(SEQUENCES, phantom.sequences, strict=True):
            write_case_file(folder / name / f"{name}-{sequence}.nii.gz", array.astype(np.int16), phantom.affine)
        write_case_file(folder / name / f"{name}-seg.nii.gz", encode(phantom.truth, NUMBERS), phantom.affine)
    return folder


@pytest.fixture
def packs(tmp_path: Path, htcnns: Callable, cases: Path) -> Path:
    assert htcnns("pack", cases, tmp_path / "packs", "--labels", NUMBERS.name).code == 0
    return tmp_path / "packs"


@pytest.fixture
def learn(tmp_path: Path, htcnns: Callable, packs: Path) -> Callable:
    """A function that runs `train` or `cv` with a recipe on the packs and returns the output folder."""

    def learn(command: str, recipe: Recipe, *more: object) -> Path:
        (tmp_path / "recipe.toml").write_text(recipe_toml(recipe))
        out = tmp_path / f"{command}-{recipe.name}-{len(more)}"
        folders = ("--work", tmp_path / f"work-{out.name}", "--out", out)
        said = htcnns(command, packs, "--recipe", tmp_path / "recipe.toml", *folders, "--source", "phantoms", *more)
        assert (said.code, said.err) == (0, "")
        return out

    return learn


def joined(folder: Path, *weights: Path) -> tuple[Member, ...]:
    """The members of several weights folders, joined in one folder with one manifest."""
    folder.mkdir()
    members = []
    for member in (each for one in weights for each in read_manifest(one)):
        (file,) = member.files
        (folder / file.path.name).write_bytes(file.path.read_bytes())
        members.append(replace(member, files=(WeightsFile(folder / file.path.name, file.sha256),)))
    write_manifest(folder, tuple(members))
    return read_manifest(folder)


def segmented(folder: Path, cases: Path, htcnns: Callable, *members: str) -> tuple[np.ndarray, dict]:
    """The first case's mask from these members of the folder's weights, and the entry of that case in the report."""
    flags = ("--weights", folder / "weights", "--labels", NUMBERS.name, "--report", folder / "report.json", "--again")
    chosen = ("--members", ",".join(members), "--device", "cpu", "--precision", "fp32")
    said = htcnns("segment", cases, folder / "out", *flags, *chosen)
    assert (said.code, said.err) == (0, "")
    (case, _) = json.loads((folder / "report.json").read_text())["cases"]
    return read_label_map(folder / "out" / f"{NAMES[0]}.nii.gz").array, case


def test_the_loss_over_labels_reaches_each_parameter(generator: torch.Generator) -> None:
    network = VNet(channels=(4, 8, 8), n_convs=(1, 1), n_convs_up=(1, 1), norm="batch", dropout=0.0, n_out=5)
    truth = torch.nn.functional.one_hot(torch.randint(5, (1, 16, 16, 16), generator=generator), 5).movedim(-1, 1)
    label_losses(network(torch.randn(1, 4, 16, 16, 16, generator=generator)), truth).mean().backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


@pytest.mark.slow
def test_members_for_labels_and_for_regions_are_trained_and_fused(
    tmp_path: Path, htcnns: Callable, cases: Path, learn: Callable
) -> None:
    labels, regions = joined(tmp_path / "weights", learn("train", LABELS), learn("train", REGIONS))
    assert (labels.head, labels.outputs) == (Head.SOFTMAX, tuple(Label)[:5])
    assert (labels.preprocessing, labels.window) == (LABELS.preprocessing, (32, 32, 32))
    assert (regions.head, regions.outputs) == (Head.SIGMOID, REGIONS.regions.regions)
    truth = read_label_map(cases / NAMES[0] / f"{NAMES[0]}-seg.nii.gz").array
    fused, case = segmented(tmp_path, cases, htcnns, "vnet", "unet")
    assert [list(finding["sensitivity"]) for finding in case["members"]] == [["WT", "TC", "ET", "RC"]] * 2
    assert dice(np.isin(fused, (1, 2, 3)), np.isin(truth, (1, 2, 3))) > 0.6
    alone, _ = segmented(tmp_path, cases, htcnns, "vnet")
    assert dice(alone == 4, truth == 4) > 0.4


@pytest.mark.slow
def test_a_fit_starts_from_weights_of_the_other_head(learn: Callable) -> None:
    start = learn("train", LABELS, "--steps=1")
    (member,) = read_manifest(learn("train", replace(LABELS, head=Head.SIGMOID), "--steps=1", "--from", start))
    assert member.outputs == LABELS.regions.regions
    assert member.trained_on["start"].startswith(f"{start.name}: vnet")


@pytest.mark.slow
def test_a_cross_validation_scores_cavities(learn: Callable) -> None:
    out = learn("cv", LABELS, "--steps=2", "--folds=2", "--rules", "brats2024-gli")
    rows = list(csv.DictReader((out / "cross_validation.csv").read_text().splitlines()))
    assert {row["case"] for row in rows} == set(NAMES)
    assert {row["region"] for row in rows} == {"WT", "TC", "NETC", "SNFH", "ET", "RC"}
    assert {row["voice"] for row in rows} == {"vnet", "vnet, raw"}
