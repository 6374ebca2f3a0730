"""Cases that a list names: by their folders, by their names in the input, or by their files."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.case import Case
from htcnns.files.cases import Search, search
from htcnns.files.list_rows import Row, read_rows
from htcnns.files.names.brats import Convention
from htcnns.files.places import absence, is_file, is_folder, resolved
from htcnns.labels import Sequence

_REMEDY = "Correct the row or take it out."


def search_list(
    path: Path, root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()
) -> Search:
    """The cases that a list names, in its order; a relative path in it is relative to the list's own folder.

    A row's text that is no folder is the name of a case in `root`, which is searched only if needed. A row that is
    unclear or finds nothing becomes a case with a fault. Rows that name the same case become one case with a fault;
    rows that name the same file each become a case with a fault.

    Args:
        path: list in a format that `files.list_rows` reads.
        channels, skip: as for `files.cases.search`.

    Raises:
        InputError: the list cannot be read, or names no case.
    """
    rows = read_rows(path)

    def search_below(folder: Path) -> Search:
        return search(folder, channels=channels, skip=skip)

    @cache
    def of_root() -> dict[str, Case]:
        return {case.name: case for case in search_below(root).cases}

    found = [_placed(path, row, _search_row(path, row, of_root, search_below)) for row in rows]
    cases = _each_once(path, rows, [each.cases[0] for each in found])
    return Search(
        tuple(cases),
        tuple(leftover for each in found for leftover in each.leftovers),
        frozenset().union(*(each.folders for each in found)),
    )


def _search_row(
    path: Path, row: Row, of_root: Callable[[], dict[str, Case]], search_below: Callable[[Path], Search]
) -> Search:
    """The result for one row: a single case, perhaps with a fault."""
    try:
        if row.files:
            return _of_files(path.parent, row)
        folder = path.parent / row.case
        if is_folder(folder):
            return _the_only_case(folder, search_below(folder))
        return _of_name(row.case, folder, of_root())
    except InputError as error:
        return _alone(_nameable(row), error, path.parent)


def _of_files(home: Path, row: Row) -> Search:
    """The case made of the files that a row names."""
    name = row.case
    if name.startswith(".") or any(mark in name for mark in "/\0"):
        raise InputError(
            "cannot name a case", place=name, expected="one that a file can have, without a leading dot", remedy=_REMEDY
        )
    files = {sequence: home / text for sequence, text in row.files.items()}
    for sequence, file in files.items():
        if not is_file(file):
            problem = "is a folder" if is_folder(file) else absence(file)
            raise InputError(problem, place=(sequence, file), expected="a NIfTI file", remedy=_REMEDY)
    if len({resolved(file) for file in files.values()}) < len(files):
        raise InputError("one file for two sequences", place=name, expected="a file for each", remedy=_REMEDY)
    case = Case(name=name, files=files, naming=Convention.FREE, folder=next(iter(files.values())).parent, flat=False)
    return Search((case,), (), frozenset(resolved(file.parent) for file in files.values()))


def _the_only_case(folder: Path, found: Search) -> Search:
    if len(found.cases) > 1:
        one, other, *_ = (case.name for case in found.cases)
        raise InputError(
            "holds several cases",
            place=folder,
            found=f"{len(found.cases)}, such as {one} and {other}",
            expected="one for each row",
            remedy="Give each case's folder its own row, or name the cases.",
        )
    return found


def _of_name(name: str, folder: Path, of_root: dict[str, Case]) -> Search:
    """The case of that name in the input."""
    if name not in of_root:
        raise InputError(
            "not found",
            place=name,
            found=f"no folder {folder}, and no case of that name among the {len(of_root)} of the input",
            expected="a folder that holds a case, or the name of a case in the input",
            remedy=_REMEDY,
        )
    case = of_root[name]
    return Search((case,), (), frozenset({resolved(case.folder)}))


def _placed(path: Path, row: Row, found: Search) -> Search:
    """The same result, with the list and the row added to the place of a fault."""
    case = found.cases[0]
    fault = case.fault and case.fault.inside(path, row.where, kind=InputError)
    return replace(found, cases=(replace(case, fault=fault),))


def _each_once(path: Path, rows: list[Row], cases: list[Case]) -> Iterator[Case]:
    """The cases, each name once, with a fault where another row has the same name or file."""
    first: dict[object, int] = {}
    faults: dict[int, InputError] = {}
    for n, case in enumerate(cases):
        for key in (case.name, *map(resolved, case.files.values())):
            other = first.setdefault(key, n)
            if other != n:
                faults[n] = faults[other] = _duplicate(path, key, rows[other], rows[n])
    for n, case in enumerate(cases):
        if first[case.name] == n:
            yield replace(case, fault=faults.get(n, case.fault))


def _duplicate(path: Path, key: object, row: Row, other: Row) -> InputError:
    return InputError(
        f"{key} is named twice",
        place=path,
        found=f"{row.where} and {other.where}",
        expected="each case and each file once",
        remedy="Take one of the two out, or give it another name.",
    )


def _alone(name: str, fault: InputError, folder: Path) -> Search:
    case = Case(name=name, files={}, naming=Convention.FREE, folder=folder, flat=False, fault=fault)
    return Search((case,), ())


def _nameable(row: Row) -> str:
    """A name for a case of which only the row is known."""
    return Path(row.case).name.replace("\0", "").lstrip(".") or row.where
