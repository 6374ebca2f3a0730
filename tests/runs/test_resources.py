"""When memory runs out, a run takes fewer windows at a time and then another device; no GPU is needed to test this."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from htcnns.errors import DeviceMemoryError
from htcnns.files.manifest import read_manifest
from htcnns.runs.ensemble import Ensemble, load_ensemble
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings

ERROR = DeviceMemoryError("out of memory")


@pytest.fixture
def on_a_gpu(tiny_weights: Path) -> Ensemble:
    """An ensemble that claims to be on a GPU."""
    members = read_manifest(tiny_weights)[:1]
    ensemble = load_ensemble(members, device=torch.device("cpu"), precision=torch.float32)
    return replace(ensemble, device=torch.device("cuda:1"), precision=torch.float16)


def test_the_batch_is_halved_before_the_device_is_left(on_a_gpu: Ensemble) -> None:
    resources = Resources(on_a_gpu, RunSettings(batch=3))
    assert resources.step_down(ERROR) == "cuda:1 ran out of memory with 3 windows at a time; 1 from here on"
    assert (resources.ensemble, resources.settings.batch) == (on_a_gpu, 1)


def test_a_gpu_that_auto_found_gives_way_to_the_cpu(on_a_gpu: Ensemble) -> None:
    resources = Resources(on_a_gpu, RunSettings(precision="fp32"))
    assert resources.step_down(ERROR) == (
        "cuda:1 ran out of memory with one window at a time; on the CPU in fp32 from here on"
    )
    assert (resources.ensemble.device.type, resources.ensemble.precision) == ("cpu", torch.float32)
    assert resources.ensemble.members == on_a_gpu.members
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        resources.step_down(ERROR)


@pytest.mark.parametrize("settings", [{"device": "cuda:1"}, {"precision": "fp16"}], ids=str)
def test_what_was_asked_for_by_name_is_not_replaced(on_a_gpu: Ensemble, settings: dict[str, str]) -> None:
    resources = Resources(on_a_gpu, RunSettings(**settings))
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        resources.step_down(ERROR)
    assert resources.ensemble is on_a_gpu
