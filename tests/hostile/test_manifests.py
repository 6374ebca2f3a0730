"""Spoiled manifests: each is read, or refused in one sentence, and none takes long."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from htcnns.doors.terminal import one_line
from htcnns.errors import WeightsError
from htcnns.files.manifest import MANIFEST, read_manifest
from htcnns.files.weights import load_networks

LONGEST_S = 5.0
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2, 3, 7, 32, 33, 1024, 10**8, 10**30, 1e-3, 1e300, -0.0, "", "x", "unet", "t1c", "WT"),
    *(
        [],
        {},
        [0],
        [1, 1],
        [32, 32, 32],
        [10**8, 1],
        ["t1n"],
        [[[]]],
        {"WT": 0.5},
        {"a": {"b": []}},
        "\x1b[2J",
        "\ud800",
    ),
)
TEXTS = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "tru"),
    *("[" * 60 + "]" * 60, "[" * 9999, '"\\ud800"'),
)


@pytest.mark.slow
def test_every_spoiled_manifest_is_read_or_refused_in_one_sentence(
    tiny_weights: Path, tmp_path: Path, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    for file in tiny_weights.glob("*.safetensors"):
        (tmp_path / file.name).symlink_to(file)
    whole = (tiny_weights / MANIFEST).read_text()
    failures = [fault for seed in range(rounds) if (fault := _attempt(seed, whole, tmp_path))]
    assert failures == []
    record_property("attempts", rounds)


def _attempt(seed: int, whole: str, folder: Path) -> str:
    """What went wrong with the manifest of this seed; "" where nothing did."""
    rng = random.Random(seed)
    (folder / MANIFEST).write_text(_spoiled(rng, whole), errors="surrogatepass")
    began = process_time()
    try:
        for member in read_manifest(folder):
            load_networks(member)
    except WeightsError as error:
        sentence = error.sentence()
        if len(sentence) > 1000 or not sentence.rstrip().endswith((".", "?")) or one_line(sentence) != sentence:
            return f"{seed}: {sentence}"
    except Exception as error:
        return f"{seed}: {type(error).__name__}: {error}"
    return f"{seed}: {process_time() - began:.1f} s" if process_time() - began > LONGEST_S else ""


def _spoiled(rng: random.Random, whole: str) -> str:
    """The manifest with one to three places changed, as values or as text."""
    content = json.loads(whole)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(list(_places(content)))
        rng.choice((_replace, _replace, _scale, _drop, _double))(rng, container, key)
    text = json.dumps(content)
    if rng.random() < 0.2:
        return text.replace(rng.choice(("0.5", "32", "null", "0.48")), rng.choice(TEXTS), rng.randint(1, 3))
    if rng.random() < 0.1:
        return text[: rng.randrange(len(text))]
    return text


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every container of the content with each of its keys."""
    if not isinstance(content, dict | list):
        return []
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    return [(content, key) for key in keys] + [place for key in keys for place in _places(content[key])] or [([0], 0)]


def _replace(rng: random.Random, container: Any, key: Any) -> None:
    container[key] = rng.choice(VALUES)


def _scale(rng: random.Random, container: Any, key: Any) -> None:
    if isinstance(container[key], int | float):
        container[key] *= rng.choice((0, -1, 2, 64, 10**6))


def _drop(_: random.Random, container: Any, key: Any) -> None:
    del container[key]


def _double(_: random.Random, container: Any, key: Any) -> None:
    container[key] = [container[key], container[key]]
