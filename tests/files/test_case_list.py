"""Lists of cases as text, CSV and JSON, with empty files as scans."""

import json
import os
import time
from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.case import Case
from htcnns.files.case_list import search_list
from htcnns.labels import SEQUENCES, Sequence

NAMES = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "BraTS-GLI-00003-000")
HEADER = "case,t1n,t1c,t2w,t2f\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Input folder of three cases, two of them in a subfolder."""
    for name, folder in zip(NAMES, ("", "ward/", "ward/"), strict=True):
        home = tmp_path / "in" / folder / name
        home.mkdir(parents=True)
        for sequence in SEQUENCES:
            (home / f"{name}-{sequence}.nii.gz").touch()
    return tmp_path / "in"


def _list(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def _cases(path: Path, root: Path) -> tuple[Case, ...]:
    return search_list(path, root).cases


def _faults(path: Path, root: Path) -> list[str]:
    return [str(case.fault) if case.fault else "" for case in _cases(path, root)]


def _files_of(name: str, ward: str) -> dict[str, str]:
    return {str(sequence): f"../in/{ward}/{name}/{name}-{sequence}.nii.gz" for sequence in SEQUENCES}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "# of May\n\n../in/ward/{2}\r\n  {0}  \n"),
        ("list", "../in/ward/{2}/\n{0}"),
        ("l.csv", "\ufeffCase\r\n../in/ward/{2}\r\n\r\n{0}\r\n"),
        ("l.csv", "case,t1n,t1c,t2w,t2f\n../in/ward/{2},,,,\n{0},,,,\n"),
        ("l.json", '["../in/ward/{2}", {{"case": "{0}", "t1n": null}}]'),
    ],
    ids=["text", "without ending", "csv of names", "csv with empty cells", "json"],
)
def test_folders_beside_the_list_and_names_in_the_input_are_found_in_the_lists_order(
    tmp_path: Path, root: Path, name: str, content: str
) -> None:
    cases = _cases(_list(tmp_path / "lists", name, content.format(*NAMES)), root)
    assert [case.name for case in cases] == [NAMES[2], NAMES[0]]
    assert all(case.fault is None and case.missing == () for case in cases)


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path, root: Path) -> None:
    (case,) = _cases(_list(tmp_path / "lists", "l.txt", f"{root}/ward/{NAMES[1]}"), tmp_path / "no such input")
    assert (case.name, case.fault) == (NAMES[1], None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_may_use_any_spelling_of_the_sequences(tmp_path: Path, root: Path, separator: str) -> None:
    files = _files_of(NAMES[1], "ward")
    header = separator.join(("case", "FLAIR", "t1ce", "T1", " t2 "))
    row = separator.join(('"Smith, J; 7"', files["t2f"], files["t1c"], files["t1n"], files["t2w"]))
    (case,) = _cases(_list(tmp_path / "lists", "l.csv", f"{header}\n{row}\n"), root)
    assert case.name == "Smith, J; 7"
    assert {sequence: path.name for sequence, path in case.files.items()} == {
        sequence: f"{NAMES[1]}-{sequence}.nii.gz" for sequence in SEQUENCES
    }


def test_an_empty_cell_is_a_missing_sequence(tmp_path: Path, root: Path) -> None:
    entry = {"case": "P7"} | _files_of(NAMES[1], "ward") | {"t2f": ""}
    (case,) = _cases(_list(tmp_path / "lists", "l.json", json.dumps([entry])), root)
    assert (case.missing, case.fault) == ((Sequence.T2F,), None)


def test_a_row_that_leads_to_no_clear_case_has_a_fault_with_its_line(tmp_path: Path, root: Path) -> None:
    spoilt = root / "ward" / NAMES[1] / f"{NAMES[1]}-t1c.nii"
    spoilt.touch()
    path = _list(tmp_path / "lists", "l.txt", f"{NAMES[0]}\n# x\nP9\n../in/ward\n../in/ward/{NAMES[1]}\n../lists\n")
    faults = _faults(path, root)
    assert faults[0] == ""
    assert faults[1].startswith(
        f"{path}: line 3: P9: not found; found no folder {tmp_path}/lists/P9, and no case of that name among the 3 of "
        "the input, expected "
    )
    assert faults[2].startswith(f"{path}: line 4: {tmp_path}/lists/../in/ward: holds several cases; found 2, such as ")
    assert f"{path}: line 5: {tmp_path}/lists/../in/ward/{NAMES[1]}: two files for t1c" in faults[3]
    assert faults[4].startswith(f"{path}: line 6: {tmp_path}/lists/../lists: no case; found 1 .txt")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"t1c": "gone.nii.gz"}, "line 3: t1c: {home}/gone.nii.gz: does not exist; expected a NIfTI file"),
        ({"t1c": "."}, "line 3: t1c: {home}: is a folder"),
        ({"t1c": f"../in/ward/{NAMES[1]}/{NAMES[1]}-t1n.nii.gz"}, "line 3: P7: one file for two sequences"),
        ({"case": "../P7"}, "line 3: ../P7: cannot name a case"),
        ({"case": ".P7"}, "line 3: .P7: cannot name a case"),
    ],
    ids=["no file", "folder", "one file twice", "path as name", "hidden"],
)
def test_an_impossible_row_of_files_is_a_fault_with_its_line(
    tmp_path: Path, root: Path, change: dict[str, str], says: str
) -> None:
    cells = {"case": "P7"} | _files_of(NAMES[1], "ward") | change
    rows = f"{NAMES[0]},,,,\n{','.join(cells.values())}\n"
    path = _list(tmp_path / "lists", "l.csv", HEADER + rows)
    assert _faults(path, root)[0] == ""
    assert f"{path}: {says.format(home=path.parent)}" in _faults(path, root)[1]


@pytest.mark.parametrize(
    ("rows", "n_cases", "what"),
    [
        (f"{NAMES[0]},,,,\n../in/{NAMES[0]},,,,\n", 1, NAMES[0]),
        (
            f"P7,{','.join(_files_of(NAMES[1], 'ward').values())}\nP8,,../in/ward/{NAMES[1]}/{NAMES[1]}-t1c.nii.gz,,\n",
            2,
            "",
        ),
    ],
    ids=["one name", "one file"],
)
def test_a_case_or_a_file_that_is_named_twice_is_refused_with_both_lines(
    tmp_path: Path, root: Path, rows: str, n_cases: int, what: str
) -> None:
    path = _list(tmp_path / "lists", "l.csv", HEADER + rows)
    faults = _faults(path, root)
    assert len(faults) == n_cases
    assert all(what in fault and "is named twice; found line 2 and line 3" in fault for fault in faults)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.txt", "# nothing\n\n", "names no case"),
        ("l.csv", "", "names no case"),
        ("l.csv", "case\n", "names no case"),
        ("l.csv", "t1c,t1n\na,b\n", "line 1: no column case"),
        ("l.csv", "case,t1c,t1ce\n", "line 1: a column occurs twice"),
        (
            "l.csv",
            "case,flar\n",
            "line 1: unknown column 'flar'; expected one of case, t1n, t1c, t2w, t2f. Did you mean 'flair'?",
        ),
        ("l.csv", 'case\n"a\nb"\nc,d\n', "line 4: wrong number of cells; found 2, expected 1"),
        ("l.csv", 'case\n"a"b\n', "line 2: cannot be read as CSV"),
        ("l.csv", "case,t1c\n,x\n", "line 2: no name"),
        ("l.json", "{}", "is not a list"),
        ("l.json", "[", "cannot be read as JSON"),
        ("l.json", '["a", 7]', "entry 2: is not a case; found 7"),
        ("l.json", '[{"case": "a", "t1c": 7}]', "entry 1: is not a case"),
        ("l.json", '[{"t1c": "a"}]', "entry 1: no column case"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_the_line(
    tmp_path: Path, root: Path, name: str, content: str, says: str
) -> None:
    path = _list(tmp_path / "lists", name, content)
    with pytest.raises(InputError) as refused:
        search_list(path, root)
    assert f"{path}: {says}" in str(refused.value)


def test_a_list_that_is_a_pipe_or_absent_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file"):
        search_list(tmp_path / "pipe", tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        search_list(tmp_path / "none", tmp_path)


def test_a_name_that_is_not_utf8_leads_to_its_folder(tmp_path: Path, root: Path) -> None:
    folder = (root / "ward" / NAMES[1]).rename(tmp_path / os.fsdecode(b"caf\xe9"))
    (tmp_path / "l.txt").write_bytes(os.fsencode(folder.name) + b"\n")
    (case,) = _cases(tmp_path / "l.txt", root)
    assert (case.fault, case.folder) == (None, folder)


def test_thousands_of_names_take_one_search(tmp_path: Path) -> None:
    """The flat input is listed once for all names; a search for each row would take hours."""
    flat = tmp_path / "flat"
    flat.mkdir()
    names = [f"BraTS-GLI-{n:05d}-000" for n in range(2000)]
    for name in names:
        (flat / f"{name}-t1c.nii.gz").touch()
    path = _list(tmp_path / "lists", "l.txt", "\n".join(names))
    began = time.perf_counter()
    assert [case.name for case in _cases(path, flat)] == names
    assert time.perf_counter() - began < 5
