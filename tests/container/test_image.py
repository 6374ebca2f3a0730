"""The image as each challenge calls it: any user, no network, nothing to write to but the output folder and /tmp.

Synthetic heads are segmented in seconds by tiny random members, mounted over the shipped ones; the shipped ones are
tested on the head of the demo and on real cases.
"""

import gzip
import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import nibabel as nib
import numpy as np
import pytest

from htcnns.errors import EXIT_CASE_FAILED, EXIT_DONE, InputError, OutputError, SettingsError
from htcnns.files.nifti import read_label_map

pytestmark = pytest.mark.image

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "/opt/htcnns/weights"
THREE = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "BraTS-GLI-00003-000")

Run = Callable[..., CompletedProcess[str]]


def tumours(output: Path) -> dict[str, bool]:
    """Whether anything is marked, by name, for every entry of an output folder, hidden ones too."""
    return {path.name: bool(read_label_map(path).array.any()) for path in output.iterdir()}


def tumours_in_files(output: Path) -> dict[str, bool]:
    """The same, for regular files only."""
    return {path.name: bool(read_label_map(path).array.any()) for path in output.iterdir() if path.is_file()}


def numbers(mask: Path) -> set[int]:
    """The label numbers in a mask."""
    return set(np.unique(read_label_map(mask).array).tolist())


def owners(output: Path) -> set[tuple[int, int]]:
    """User and group of every entry."""
    return {(path.stat().st_uid, path.stat().st_gid) for path in output.iterdir()}


@pytest.fixture
def three_cases(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """A folder of three cases, nested."""
    folder = tmp_path / "input"
    for name in THREE:
        make_case(folder, name)
    return folder


@pytest.fixture(scope="session")
def whole_masks(
    tmp_path_factory: pytest.TempPathFactory, run_image: Run, make_case: Callable[..., Path], tiny_weights: Path
) -> dict[str, bytes]:
    """The masks of the three cases, by name, when nothing is wrong with any of them."""
    folder = tmp_path_factory.mktemp("whole")
    for name in THREE:
        make_case(folder / "input", name)
    (folder / "output").mkdir()
    (folder / "output").chmod(0o777)
    done = run_image(mounts={"/input": folder / "input", "/output": folder / "output", WEIGHTS: tiny_weights})
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    return {f"{name}.nii.gz": (folder / "output" / f"{name}.nii.gz").read_bytes() for name in THREE}


@pytest.fixture
def neighbours(output: Path, whole_masks: dict[str, bytes]) -> Callable[[], bool]:
    """A function that tells whether the masks of the first and third case are those of a run without a bad case."""
    names = [f"{name}.nii.gz" for name in (THREE[0], THREE[2])]
    return lambda: [(output / name).read_bytes() for name in names] == [whole_masks[name] for name in names]


def cut_short(path: Path) -> None:
    """Cut the file short, as an interrupted copy leaves it."""
    path.write_bytes(path.read_bytes()[:2000])


def test_flat_case_of_2021_gets_a_five_digit_mask_name_and_labels_1_2_4(
    run_image: Run, make_case: Callable[..., Path], tmp_path: Path, output: Path, tiny_weights: Path
) -> None:
    scans = make_case(tmp_path / "input", "BraTS2021_00495", naming="BraTS 2021-22", flat=True)
    done = run_image(mounts={"/input": scans, "/output": output, WEIGHTS: tiny_weights})
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert tumours(output) == {"00495.nii.gz": True}
    assert "NCR=1 ED=2 ET=4" in done.stdout
    assert owners(output) == {(4321, 4321)}


def test_infer_of_2023_takes_split_mounts_dummy_weights_and_unknown_flags(
    run_image: Run, make_case: Callable[..., Path], tmp_path: Path, output: Path, tiny_weights: Path
) -> None:
    make_case(tmp_path / "scans", "BraTS-GLI-00001-000")
    dummies = tmp_path / "dummies"
    dummies.mkdir()
    (dummies / "parameters.yaml").touch()
    inside = {"/mlcube_io0": tmp_path / "scans", "/mlcube_io1": dummies, "/mlcube_io2": output, "/mlcube_io3": dummies}
    done = run_image(
        "infer",
        "--data_path=/mlcube_io0",
        "--weights=/mlcube_io1",
        "--output_path=/mlcube_io2",
        "--parameters_file=/mlcube_io3/parameters.yaml",
        "--made_up=1",
        mounts={**inside, WEIGHTS: tiny_weights},
        writable="/mlcube_io2",
    )
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert "ignored --made_up" in done.stdout
    assert tumours(output) == {"BraTS-GLI-00001-000.nii.gz": True}
    assert "NCR=1 ED=2 ET=3" in done.stdout
    assert owners(output) == {(4321, 4321)}


def test_infer_uses_weights_that_are_mounted_with_a_manifest(
    run_image: Run, make_case: Callable[..., Path], tmp_path: Path, output: Path, tiny_weights: Path
) -> None:
    make_case(tmp_path / "scans", "BraTS-GLI-00001-000")
    mounts = {"/in": tmp_path / "scans", "/output": output, "/other": tiny_weights}
    done = run_image("infer", "--data_path=/in", "--output_path=/output", "--weights", "/other", mounts=mounts)
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert tumours(output) == {"BraTS-GLI-00001-000.nii.gz": True}


def test_nested_cases_of_2025_get_one_mask_each(
    run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    done = run_image(mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert tumours(output) == {f"{name}.nii.gz": True for name in THREE}
    assert owners(output) == {(4321, 4321)}


@pytest.mark.parametrize("damage", [cut_short, Path.unlink], ids=["cut short", "missing"])
def test_broken_case_among_three_gets_an_empty_mask_under_infer(
    damage: Callable[[Path], None], run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    damage(three_cases / THREE[1] / f"{THREE[1]}-t2f.nii.gz")
    mounts = {"/data": three_cases, "/output": output, WEIGHTS: tiny_weights}
    done = run_image("infer", "--data_path=/data", "--output_path=/output", mounts=mounts)
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout
    assert tumours(output) == {f"{name}.nii.gz": name != THREE[1] for name in THREE}
    assert owners(output) == {(4321, 4321)}


@pytest.mark.parametrize("damage", [cut_short, Path.unlink], ids=["cut short", "missing"])
def test_broken_case_among_three_gets_no_mask_without_arguments(
    damage: Callable[[Path], None], run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    damage(three_cases / THREE[1] / f"{THREE[1]}-t2f.nii.gz")
    done = run_image(mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert done.returncode == EXIT_CASE_FAILED, done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout
    assert tumours(output) == {f"{THREE[0]}.nii.gz": True, f"{THREE[2]}.nii.gz": True}
    assert owners(output) == {(4321, 4321)}


def t1c_of(case: Path) -> Path:
    return next(case.glob("*-t1c.nii.gz"))


def put_unit(path: Path, unit: int) -> None:
    """Change the unit of length in a scan's header."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[123] = unit
    path.write_bytes(gzip.compress(bytes(content)))


def put_gzip_field(path: Path, flag: bytes) -> None:
    """Give the gzip member a name (8) or a comment (16) of more than half a MiB; the file may be another user's."""
    whole = gzip.compress(gzip.decompress(path.read_bytes()))
    path.unlink()
    path.write_bytes(whole[:3] + flag + whole[4:10] + b"A" * 600_000 + b"\0" + whole[10:])


def make_thin(path: Path) -> None:
    """Store the scan as NIfTI-2 with an affine that is singular in the float32 of NIfTI-1."""
    image = nib.Nifti2Image(np.asarray(nib.load(path).dataobj), np.diag([1e-60, 1.0, 1.0, 1.0]))
    path.write_bytes(gzip.compress(image.to_bytes()))


def in_metres(case: Path) -> None:
    """The header of the t1c is in metres."""
    put_unit(t1c_of(case), 1)


def in_micrometres(case: Path) -> None:
    """The header of the t1c is in micrometres."""
    put_unit(t1c_of(case), 3)


def thin_t1c(case: Path) -> None:
    """The t1c has no grid that a mask can lie on."""
    make_thin(t1c_of(case))


def four_thin_scans(case: Path) -> None:
    """No scan has a grid that a mask can lie on."""
    for path in sorted(case.iterdir()):
        make_thin(path)


def long_gzip_name(case: Path) -> None:
    """The t1c's gzip member has a long name."""
    put_gzip_field(t1c_of(case), b"\x08")


def long_gzip_comment(case: Path) -> None:
    """The t1c's gzip member has a long comment."""
    put_gzip_field(t1c_of(case), b"\x10")


def folder_for_the_mask(case: Path) -> None:
    """A folder stands where the mask belongs."""
    (case.parents[1] / "output" / f"{case.name}.nii.gz").mkdir()


def metaimage(case: Path) -> None:
    """The scans are named like those of another format."""
    for path in sorted(case.iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", ".mha")))


def header_and_image(case: Path) -> None:
    """The scans are named like pairs of header and image files."""
    for path in sorted(case.iterdir()):
        path.with_name(path.name.replace(".nii.gz", ".img")).touch()
        path.rename(path.with_name(path.name.replace(".nii.gz", ".hdr")))


def two_t1c(case: Path) -> None:
    """A second file for a sequence lies beside the first."""
    (case / f"{case.name}-t1c.nii").write_bytes(b"another")


def without_rights(case: Path) -> None:
    """Nobody but the owner may look into the folder."""
    case.chmod(0o700)


def backup_copy(case: Path) -> None:
    """A copy of the case lies beside it."""
    shutil.copytree(case, case.parent / "backup" / case.name)


FAIL_ALONE = (
    *(in_metres, in_micrometres, thin_t1c, four_thin_scans, long_gzip_name, long_gzip_comment),
    *(folder_for_the_mask, metaimage, header_and_image),
)
NOT_CLEAR = (two_t1c, without_rights, backup_copy)


def name_of(damage: Callable[[Path], None]) -> str:
    return damage.__name__


@pytest.mark.parametrize("damage", [*FAIL_ALONE, *NOT_CLEAR], ids=name_of)
def test_a_hostile_case_among_three_fails_alone_under_infer(
    damage: Callable[[Path], None],
    run_image: Run,
    three_cases: Path,
    output: Path,
    tiny_weights: Path,
    neighbours: Callable[[], bool],
) -> None:
    damage(three_cases / THREE[1])
    mounts = {"/data": three_cases, "/output": output, WEIGHTS: tiny_weights}
    done = run_image("infer", "--data_path=/data", "--output_path=/output", mounts=mounts)
    assert (done.returncode, done.stderr) == (EXIT_DONE, ""), done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout
    masks = tumours_in_files(output)
    assert masks == {f"{name}.nii.gz": name != THREE[1] for name in THREE if f"{name}.nii.gz" in masks}
    assert neighbours()
    assert (output / f"{THREE[1]}.nii.gz").exists()


@pytest.mark.parametrize("damage", FAIL_ALONE, ids=name_of)
def test_a_hostile_case_among_three_fails_alone_without_arguments(
    damage: Callable[[Path], None],
    run_image: Run,
    three_cases: Path,
    output: Path,
    tiny_weights: Path,
    neighbours: Callable[[], bool],
) -> None:
    damage(three_cases / THREE[1])
    done = run_image(mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert (done.returncode, done.stderr) == (EXIT_CASE_FAILED, ""), done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout
    assert tumours_in_files(output) == {f"{THREE[0]}.nii.gz": True, f"{THREE[2]}.nii.gz": True}
    assert neighbours()


CALLS = pytest.mark.parametrize(
    "called", [(), ("infer", "--data_path=/input", "--output_path=/output")], ids=["without arguments", "infer"]
)


@CALLS
@pytest.mark.parametrize("field", [b"\x08", b"\x10"], ids=["name", "comment"])
def test_a_mask_damaged_after_a_run_is_made_again(
    called: tuple[str, ...],
    field: bytes,
    run_image: Run,
    three_cases: Path,
    output: Path,
    tiny_weights: Path,
    whole_masks: dict[str, bytes],
) -> None:
    mounts = {"/input": three_cases, "/output": output, WEIGHTS: tiny_weights}
    run_image(*called, mounts=mounts)
    put_gzip_field(output / f"{THREE[1]}.nii.gz", field)
    done = run_image(*called, mounts=mounts)
    assert (done.returncode, done.stderr) == (EXIT_DONE, ""), done.stdout + done.stderr
    assert "1 done, 2 kept" in done.stdout.splitlines()
    assert {path.name: path.read_bytes() for path in output.iterdir()} == whole_masks


@CALLS
def test_a_t1c_damaged_after_a_run_changes_no_mask(
    called: tuple[str, ...],
    run_image: Run,
    three_cases: Path,
    output: Path,
    tiny_weights: Path,
    whole_masks: dict[str, bytes],
) -> None:
    mounts = {"/input": three_cases, "/output": output, WEIGHTS: tiny_weights}
    run_image(*called, mounts=mounts)
    long_gzip_comment(three_cases / THREE[1])
    done = run_image(*called, mounts=mounts)
    assert (done.returncode, done.stderr) == (EXIT_DONE if called else EXIT_CASE_FAILED, ""), done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout.splitlines()
    assert {path.name: path.read_bytes() for path in output.iterdir()} == whole_masks


def test_a_prediction_with_unreadable_gzip_is_reported_in_one_line(
    run_image: Run, output: Path, whole_masks: dict[str, bytes]
) -> None:
    for name, content in whole_masks.items():
        (output / name).write_bytes(content)
    scored = run_image("htcnns", "evaluate", "/output", "/output", mounts={"/output": output})
    assert (scored.returncode, scored.stderr) == (EXIT_DONE, ""), scored.stdout
    put_gzip_field(output / f"{THREE[1]}.nii.gz", b"\x10")
    done = run_image("htcnns", "evaluate", "/output", "/output", mounts={"/output": output})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (InputError.exit_code, "", 1)
    assert f"{THREE[1]}.nii.gz: damaged" in done.stderr


def test_a_folder_in_place_of_a_picture_fails_only_its_case(
    run_image: Run,
    three_cases: Path,
    output: Path,
    tmp_path: Path,
    tiny_weights: Path,
    neighbours: Callable[[], bool],
) -> None:
    pictures = tmp_path / "pictures"
    (pictures / f"{THREE[1]}.png").mkdir(parents=True)
    pictures.chmod(0o777)
    done = run_image(
        *("--previews", "/pictures"),
        mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights},
        options=(f"--volume={pictures}:/pictures",),
    )
    assert (done.returncode, done.stderr) == (EXIT_CASE_FAILED, ""), done.stdout + done.stderr
    assert f"failed: {THREE[1]}" in done.stdout.splitlines()
    assert sorted(path.name for path in pictures.iterdir() if path.is_file()) == [f"{THREE[0]}.png", f"{THREE[2]}.png"]
    assert neighbours()


@CALLS
def test_line_breaks_in_scan_names_do_no_harm(
    called: tuple[str, ...],
    run_image: Run,
    three_cases: Path,
    output: Path,
    tiny_weights: Path,
    neighbours: Callable[[], bool],
) -> None:
    for path in sorted((three_cases / THREE[1]).iterdir()):
        path.rename(path.with_name(f"\n{path.name}"))
    done = run_image(*called, mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert (done.returncode, done.stderr) == (EXIT_DONE, ""), done.stdout + done.stderr
    assert tumours(output) == {f"{name}.nii.gz": True for name in THREE}
    assert neighbours()


@CALLS
def test_what_is_not_used_is_listed(
    called: tuple[str, ...], run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    names = ("BraTS-GLI-00004-000.zip", "x\ny.nii.gz", "t1.mha")
    for name in names:
        (three_cases / name).touch()
    (three_cases / "BraTS-GLI-00005-000").mkdir()
    done = run_image(*called, mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert (done.returncode, done.stderr) == (EXIT_DONE, ""), done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith("not used, 4 files: "))
    shown = ("BraTS-GLI-00004-000.zip", "x\\ny.nii.gz", "t1.mha", "BraTS-GLI-00005-000")
    assert [name for name in shown if name not in said] == []
    assert tumours(output) == {f"{name}.nii.gz": True for name in THREE}


@pytest.mark.parametrize("damage", NOT_CLEAR, ids=name_of)
def test_an_unclear_case_stops_the_run_without_arguments(
    damage: Callable[[Path], None], run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    damage(three_cases / THREE[1])
    done = run_image(mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights})
    assert (done.returncode, done.stdout) == (InputError.exit_code, ""), done.stdout + done.stderr
    assert THREE[1] in done.stderr
    assert tumours(output) == {}


def test_root_owns_the_masks_that_it_asked_for(
    run_image: Run, three_cases: Path, output: Path, tiny_weights: Path
) -> None:
    done = run_image(mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights}, user="0:0")
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert owners(output) == {(0, 0)}


def test_the_callers_environment_changes_nothing(
    run_image: Run, three_cases: Path, output: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('the torch of somebody else')\n")
    foreign = ("--env", "PYTHONPATH=/foreign", "--env", "HOME=/nowhere", "--workdir", "/foreign")
    mounts = {"/input": three_cases, "/output": output, "/foreign": tmp_path, WEIGHTS: tiny_weights}
    done = run_image(mounts=mounts, options=foreign)
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr


@pytest.mark.parametrize("called", [(), ("infer", "--data_path=/input", "--output_path=/output")], ids=["", "infer"])
def test_output_that_cannot_be_written_is_reported_before_any_work(
    called: tuple[str, ...], run_image: Run, three_cases: Path, output: Path
) -> None:
    done = run_image(*called, mounts={"/input": three_cases, "/output": output}, writable="")
    assert done.returncode == OutputError.exit_code, done.stdout + done.stderr
    assert "/output: cannot be written by user 4321" in done.stderr
    assert tumours(output) == {}


def test_report_and_pictures_go_to_a_second_mount(
    run_image: Run, three_cases: Path, output: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    reports.chmod(0o777)
    done = run_image(
        *("--report", "/reports/report.json", "--previews", "/reports"),
        mounts={"/input": three_cases, "/output": output, WEIGHTS: tiny_weights},
        options=(f"--volume={reports}:/reports",),
    )
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert {path.name for path in reports.iterdir()} == {"report.json", *(f"{name}.png" for name in THREE)}
    assert tumours(output) == {f"{name}.nii.gz": True for name in THREE}


def test_input_that_was_not_mounted_is_reported(run_image: Run, output: Path) -> None:
    done = run_image(mounts={"/output": output})
    assert done.returncode == InputError.exit_code, done.stdout + done.stderr
    assert "/input: does not exist" in done.stderr


def test_command_that_does_not_exist_is_refused(run_image: Run) -> None:
    done = run_image("segmnet")
    assert done.returncode == SettingsError.exit_code
    assert "unknown command 'segmnet'; known are infer and htcnns" in done.stderr


def test_help_and_the_htcnns_command_work(run_image: Run) -> None:
    assert "docker run IMAGE" in run_image("--help").stdout
    assert "segment" in run_image("htcnns", "--help").stdout
    assert run_image("weights", "verify", options=("--entrypoint", "htcnns")).returncode == EXIT_DONE


def test_shipped_weights_are_whole(run_image: Run) -> None:
    done = run_image("htcnns", "weights", "verify")
    assert done.returncode == EXIT_DONE, done.stderr
    assert done.stdout.count("good") >= 3


def test_demo_runs_with_the_shipped_weights(run_image: Run, output: Path) -> None:
    done = run_image("htcnns", "demo", "/output", mounts={"/output": output})
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert len(list((output / "masks").iterdir())) == 1


def test_real_flat_case_of_2021_shows_all_its_labels(run_image: Run, output: Path, data: Path) -> None:
    done = run_image(mounts={"/input": data / "brats" / "BraTS2021_00495", "/output": output})
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    assert tumours(output) == {"00495.nii.gz": True}
    assert numbers(output / "00495.nii.gz") == {0, 1, 2, 4}


def test_real_case_of_2023_gets_the_same_bytes_from_either_call(
    run_image: Run, tmp_path: Path, output: Path, data: Path
) -> None:
    name = "BraTS-GLI-00000-000"
    plain = tmp_path / "plain"
    plain.mkdir()
    plain.chmod(0o777)
    scans = data / "brats" / name
    inferred = run_image(
        "infer", "--data_path=/data", "--output_path=/output", mounts={f"/data/{name}": scans, "/output": output}
    )
    called = run_image(mounts={f"/input/{name}": scans, "/output": plain})
    assert (inferred.returncode, called.returncode) == (EXIT_DONE, EXIT_DONE), inferred.stderr + called.stderr
    assert tumours(output) == {f"{name}.nii.gz": True}
    assert numbers(output / f"{name}.nii.gz") == {0, 1, 2, 3}
    assert (output / f"{name}.nii.gz").read_bytes() == (plain / f"{name}.nii.gz").read_bytes()


def test_image_holds_code_weights_and_nothing_else(run_image: Run) -> None:
    listed = run_image("/opt/htcnns", options=("--entrypoint", "ls"), user="0:0").stdout.split()
    assert listed == ["LICENSE", "entrypoint.py", "htcnns", "pyproject.toml", "venv", "weights"]
    packages = run_image("-m", "pip", "list", options=("--entrypoint", "/opt/htcnns/venv/bin/python")).stdout
    assert "torch " in packages
    assert "pytest" not in packages
    assert "simpleitk" not in packages.lower()
    assert "torchvision" not in packages


def test_image_says_what_it_is_and_asks_for_the_gpu(inspect: Callable[[str], str]) -> None:
    labels = json.loads(inspect(".Config.Labels"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.title"] == project["name"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(
        json.loads(inspect(".Config.Env"))
    )
    assert json.loads(inspect(".Config.Entrypoint"))[0].startswith("/")
    assert json.loads(inspect(".Config.User")) == ""
