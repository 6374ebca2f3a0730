"""The digest of everything but the scans that decides a mask."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from htcnns.files.member import Member, WeightsFile
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, SEQUENCES
from htcnns.networks.contract import Head, Network
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.method import method_digest
from htcnns.runs.settings import RunSettings, Shard


@pytest.fixture
def member(ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., Network]) -> Member:
    (member,) = ensemble_of([pointwise()]).members
    return replace(member, files=(WeightsFile(Path("a.safetensors"), "0" * 64),))


@pytest.mark.parametrize(
    "change", [{"fusion": "mean"}, {"overlap": 0.5}, {"mirror": "i"}, {"precision": "fp32"}], ids=str
)
def test_settings_that_change_an_answer_change_the_digest(member: Member, change: dict) -> None:
    assert method_digest([member], RunSettings(**change)) != method_digest([member], RunSettings())


@pytest.mark.parametrize(
    "change",
    [{"batch": 2}, {"device": "cpu"}, {"again": True}, {"report": "r"}, {"shard": Shard(0, 2)}, {"time_limit_s": 5}],
    ids=str,
)
def test_settings_that_change_no_answer_keep_the_digest(member: Member, change: dict) -> None:
    assert method_digest([member], RunSettings(**change)) == method_digest([member], RunSettings())


CHANGED = {
    "network": "unet",
    "size": {"width": 8},
    "files": (WeightsFile(Path("a.safetensors"), "1" * 64),),
    "sequences": SEQUENCES[::-1],
    "regions": replace(GLIOMA, name="other"),
    "head": Head.SOFTMAX,
    "outputs": GLIOMA.regions[::-1],
    "window": (64, 64, 64),
    "whole": (64, 64, 64),
    "box": (64, 64, 64),
    "mirror": "i",
    "preprocessing": Preprocessing(largest_piece=True),
    "rules": PostprocessRules(et_component_voxels=1),
}
FOR_PEOPLE = {"name": "other", "title": "other", "trained_on": {"a": 1}, "scores": {"a": 1}}


def _changed(member: Member, field: str, value: object) -> Member:
    """A copy with that field, whether or not it fits the others."""
    copy = replace(member)
    object.__setattr__(copy, field, value)
    return copy


@pytest.mark.parametrize("field", [field.name for field in fields(Member)])
def test_every_member_field_changes_the_digest_or_is_for_people(member: Member, field: str) -> None:
    """A new field has to be put into one of the tables."""
    other = _changed(member, field, (CHANGED | FOR_PEOPLE)[field])
    is_same = method_digest([other], RunSettings()) == method_digest([member], RunSettings())
    assert is_same == (field in FOR_PEOPLE)


def test_mirroring_by_manifest_or_run_has_the_same_digest(member: Member) -> None:
    by_manifest, by_run = method_digest([replace(member, mirror="i")], RunSettings()), RunSettings(mirror="i")
    assert by_manifest == method_digest([member], by_run)


def test_moving_a_file_keeps_the_digest_and_one_more_member_changes_it(member: Member) -> None:
    other = replace(member, files=(WeightsFile(Path("b.safetensors"), "0" * 64),))
    assert method_digest([other], RunSettings()) == method_digest([member], RunSettings())
    assert method_digest([member, member], RunSettings()) != method_digest([member], RunSettings())
