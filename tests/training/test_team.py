"""Several processes train a fit as one process would with all their patches."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prepared import phantom_case
from safetensors.torch import load_file
from torchrun_fit import BATCH, train

from htcnns.errors import SettingsError
from htcnns.files.prepared_cases import write_prepared
from htcnns.labels import Region
from htcnns.training.team import Team, join_team, local_device


def test_patches_are_shared_out() -> None:
    shares = [list(Team(rank, 3).slots(7)) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert list(Team().slots(2)) == [0, 1]


def test_fewer_patches_than_processes_are_refused() -> None:
    with pytest.raises(SettingsError, match="recipe: fewer patches than processes; found 1, expected at least 2"):
        Team(0, 2).slots(1)


def test_a_single_process_is_a_team_of_one_and_leads() -> None:
    with join_team(torch.device("cpu")) as team:
        assert team == Team(0, 1)
        assert team.leads
        assert team.total(2.5, torch.device("cpu")) == 2.5
        team.wait()
    assert local_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


@pytest.mark.slow
def test_two_processes_compute_the_gradients_of_one_with_the_joint_batch(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    partly = phantom_case("b", seed=2)  # so that the processes know different numbers of regions
    write_prepared(cache, phantom_case("a"))
    write_prepared(cache, replace(partly, card=replace(partly.card, known=(Region.WT,))))
    alone = train(cache, tmp_path / "alone", Team())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "torchrun_fit.py"]
    (tmp_path / "work").mkdir()
    subprocess.run(
        [sys.executable, *command, cache, tmp_path / "work"], check=True, timeout=300, cwd=Path(__file__).parent
    )
    ranks = [load_file(tmp_path / "work" / f"rank{rank}.safetensors") for rank in (0, 1)]
    assert BATCH == 4
    torch.testing.assert_close(ranks[0], ranks[1], rtol=0, atol=0)
    torch.testing.assert_close(ranks[0], alone, rtol=0, atol=1e-5)
    assert max(gradient.abs().max() for gradient in alone.values()) > 0.1
    assert (tmp_path / "work" / "curves.csv").exists()
