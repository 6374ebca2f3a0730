"""The files that the image and .venv are made from agree with each other; needs no engine."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pins(lines: list[str]) -> dict[str, str]:
    """Version by name, lower case, of lines such as `torch==2.13.0`."""
    named = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {match[1].lower(): match[2] for match in named if match}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def constraints() -> list[str]:
    lines = (ROOT / ".constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_every_dependency_has_the_same_pin_in_both_files() -> None:
    extras = [each for extra in project()["optional-dependencies"].values() for each in extra]
    wanted = project()["dependencies"] + [each for each in extras if not each.startswith("htcnns[")]
    assert len(pins(wanted)) == len(wanted)
    assert pins(wanted).items() <= pins(constraints()).items()


def test_every_constraint_is_one_exact_version() -> None:
    assert len(pins(constraints())) == len(constraints())


def test_image_has_the_version_of_the_project() -> None:
    label = re.search(r'image\.version="(.+)"', (ROOT / "Dockerfile").read_text())
    assert label is not None
    assert label[1] == project()["version"]


def test_only_named_files_go_into_the_image() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")} == {
        "!.constraints.txt",
        "!LICENSE",
        "!entrypoint.py",
        "!htcnns",
        "!pyproject.toml",
        "!weights",
    }
