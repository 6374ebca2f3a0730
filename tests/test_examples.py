"""The examples for clusters: linted, checked against schemas and the command line, and run on a fake cluster."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft202012Validator

from htcnns.doors.cli import app

FOLDER = Path(__file__).resolve().parents[1] / ".github" / "examples"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
FLAGS = {flag for each in typer.main.get_command(app).commands["segment"].params for flag in each.opts}
NAMES = tuple(f"BraTS-GLI-{number:05d}-000" for number in range(6))

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the image has no examples")


def _flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_pass_shellcheck(script: Path) -> None:
    command = [str(Path(sys.executable).with_name("shellcheck")), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert os.access(script, os.X_OK)


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with an `srun` that runs its arguments, an `apptainer` that records them, and an `htcnns`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    _executable(folder / "srun", '#!/bin/bash\nexec "$@"\n')
    _executable(folder / "apptainer", f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
    _executable(folder / "htcnns", f'#!/bin/bash\nexec {sys.executable} -m htcnns "$@"\n')
    return folder


def _call(script: str, folder: Path, *words: object, **variables: object) -> subprocess.CompletedProcess[str]:
    path = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "1"}
    return subprocess.run(
        [str(FOLDER / script), *map(str, words)],
        env=os.environ | path | {name: str(value) for name, value in variables.items()},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _array(first: int, last: int, *, count: int, step: int = 1) -> dict[str, int]:
    """What Slurm tells a task about its array."""
    names = (f"SLURM_ARRAY_TASK_{name}" for name in ("MIN", "MAX", "STEP", "COUNT"))
    return dict(zip(names, (first, last, step, count), strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("bin_folder")
@pytest.mark.parametrize(("first", "step"), [(1, 1), (0, 2)], ids=["1-2", "0-2:2"])
def test_the_tasks_of_a_slurm_array_segment_each_case_once(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path, first: int, step: int
) -> None:
    for name in NAMES:
        make_case(tmp_path / "in", name)
    folders = (tmp_path / "in", tmp_path / "out", tmp_path / "reports")
    flags = ("--weights", tiny_weights, "--members", "unet", "--device", "cpu", "--precision", "fp32")
    of_the_array = _array(first, first + step, step=step, count=2)
    tasks = [
        _call("slurm-array.sh", tmp_path, *folders, *flags, SLURM_ARRAY_TASK_ID=first + n * step, **of_the_array)
        for n in (0, 1, 1)  # the last one is started once more
    ]
    assert [(task.returncode, task.stderr) for task in tasks] == [(0, "")] * 3
    done = [re.findall(r"^\[\d+/\d+\] (\S+): WT", task.stdout, re.MULTILINE) for task in tasks]
    assert sorted(done[0] + done[1]) == list(NAMES)
    assert done[2] == []
    assert sorted(path.name for path in folders[1].iterdir()) == [f"{name}.nii.gz" for name in NAMES]
    events = [json.loads(line) for line in (folders[2] / "shard-1.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("run end") == 2


@pytest.mark.usefixtures("bin_folder")
def test_slurm_runs_the_image_with_the_same_arguments_and_binds_the_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    array = {"SLURM_ARRAY_TASK_ID": 3} | _array(0, 7, count=8)
    done = _call("slurm-array.sh", tmp_path, "in", "out", "r", HTCNNS_SIF="a.sif", **array)
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "words").read_text().splitlines()
    image = words.index("a.sif")
    assert words[image + 1 : image + 6] == ["htcnns", "segment", f"{tmp_path}/in", f"{tmp_path}/out", "--shard"]
    assert words[image + 6] == "3/8"
    assert _flags(words[image:]) <= FLAGS
    assert {f"{tmp_path}/in:{tmp_path}/in:ro", f"{tmp_path}/out", f"{tmp_path}/r"} <= set(words[:image])


@pytest.mark.usefixtures("bin_folder")
@pytest.mark.parametrize("array", [_array(5, 5, count=1), _array(2, 5, count=2)], ids=["5", "2,5"])
def test_rerun_tasks_of_an_array_keep_their_shards(tmp_path: Path, array: dict) -> None:
    (tmp_path / "in").mkdir()
    how = array | {"SLURM_ARRAY_TASK_ID": 5, "HTCNNS_SHARDS": 8, "HTCNNS_SIF": "a.sif"}
    assert _call("slurm-array.sh", tmp_path, "in", "out", "r", **how).returncode == 0
    words = (tmp_path / "words").read_text().splitlines()
    assert words[words.index("--shard") + 1] == "5/8"


@pytest.mark.usefixtures("bin_folder")
def test_an_array_with_gaps_is_refused_unless_the_number_of_shards_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    how = _array(2, 5, count=2) | {"SLURM_ARRAY_TASK_ID": 5, "HTCNNS_SIF": "a.sif"}
    done = _call("slurm-array.sh", tmp_path, "in", "out", "r", **how)
    assert (done.returncode, "set HTCNNS_SHARDS" in done.stderr, (tmp_path / "words").exists()) == (2, True, False)


@pytest.mark.usefixtures("bin_folder")
def test_apptainer_binds_the_folders_where_the_image_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = _call("apptainer.sh", tmp_path, "in", "out", "r", "--shard", "0/2")
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "words").read_text().splitlines()
    image = words.index("htcnns.sif")
    bound = [word for before, word in itertools.pairwise(words[:image]) if before == "--bind"]
    assert bound == [f"{tmp_path}/in:/input:ro", f"{tmp_path}/out:/output", f"{tmp_path}/r:/reports"]
    assert words[image + 1 :] == ["--report", "/reports", "--shard", "0/2"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_called_without_folders_says_what_it_needs(tmp_path: Path, script: Path) -> None:
    done = _call(script.name, tmp_path)
    assert (done.returncode, "folder of cases" in done.stderr) == (1, True)


def _job() -> dict:
    return yaml.safe_load((FOLDER / "kubernetes-job.yaml").read_text(encoding="utf-8"))


def test_the_job_is_indexed_and_has_one_shard_per_completion() -> None:
    job, spec = _job(), _job()["spec"]
    assert (job["apiVersion"], job["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = spec["template"]["spec"]["containers"]
    words = container["args"]
    assert words[words.index("--shard") + 1] == f"$(JOB_COMPLETION_INDEX)/{spec['completions']}"
    assert all(isinstance(word, str) for word in words)
    assert _flags(words) <= FLAGS
    assert 1 <= spec["parallelism"] <= spec["completions"]


def test_only_what_may_succeed_later_is_retried() -> None:
    spec = _job()["spec"]
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailIndex"  # which needs a limit for each index, and pods that are not restarted in place
    assert spec["backoffLimitPerIndex"] >= 1
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert fail["onExitCodes"]["values"] == [2, 3, 4, 5, 7]
    assert fail["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget"}]


def test_every_mount_of_the_job_has_its_volume_and_the_rest_is_read_only() -> None:
    pod = _job()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"archive": "/input", "masks": "/output", "reports": "/reports", "temporary": "/tmp"}
    assert [volume["name"] for volume in pod["volumes"]] == list(mounts)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_compose_file_fits_its_schema_and_the_command_line() -> None:
    content = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    assert list(Draft202012Validator(get_builtin_schema("vendor.compose-spec")).iter_errors(content)) == []
    service = content["services"]["htcnns"]
    assert _flags(service["command"]) <= FLAGS
    assert [volume.split(":")[1] for volume in service["volumes"]] == ["/input", "/output", "/reports"]
    assert service["network_mode"] == "none"


def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    try:
        known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    except OSError:
        known = False
    if not known:
        pytest.skip("needs docker compose")
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "config", "--quiet"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
