"""What several doors are asked to take."""

from pathlib import Path

import pytest


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """A folder of one case as nnU-Net names it, of empty files, without a dataset.json."""
    folder = tmp_path / "nnunet"
    folder.mkdir()
    for channel in range(4):
        (folder / f"glioma_7_{channel:04}.nii.gz").touch()
    return folder
