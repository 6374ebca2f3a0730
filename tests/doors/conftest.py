"""Inputs for the tests of several doors."""

from pathlib import Path

import pytest


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """A folder with one case of empty files, named as nnU-Net names them, without a dataset.json."""
    folder = tmp_path / "nnunet"
    folder.mkdir()
    for channel in range(4):
        (folder / f"glioma_7_{channel:04}.nii.gz").touch()
    return folder
