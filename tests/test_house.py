"""The house rules that a machine can check: which way imports point, where libraries live, what things are called."""

import ast
import re
import subprocess
from collections.abc import Callable, Collection
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "htcnns"
ROW = (
    ("errors", "labels", "volume"),
    ("image",),
    ("networks",),
    ("scores",),
    ("reports",),
    ("files",),
    ("runs",),
    ("training",),
    ("doors", "__main__", "entrypoint", PACKAGE),
)
PLACES = {room: place for place, rooms in enumerate(ROW) for room in rooms}
FILES, DOORS = PLACES["files"], PLACES["doors"]
HOMES = {  # the only modules, or packages of them, that may import a library; none may import the tests' oracles
    "nibabel": ["htcnns.files.nifti_header"],
    "typer": ["htcnns.doors"],
    "ray": ["htcnns.runs.cluster"],
    "safetensors": ["htcnns.files.tensors"],
    "isal": ["htcnns.files.gzip_stream", "htcnns.files.npz"],
    "PIL": ["htcnns.reports"],
    "matplotlib": ["htcnns.reports.curves", "htcnns.reports.cohort_picture"],
    "sklearn": ["htcnns.image.embedding"],
    "rich": ["htcnns.doors"],
    "SimpleITK": [],
    "monai": [
        "htcnns.networks.swin_unetr",
        "htcnns.files.foreign_weights.swin_unetr",
        "htcnns.files.foreign_weights.segresnet",
    ],
    "surface_distance": [],
    "pickle": ["htcnns.files.checkpoints", "htcnns.files.foreign_weights.checkpoint"],  # the name of its error only
    "dynamic_network_architectures": ["htcnns.files.foreign_weights.nnunet_v2"],
    "nnunet": ["htcnns.files.foreign_weights.nnunet_v1"],
}
OPTIONAL = {  # libraries that a module imports inside a function, as htcnns does without them or seldom needs them
    "htcnns.networks.swin_unetr": {"monai"},  # which takes two seconds
    "htcnns.files.foreign_weights.swin_unetr": {"monai"},
    "htcnns.files.foreign_weights.segresnet": {"monai"},
    "htcnns.image.embedding": {"sklearn"},
    "htcnns.runs.cluster": {"ray"},
    "htcnns.files.foreign_weights.nnunet_v2": {"dynamic_network_architectures"},
    "htcnns.files.foreign_weights.nnunet_v1": {"nnunet"},
    "htcnns.files.tensorboard": {"torch"},  # torch.utils.tensorboard, which needs tensorboard
}
THE_DISK = {"os", "tempfile", "shutil", "fcntl", "glob", "mmap", "subprocess"}  # modules that touch it
ON_DISK = {  # methods of a path that look at the disk or change it
    *("exists", "is_file", "is_dir", "is_symlink", "iterdir", "glob", "rglob", "walk", "stat", "lstat", "resolve"),
    *("samefile", "open", "read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "rmdir", "touch", "unlink"),
    *("symlink_to", "hardlink_to", "chmod", "expanduser", "cwd", "home"),
}
LOADERS = {("np", "load"), ("np", "save"), ("np", "savez"), ("np", "fromfile"), ("torch", "load"), ("torch", "save")}
SPEECH = {"warnings"}  # modules that speak
FLAG = re.compile(r"(?<![\w-])--[a-z]")
MATHEMATICS = ("htcnns.image.", "htcnns.networks.", "htcnns.scores.", "htcnns.training.losses")
WORLD = {"os", "pathlib", "shutil", "subprocess", "logging", "time", "datetime", "tempfile"}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "tools", "core"}
TOP_LEVEL = {"Dockerfile", "LICENSE", "Makefile", "README.md", "entrypoint.py", "pyproject.toml"} | {
    PACKAGE,
    "tests",
    "weights",
}
MACHINE_PATHS = r"/work/|\.\./shared|/home/[a-z]|/Users/|/tmp/[a-z]|bash_jobs"
LONG = 300


def paths() -> list[Path]:
    """Every module of the package, and the container's front door."""
    return [*sorted((ROOT / PACKAGE).rglob("*.py")), ROOT / "entrypoint.py"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in paths()}


def offenders(faults_of: Callable[[str], Collection[object]]) -> dict[str, list[object]]:
    """The modules with what is wrong in them; one test checks them all, as hundreds of tests would take longer."""
    return {module: list(faults) for module in MODULES if (faults := faults_of(module))}


def place(module: str) -> int:
    """Where the module stands in the row; a KeyError names a room that the row does not know."""
    return PLACES[module.removeprefix(f"{PACKAGE}.").split(".")[0]]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imported_by(module: str, *, in_functions: bool = True) -> set[str]:
    """What a module imports: modules of ours by their full name, libraries by their first."""
    tree = tree_of(module)
    hidden = {id(node) for function in ast.walk(tree) if is_function(function) for node in ast.walk(function)}
    nodes = [node for node in ast.walk(tree) if in_functions or id(node) not in hidden]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    return {nearest_module(name) for name in plain | named}


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def nearest_module(name: str) -> str:
    """The longest beginning of a dotted name that is a module of ours, else the library it starts with."""
    parts = name.split(".")
    beginnings = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((beginning for beginning in beginnings if beginning in MODULES), parts[0])


def ours(names: set[str]) -> set[str]:
    return names & MODULES.keys()


def tracked() -> list[str]:
    """Paths of the files in the repository; skips where there is none, as in the image."""
    try:
        answer = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return answer.stdout.splitlines()


def test_offenders_are_named() -> None:
    found = offenders(lambda module: ["x"] if module == "htcnns.volume" else [])
    assert found == {"htcnns.volume": ["x"]}
    assert len(MODULES) > 200


def test_a_module_imports_only_from_its_own_and_earlier_rooms() -> None:
    assert offenders(lambda m: [name for name in ours(imported_by(m)) if place(name) > place(m)]) == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: ours(imported_by(module, in_functions=False)) - {module} for module in MODULES}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


def test_imports_are_written_in_full() -> None:
    def relative(module: str) -> list[int]:
        return [node.lineno for node in ast.walk(tree_of(module)) if isinstance(node, ast.ImportFrom) and node.level]

    assert offenders(relative) == {}


def test_imports_inside_functions_are_in_doors_or_of_an_optional_library() -> None:
    def later(module: str) -> set[str]:
        return imported_by(module) - imported_by(module, in_functions=False) - OPTIONAL.get(module, set())

    assert offenders(lambda m: later(m) if place(m) < DOORS else []) == {}


@pytest.mark.parametrize(("library", "homes"), HOMES.items(), ids=HOMES)
def test_a_library_lives_in_one_place(library: str, homes: list[str]) -> None:
    strangers = [
        module
        for module in MODULES
        if library in imported_by(module) and not any(f"{module}.".startswith(f"{home}.") for home in homes)
    ]
    assert strangers == []


def touches_the_disk(tree: ast.Module) -> list[str]:
    """What in a module touches the disk: imports, uses of open, methods of paths, np.load and the like."""
    nodes = list(ast.walk(tree))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    opened = [node.id for node in nodes if isinstance(node, ast.Name) and node.id == "open"]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    asked = [node.attr for node in attributes if node.attr in ON_DISK]
    loaded = [node.attr for node in attributes if (getattr(node.value, "id", ""), node.attr) in LOADERS]
    return [name for name in plain + named if name.split(".")[0] in THE_DISK] + opened + asked + loaded


def speaks(tree: ast.Module) -> list[str]:
    """What in a module speaks to people: print, streams, warnings, and texts that name a command-line flag."""
    nodes = list(ast.walk(tree))
    printed = [node.id for node in nodes if isinstance(node, ast.Name) and node.id == "print"]
    streams = [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")]
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules = [name for name in plain + named if name.split(".")[0] in SPEECH]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return printed + streams + modules + [text for text in texts if FLAG.search(text)]


def test_only_files_touch_the_disk() -> None:
    assert offenders(lambda m: touches_the_disk(tree_of(m)) if place(m) != FILES else []) == {}


def test_only_doors_print_and_name_flags() -> None:
    assert offenders(lambda m: speaks(tree_of(m)) if place(m) != DOORS else []) == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", ["os"]),
        ("import os.path", ["os.path"]),
        ("from shutil import copy", ["shutil"]),
        ("def f():\n    import tempfile", ["tempfile"]),
        ("open('x')", ["open"]),
        ("Path('x').exists()", ["exists"]),
        ("(a / 'b').read_text()", ["read_text"]),
        ("map(Path.exists, paths)", ["exists"]),
        ("np.load(x)", ["load"]),
        ("torch.save(x, y)", ["save"]),
        ("import glob", ["glob"]),
        ("text.replace('a', 'b')", []),
        ("from pathlib import Path\nPath('x').name", []),
    ],
)
def test_the_wall_around_the_disk_has_no_hole(source: str, found: list[str]) -> None:
    assert touches_the_disk(ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "n_found"),
    [
        ("print('x')", 1),
        ("text = 'use --device cpu'", 1),
        ("text = f'{a}: --device {b}'", 1),
        ('"""Docstring about --overlap."""', 1),
        ("sys.stdout.write('x')", 1),
        ("from warnings import warn", 1),
        ("text = 'a -- b, x--y, ---'", 0),
        ("console.print('x')", 0),
    ],
)
def test_the_wall_around_speech_has_no_hole(source: str, n_found: int) -> None:
    assert len(speaks(ast.parse(source))) == n_found


def test_mathematics_knows_no_paths_logs_or_clocks() -> None:
    assert offenders(lambda m: imported_by(m) & WORLD if m.startswith(MATHEMATICS) else []) == {}


def test_every_module_is_named_after_what_it_holds() -> None:
    names = {path.stem for path in [*paths(), *(ROOT / "tests").rglob("*.py")]}
    assert names & NAMELESS == set()


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_the_top_of_the_repository_holds_nothing_unexpected() -> None:
    names = {path.split("/")[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} - TOP_LEVEL == set()


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    tracked()
    command = ["git", "grep", "-nIE", MACHINE_PATHS, "--", ":!tests/test_house.py", ":!.ci", ":!*.umd.js"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines() == []


def test_long_modules_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in paths()}
    long = [f"{path}: {size} lines, {LONG} is where one idea often ends" for path, size in sizes.items() if size > LONG]
    with capsys.disabled():
        print("", *long, sep="\n", end="")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("htcnns.image.fusion.fuse", "htcnns.image.fusion"),
        ("htcnns.networks.unet", "htcnns.networks.unet"),
        ("numpy.typing.NDArray", "numpy"),
    ],
)
def test_imports_are_traced_to_their_module(name: str, expected: str) -> None:
    assert nearest_module(name) == expected


def test_the_row_runs_from_errors_to_the_doors() -> None:
    row = ["htcnns.errors", "htcnns.image.fusion", "htcnns.scores", "htcnns.files.nifti", "htcnns.doors.cli"]
    assert [place(module) for module in row] == [0, 1, 3, 5, 8]
    assert place("htcnns.doors.cli") == place("entrypoint") == place(PACKAGE)


def test_imports_inside_functions_are_seen() -> None:
    assert "htcnns.doors.api" in imported_by(PACKAGE)
    assert "torch" not in imported_by("htcnns.labels")
    assert {"torch", "htcnns.errors"} <= imported_by("htcnns.networks.contract")
