"""The README tells the truth: its commands, flags, make targets, tree and exit codes are those of the code."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from htcnns import errors
from htcnns.cli import app
from htcnns.labels import LABEL_SETS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = re.findall(r"^htcnns (.+?)(?: +#.*)?$", SHELL, re.MULTILINE)
TREE = README[README.index("## The tree") :]
MODULES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "htcnns").rglob("*.py") if not path.name.startswith("__")
)


def parameters(words: list[str]) -> set[str]:
    """The flags of the command that these words name."""
    group = typer.main.get_command(app)
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    command = getattr(command, "commands", {}).get(words[1], command) if len(words) > 1 else command
    return {flag for parameter in command.params for flag in parameter.opts}


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_line_exists_with_its_flags(line: str) -> None:
    words = shlex.split(line)
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert flags <= parameters(words)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`(--[a-z-]+)", README))))
def test_each_flag_in_the_text_is_a_flag_of_a_command(flag: str) -> None:
    known = {"--gpus"}  # Docker's
    known |= parameters(["segment"]) | parameters(["cases"]) | parameters(["evaluate"]) | parameters(["train"])
    assert flag in known


@pytest.mark.parametrize("module", MODULES)
def test_the_tree_names_every_module(module: str) -> None:
    assert re.search(rf"\b{re.escape(Path(module).stem)}\b", TREE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b([a-z_]+\.py)\b", TREE))))
def test_the_tree_names_no_module_that_is_not_there(name: str) -> None:
    assert [
        path for path in (*ROOT.glob("*.py"), *(ROOT / "tests").glob("*.py"), *map(Path, MODULES)) if path.name == name
    ]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(brats20\d\d[a-z0-9-]*)`", README))))
def test_each_label_set_exists(name: str) -> None:
    assert name in LABEL_SETS


def test_the_exit_codes_are_those_of_the_code() -> None:
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HtcnnsError)]
    coded = {kind.exit_code for kind in kinds if kind is not errors.HtcnnsError}
    assert listed == coded | {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_each_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()
