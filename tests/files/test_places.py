"""Questions about paths, answered with links followed and nothing changed."""

from pathlib import Path

import pytest

from htcnns.files.places import exists, is_file, is_folder, is_inside, is_same, resolved


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with a file in it, a link to that folder, and a link that leads nowhere."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.txt").touch()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    (tmp_path / "nowhere").symlink_to("absent")
    return tmp_path


def test_a_resolved_path_follows_links_as_far_as_it_exists(linked: Path) -> None:
    assert resolved(linked / "link" / "new" / "y.txt") == resolved(linked) / "real" / "new" / "y.txt"


def test_a_relative_path_is_resolved_from_the_current_folder(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(linked)
    assert resolved(Path("link")) == resolved(linked) / "real"


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("real/x.txt", "real", True),
        ("link/x.txt", "real", True),
        ("real/new/deep", "link", True),
        ("real", "real", True),
        ("real/../other", "real", False),
        ("real2/x.txt", "real", False),
        (".", "real", False),
    ],
)
def test_inside_is_what_lies_below_once_links_are_followed(
    linked: Path, path: str, folder: str, expected: bool
) -> None:
    assert is_inside(linked / path, linked / folder) is expected


def test_a_link_is_the_same_as_what_it_leads_to(linked: Path) -> None:
    assert is_same(linked / "link", linked / "real")
    assert not is_same(linked / "real", linked)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("real", (True, True, False)),
        ("link", (True, True, False)),
        ("link/x.txt", (True, False, True)),
        ("nowhere", (False, False, False)),
        ("absent", (False, False, False)),
        ("real/x.txt/y", (False, False, False)),
    ],
)
def test_exists_is_folder_and_is_file_follow_links(linked: Path, name: str, expected: tuple[bool, bool, bool]) -> None:
    path = linked / name
    assert (exists(path), is_folder(path), is_file(path)) == expected
