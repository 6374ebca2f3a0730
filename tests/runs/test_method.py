"""What decides a mask beside the scans, as a digest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from htcnns.files.member import WeightsFile
from htcnns.image.postprocess import PostprocessRules
from htcnns.networks.contract import Network
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.method import method_digest
from htcnns.runs.settings import RunSettings, Shard


@pytest.fixture
def member(ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., Network]) -> object:
    (member,) = ensemble_of([pointwise()]).members
    return replace(member, files=(WeightsFile(Path("a.safetensors"), "0" * 64),))


@pytest.mark.parametrize(
    "change", [{"fusion": "mean"}, {"overlap": 0.5}, {"mirror": "i"}, {"precision": "fp32"}], ids=str
)
def test_settings_that_change_an_answer_change_the_digest(member: object, change: dict) -> None:
    assert method_digest([member], RunSettings(**change)) != method_digest([member], RunSettings())


@pytest.mark.parametrize(
    "change",
    [{"batch": 2}, {"device": "cpu"}, {"again": True}, {"report": "r"}, {"shard": Shard(0, 2)}, {"time_limit_s": 5}],
    ids=str,
)
def test_settings_that_change_no_answer_leave_it(member: object, change: dict) -> None:
    assert method_digest([member], RunSettings(**change)) == method_digest([member], RunSettings())


@pytest.mark.parametrize(
    "change",
    [
        {"files": (WeightsFile(Path("a.safetensors"), "1" * 64),)},
        {"rules": PostprocessRules(et_component_voxels=1)},
        {"window": (64, 64, 64)},
        {"whole": (64, 64, 64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_weights_or_rules_change_it(member: object, change: dict) -> None:
    assert method_digest([replace(member, **change)], RunSettings()) != method_digest([member], RunSettings())


def test_what_is_for_people_leaves_it(member: object) -> None:
    other = replace(member, title="other", files=(WeightsFile(Path("b.safetensors"), "0" * 64),), scores={"a": 1})
    assert method_digest([other], RunSettings()) == method_digest([member], RunSettings())
    assert method_digest([member, member], RunSettings()) != method_digest([member], RunSettings())
