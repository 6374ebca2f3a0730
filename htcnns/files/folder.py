"""What lies in a folder that a person named, or an error that says why it cannot be listed."""

from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.places import absence, exists, is_folder


def entries(folder: Path, *, expected: str, remedy: str) -> list[Path]:
    """Every file and folder in the folder, sorted.

    Args:
        expected: the kind of folder, such as "one with label maps".
        remedy: advice where there is no such folder.

    Raises:
        InputError: there is no such folder, or it cannot be listed.
    """
    if not is_folder(folder):
        problem = "is a file" if exists(folder) else absence(folder)
        raise InputError(problem, place=folder, expected=expected, remedy=remedy)
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot be listed ({error.strerror or error})",
            place=folder,
            expected=expected,
            remedy="Make it readable.",
        ) from error
