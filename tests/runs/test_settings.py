"""Settings are checked once, and each mistake names its setting."""

import math
import re
from pathlib import Path

import pytest

from htcnns.errors import SettingsError
from htcnns.runs.settings import RunSettings
from htcnns.runs.shard import Shard


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fusion": "vote"}, r"^fusion: unknown fusion 'vote'; expected one of staple, majority, mean"),
        ({"fusion": "stapel"}, r"Did you mean 'staple'\?$"),
        ({"on_failure": "stop"}, r"^on_failure: unknown choice 'stop'; expected one of skip, empty"),
        ({"labels": "brats"}, r"^labels: unknown label set 'brats'; expected one of brats2021, brats2023"),
        ({"overlap": 1.0}, r"^overlap: out of range; found 1.0, expected 0 <= x < 1"),
        ({"overlap": -0.1}, r"^overlap: out of range; found -0.1"),
        ({"overlap": True}, r"^overlap: a value of the wrong type; found True"),
        ({"overlap": math.nan}, r"^overlap: out of range; found nan"),
        ({"mirror": "x"}, r"^mirror: not a choice of axes; found 'x', expected letters of ijk, each once"),
        ({"mirror": "ii"}, r"^mirror: .*found 'ii'"),
        ({"overlap": "0.5"}, r"^overlap: a value of the wrong type; found '0.5', expected int or float"),
        ({"batch": 2.5}, r"^batch: a value of the wrong type; found 2.5, expected int"),
        ({"members": "unet"}, r"^members: a value of the wrong type; found 'unet', expected tuple or list"),
        ({"time_limit_s": 0}, r"^time_limit_s: out of range; found 0, expected seconds above 0"),
        ({"time_limit_s": math.nan}, r"^time_limit_s: out of range"),
        ({"time_limit_s": "60"}, r"^time_limit_s: a value of the wrong type; found '60'"),
        ({"shard": "0/4"}, r"^shard: a value of the wrong type; found '0/4', expected Shard"),
        ({"batch": 0}, r"^batch: too few windows at a time; found 0, expected at least 1"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        RunSettings(**settings)


def test_paths_may_be_strings() -> None:
    assert RunSettings(report="r.json", weights="w").report == Path("r.json")
    assert RunSettings(report="r.json", weights="w").weights == Path("w")


@pytest.mark.parametrize(
    ("labels", "case", "name"),
    [(None, "BraTS2021_00495", "brats2021"), (None, "P7", "brats2023"), ("brats2024-ped", "P7", "brats2024-ped")],
)
def test_a_case_has_the_requested_label_set_or_the_one_of_its_name(labels: str | None, case: str, name: str) -> None:
    assert RunSettings(labels=labels).numbers_for(case).name == name


def test_every_case_is_in_exactly_one_shard_and_shards_are_of_similar_size() -> None:
    names = [f"P{number}" for number in range(1000)]
    shards = [[name for name in names if Shard(index, 7).holds(name)] for index in range(7)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert all(100 < len(shard) < 190 for shard in shards)  # 143 each on average
    assert Shard.of_text("3/7").holds(shards[3][0])


def test_a_name_that_is_not_valid_text_is_also_in_a_shard() -> None:
    assert Shard(0, 1).holds("P\udcff")


@pytest.mark.parametrize("text", ["4/4", "0/0", "1", "-1/4", "a/b", "1/2/3", "٣/4", ""])
def test_what_is_not_a_shard_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^shard: (no such|not a) shard; .*expected i/n with i from 0 up to n - 1"):
        Shard.of_text(text)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"engine": "spark"}, "unknown engine 'spark'"),
        ({"address": "auto"}, "address: has no effect without a cluster"),
        ({"worker_cpus": 2}, "worker_cpus: has no effect without a cluster"),
        ({"engine": "ray", "address": "somewhere"}, "not the address of a Ray cluster; found 'somewhere'"),
        ({"engine": "ray", "worker_cpus": 0}, "too few CPUs; found 0"),
        ({"engine": "ray", "device": "cuda:1"}, "Ray gives each worker its GPU"),
    ],
    ids=str,
)
def test_impossible_cluster_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        RunSettings(**settings)
