"""Networks other than the method's three, in the real image: post-treatment labels, and several systems fused."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from htcnns.files.manifest import write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.weights import save_weights
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, REGION_SETS, Label, RegionSet
from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Head

pytestmark = [pytest.mark.image, pytest.mark.slow]

CASE = "BraTS-GLI-00001-000"
AFTER_TREATMENT = REGION_SETS["wt-tc-et-rc"]
UNCLEANED = PostprocessRules(et_component_voxels=0, et_total_voxels=0)


def member(folder: Path, network: str, regions: RegionSet, head: Head, **more: object) -> Member:
    """A member with random weights in the compact size; writes its file to the folder."""
    size = NETWORKS[network].sizes["compact"]
    outputs = regions.regions if head is Head.SIGMOID else (Label.BACKGROUND, *regions.labels)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        path = folder / f"{network}.safetensors"
        file = WeightsFile(path, save_weights(path, build_network(network, size, n_out=len(outputs))))
    return Member(
        name=network,
        title=network,
        network=network,
        size=dict(size),
        files=(file,),
        regions=regions,
        head=head,
        outputs=outputs,
        window=(64, 64, 64),
        rules=UNCLEANED,
        **more,
    )


def test_a_post_treatment_v_net_writes_the_labels_of_2024(
    run_image: Callable, make_case: Callable[..., Path], tmp_path: Path, output: Path
) -> None:
    (tmp_path / "weights").mkdir()
    shown = Preprocessing(largest_piece=True, resize=(64, 64, 64), clip=(0.01, 0.99))
    vnet = member(tmp_path / "weights", "vnet", AFTER_TREATMENT, Head.SOFTMAX, preprocessing=shown)
    write_manifest(tmp_path / "weights", (vnet,))
    make_case(tmp_path / "input", CASE)
    arguments = ("htcnns", "segment", "/input", "/output", "--weights", "/weights", "--labels", "brats2024-gli")
    mounts = {"/input": tmp_path / "input", "/output": output, "/weights": tmp_path / "weights"}
    done = run_image(*arguments, mounts=mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels NCR=1 ED=2 ET=3 RC=4" in done.stdout
    assert set(np.unique(nib.load(output / f"{CASE}.nii.gz").dataobj)) <= {0, 1, 2, 3, 4}


def test_networks_of_three_systems_are_fused(
    run_image: Callable, make_case: Callable[..., Path], tmp_path: Path, output: Path
) -> None:
    (tmp_path / "weights").mkdir()
    members = [member(tmp_path / "weights", name, GLIOMA, Head.SIGMOID) for name in ("unet", "swin_unetr", "dmfnet")]
    members.append(member(tmp_path / "weights", "vnet", GLIOMA, Head.SOFTMAX))
    write_manifest(tmp_path / "weights", tuple(members))
    make_case(tmp_path / "input", CASE)
    mounts = {"/input": tmp_path / "input", "/output": output, "/opt/htcnns/weights": tmp_path / "weights"}
    done = run_image(mounts=mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unet, swin_unetr, dmfnet, vnet on cpu" in done.stdout
    assert (output / f"{CASE}.nii.gz").is_file()
