"""Cubes with truth become pieces at 1 mm, cut to the known voxels, filed under their patient and packed once."""

from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.files.prepared_cases import CaseKind, prepared_path, read_cards, read_prepared
from htcnns.labels import LABEL_SETS, SEQUENCES, Label
from htcnns.training.cases import TruthRule
from htcnns.training.pieces import pack_pieces

RULE = TruthRule(LABEL_SETS["brats2021"])
NAMES = ["BraTS20_Training_001_lesion1", "BraTS20_Training_002_lesion2", "BraTS20_Training_002_lesion3"]


@pytest.fixture
def content() -> dict[str, np.ndarray]:
    """Cubes of 8 voxels of 2 x 2 x 1 mm per side: one known, one half known, one not; background on one side."""
    images = np.full((3, 4, 8, 8, 8), 80, np.uint8)
    images[:, :, 2:] = 96  # z-score 1
    label_maps = np.zeros((3, 8, 8, 8), np.uint8)
    label_maps[:, 4:6, 4:6, :4] = 4
    valid = np.ones((3, 8, 8, 8), bool)
    valid[1, :4] = valid[2] = False
    return {
        "names": np.array(NAMES),
        "images": images * valid[:, None],
        "label_maps": label_maps,
        "valid": valid,
        "spacing_mm": np.array([2.0, 2.0, 1.0]),
        "low": np.array(-5.0),
        "step": np.array(0.0625),
    }


def written(folder: Path, content: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "cubes.npz", **content)
    return folder / "cubes.npz"


def test_cubes_become_pieces_at_one_millimetre(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    cards = pack_pieces(written(tmp_path, content), tmp_path / "cache", RULE)
    assert [card.name for card in cards] == NAMES[:2]
    assert list(read_cards(tmp_path / "cache").values()) == list(cards)
    whole, half = cards
    assert (whole.kind, whole.patients, whole.sequences) == (CaseKind.PIECE, ("BraTS20_Training_001",), SEQUENCES)
    assert whole.shape == (16, 16, 8)
    assert half.shape == (7, 16, 8)  # the voxel beside the unknown half would be interpolated from it
    case = read_prepared(prepared_path(tmp_path / "cache", NAMES[0]))
    assert case.inside.all()
    assert not case.array[:, :4].any()
    values = case.table[0][case.array[0]]
    np.testing.assert_allclose(values[7:], 1, atol=0.05)  # cubic splines overshoot beside the edge
    assert set(np.unique(case.label_map)) == {0, Label.ET}
    assert (case.label_map == Label.ET).sum() == 4 * 4 * 4


def test_existing_pieces_are_not_packed_again(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    path = written(tmp_path, content)
    pack_pieces(path, tmp_path / "cache", RULE)
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "cache").iterdir()}
    assert len(pack_pieces(path, tmp_path / "cache", RULE)) == 2
    assert {each: each.stat().st_mtime_ns for each in (tmp_path / "cache").iterdir()} == before


def test_the_patient_can_be_given(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    patients = {"BraTS20_Training_002": "BraTS2021_01426"}
    cards = pack_pieces(written(tmp_path, content), tmp_path / "cache", RULE, patients=patients)
    assert [card.patients[0] for card in cards] == ["BraTS20_Training_001", "BraTS2021_01426"]


def test_an_unknown_number_is_refused(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"lesion1: holds numbers .*found \[4\]"):
        pack_pieces(written(tmp_path, content), tmp_path / "cache", TruthRule(LABEL_SETS["brats2023"]))


def test_cubes_without_a_known_voxel_are_refused(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    content["valid"][:] = False
    with pytest.raises(InputError, match=r"cubes\.npz: holds no cube with a known voxel"):
        pack_pieces(written(tmp_path, content), tmp_path / "cache", RULE)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    content["images"] = content["images"][:, :3]
    with pytest.raises(InputError, match=r"images of 3 x 3 x 8 x 8 x 8.*expected images of 3 x 4 x 8 x 8 x 8"):
        pack_pieces(written(tmp_path, content), tmp_path / "cache", RULE)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cubes\.npz: is not a file of cubes"):
        pack_pieces(written(tmp_path, {"images": np.zeros(3)}), tmp_path / "cache", RULE)
