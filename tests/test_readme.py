"""The READMEs and CONTRIBUTING match the code: commands, flags, make targets, tree, exit codes and links."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from htcnns import errors
from htcnns.doors.cli import app
from htcnns.labels import LABEL_SETS, REGION_SETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": ROOT, ".github/CONTRIBUTING.md": ROOT / ".github", "weights/README.md": ROOT / "weights"}
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
README, CONTRIBUTING = TEXTS["README.md"], TEXTS[".github/CONTRIBUTING.md"]
ALL = "\n".join(TEXTS.values())
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", ALL, re.DOTALL))
LINES = re.findall(r"^htcnns (.+?)(?: +#.*)?$", SHELL, re.MULTILINE)
INLINE = [words for words in re.findall(r"`htcnns ([a-z][^`]*)`", ALL) if "…" not in words]
COMMANDS = sorted({*LINES, *INLINE})
TREE = CONTRIBUTING[CONTRIBUTING.index("## The tree") :]
MAX_README_LINES = 110
OTHERS = {"--gpus", "--user", "--rm", "--network"}  # Docker's


def tree() -> dict[str, str]:
    """Caption of every file and folder in the tree, by path."""
    block = re.search(r"```\n(.*?)```", TREE, re.DOTALL)[1]
    captions, folders = {}, []
    for line in block.splitlines():
        indent, name, caption = re.fullmatch(r"( *)(\S+) *(.*)", line).groups()
        folders = folders[: len(indent) // 2]
        captions["/".join([*(folder.rstrip("/") for folder in folders), name])] = caption
        folders.append(name)
    return captions


def command_at(words: list[str]) -> typer.core.TyperCommand:
    """The command that these words name, or the innermost group where they name none."""
    command = typer.main.get_command(app)
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return command


def flags_of(words: list[str]) -> set[str]:
    return {flag for parameter in command_at(words).params for flag in parameter.opts}


def every_command() -> list[str]:
    group = typer.main.get_command(app)
    return [
        f"{name} {inner}" if inner else name
        for name, command in group.commands.items()
        for inner in (getattr(command, "commands", {}) or [""])
    ]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_line_exists_with_its_flags(line: str) -> None:
    words = shlex.split(line)
    assert not hasattr(command_at(words), "commands")
    assert command_at(words).name in words
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= flags_of(words)


@pytest.mark.parametrize("command", every_command())
def test_every_command_is_mentioned(command: str) -> None:
    assert re.search(rf"htcnns {command}\b", ALL)


TARGETS = sorted({*re.findall(r"^make ([a-z-]+)", SHELL, re.MULTILINE), *re.findall(r"`make ([a-z-]+)", ALL)})


@pytest.mark.parametrize("target", TARGETS)
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`(--[a-z-]+)", ALL))))
def test_each_flag_in_the_text_is_a_flag_of_a_command(flag: str) -> None:
    assert flag in OTHERS.union(*(flags_of(command.split()) for command in every_command()))


def test_the_tree_has_a_caption_for_every_file() -> None:
    captions = tree()
    modules = [path for path in (ROOT / "htcnns").rglob("*.py") if not path.name.startswith("__")]
    wanted = {str(path.relative_to(ROOT)) for path in (*modules, *map(ROOT.joinpath, ("entrypoint.py", "Dockerfile")))}
    assert {path for path in wanted if not captions.get(path)} == set()


def test_the_tree_names_nothing_that_is_not_there() -> None:
    assert [path for path in tree() if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+/[a-z_]+\.py|[a-z]+\.py)`", CONTRIBUTING))))
def test_each_module_in_the_text_is_there(path: str) -> None:
    assert any((folder / path).exists() for folder in (ROOT, ROOT / "htcnns"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(brats20\d\d[a-z0-9-]*)`", ALL))))
def test_each_label_set_exists(name: str) -> None:
    assert name in LABEL_SETS


@pytest.mark.parametrize("name", REGION_SETS)
def test_each_set_of_regions_is_named(name: str) -> None:
    assert f"`{name}`" in CONTRIBUTING


def test_the_exit_codes_are_those_of_the_code() -> None:
    table = README[README.index("| exit code |") :].partition("\n\n")[0]
    cells = [cell.strip() for cell in re.findall(r"(?<=\|)[^|]*(?=\|)", table)]
    listed = {int(code) for cell in cells if re.fullmatch(r"\d+(, \d+)*", cell) for code in cell.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HtcnnsError)]
    coded = {kind.exit_code for kind in kinds if kind is not errors.HtcnnsError}
    assert listed == coded | {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


@pytest.mark.parametrize(
    ("page", "link"),
    [(page, link) for page, text in TEXTS.items() for link in re.findall(r"\]\((?!http)([^)]+)\)", text)],
)
def test_each_link_leads_to_a_file(page: str, link: str) -> None:
    assert (PAGES[page] / link).exists()
