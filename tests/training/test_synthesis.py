"""Synthetic heads: what is deterministic, what lies where, and what the series writes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.files.anatomy import read_anatomies
from htcnns.files.cases import find_cases
from htcnns.files.nifti import read_label_map, write_case_file
from htcnns.files.prepared_cases import CaseKind, prepared_path, read_prepared
from htcnns.files.scans import read_case
from htcnns.files.shapes import TumourShape, read_shapes
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import GLIOMA, LABEL_SETS, Label, Region, decode
from htcnns.training.synthesis.contrasts import T1C, T2F, T2W, Contrasts, draw_palette, draw_tissues
from htcnns.training.synthesis.fields import sampled
from htcnns.training.synthesis.heads import FRAME, NODES, Anatomy, Pose, anatomy_of, draw_pose, push_of, strip
from htcnns.training.synthesis.make import AFFINE, GRID, SyntheticHead, make_head
from htcnns.training.synthesis.paint import paint_tumours
from htcnns.training.synthesis.series import Material, head_name, prepare_series, write_phantoms, write_series
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.training.synthesis.tissues import Tissue, mask_of, tissues_of
from htcnns.training.synthesis.tumours import draw_tumours, fitted

SETTINGS = HeadSettings(healthy_share=0, quenched_share=0)
BRATS = LABEL_SETS["brats2021"]


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) < 1


def freesurfer_head() -> np.ndarray:
    """A head of nested ellipsoids with FreeSurfer's numbers, at 1 mm."""
    shape, centre = (170, 206, 170), (85.0, 103.0, 85.0)
    head = np.zeros(shape, np.uint16)
    for number, radii in ((515, (78, 96, 78)), (24, (72, 90, 72)), (3, (69, 87, 69)), (2, (65, 83, 65))):
        head[ball(shape, centre, radii)] = number
    head[ball(shape, centre, (9, 26, 9))] = 4
    return head


def tumour_shape() -> TumourShape:
    label_map = np.zeros((44, 44, 44), np.uint8)
    for label, radius in ((Label.ED, 20), (Label.ET, 11), (Label.NCR, 8)):
        label_map[ball((44, 44, 44), (21.5, 21.5, 21.5), (radius,) * 3)] = label
    return TumourShape(name="shape", label_map=label_map, spacing_mm=(1, 1, 1), corner_mm=(15.0, -10.0, -10.0))


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return anatomy_of(freesurfer_head())


@pytest.fixture(scope="module")
def head(anatomy: Anatomy) -> SyntheticHead:
    return make_head(np.random.default_rng(3), anatomy, [tumour_shape()], Contrasts(), settings=SETTINGS)


@pytest.fixture(scope="module")
def material(anatomy: Anatomy) -> Material:
    return Material(anatomies={"one": anatomy}, shapes=(tumour_shape(),), contrasts=Contrasts())


@pytest.mark.slow
def test_a_head_is_the_same_for_the_same_seed_and_differs_for_another(anatomy: Anatomy, head: SyntheticHead) -> None:
    again, other = (
        make_head(np.random.default_rng(seed), anatomy, [tumour_shape()], Contrasts(), settings=SETTINGS)
        for seed in (3, 4)
    )
    assert np.array_equal(again.sequences, head.sequences)
    assert np.array_equal(again.truth, head.truth)
    assert not np.array_equal(other.scans, head.scans)


@pytest.mark.slow
def test_a_head_is_z_scored_as_networks_see_cases(head: SyntheticHead) -> None:
    scans, truth = head.as_case()
    assert scans.shape == (4, *GRID)
    prepared = preprocess(scans.astype(np.float32), AFFINE, PreprocessSettings(window=(1, 1, 1)))
    assert np.array_equal(prepared.array, head.sequences)
    assert np.array_equal(truth[prepared.undo.box], head.truth)


@pytest.mark.slow
def test_the_truth_lies_in_the_brain(head: SyntheticHead) -> None:
    assert (head.truth > 0).sum() > 500
    assert not (head.truth[(head.sequences == 0).all(axis=0)] > 0).any()


def test_a_healthy_head_has_no_tumour() -> None:
    tumours = draw_tumours(
        np.random.default_rng(0), np.ones(FRAME, np.uint8), [], settings=HeadSettings(healthy_share=1)
    )
    assert not tumours.label_map.any()
    assert tumours.shapes == ()


@pytest.mark.parametrize("grown_share", [0.0, 1.0], ids=["real shape", "grown"])
def test_tumours_lie_mostly_in_the_brain_and_have_only_ncr_ed_and_et(anatomy: Anatomy, grown_share: float) -> None:
    rng = np.random.default_rng(5)
    healthy = _tissues(anatomy)
    settings = HeadSettings(healthy_share=0, grown_share=grown_share, several_share=0, small_share=0, dry_share=0)
    tumours = draw_tumours(rng, healthy, [tumour_shape()], settings=settings)
    whole = tumours.label_map > 0
    assert whole.sum() > 3000
    assert mask_of(healthy, Tissue.WHITE, Tissue.CORTEX)[whole].mean() > 0.6
    assert set(np.unique(tumours.label_map)) <= {0, Label.NCR, Label.ED, Label.ET}
    assert tumours.shapes == (() if grown_share else ("shape",))


def test_nothing_enhances_in_a_quenched_tumour(anatomy: Anatomy) -> None:
    settings = HeadSettings(healthy_share=0, quenched_share=1)
    tumours = draw_tumours(np.random.default_rng(1), _tissues(anatomy), [tumour_shape()], settings=settings)
    assert tumours.label_map.any()
    assert not (tumours.label_map == Label.ET).any()


def test_a_fitted_tumour_leaves_ventricles_and_skull_out() -> None:
    tissues = np.full(FRAME, Tissue.WHITE, np.uint8)
    tissues[60:70] = Tissue.VENTRICLE
    tissues[90:] = Tissue.BONE
    label_map = np.zeros(FRAME, np.uint8)
    label_map[50:110, 60:120, 60:100] = Label.ED
    result = fitted(np.random.default_rng(0), label_map, tissues, tissues != Tissue.BONE)
    assert not result[60:70].any()
    assert not result[90:].any()
    assert result[75, 90, 80] == Label.ED


def test_a_push_moves_tissue_away_from_the_tumour() -> None:
    label_map = np.zeros(FRAME, np.uint8)
    label_map[ball(FRAME, (80, 100, 76), (20, 20, 20))] = Label.NCR
    push = push_of(np.random.default_rng(2), label_map, label_map > 0)
    i, j, k = (n // 2 for n in NODES)
    assert push.shape == (3, *NODES)
    assert push[0, i + 5, j, k] < 0 < push[0, i - 5, j, k]  # what is seen there came from nearer to the tumour
    assert np.abs(push).max() <= 11


def test_without_a_push_voxels_stay_in_place() -> None:
    grid = np.meshgrid(*(np.linspace(0, n - 1, m) for n, m in zip(FRAME, NODES, strict=True)), indexing="ij")
    pose = Pose(np.stack(grid).astype(np.float32))
    places = pose.coordinates(np.zeros((3, *NODES), np.float32))
    assert places[:, 80, 100, 76] == pytest.approx((80, 100, 76), abs=1e-3)


def test_stripping_leaves_the_brain_and_little_else(anatomy: Anatomy) -> None:
    tissues = _tissues(anatomy)
    brain = strip(np.random.default_rng(7), tissues)
    inner = mask_of(tissues, Tissue.WHITE)
    assert brain[inner].mean() > 0.9
    assert brain.sum() < 1.4 * (inner | mask_of(tissues, Tissue.CORTEX, Tissue.VENTRICLE)).sum()


def test_numbers_of_freesurfer_become_tissues() -> None:
    found = tissues_of(np.array([0, 2, 41, 3, 4, 514, 9999], np.uint16))
    assert found.tolist() == [0, Tissue.WHITE, Tissue.WHITE, Tissue.CORTEX, Tissue.VENTRICLE, Tissue.VEIN, 0]


def test_drawn_tumours_can_be_seen() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        levels = draw_tissues(rng, Contrasts().healthy, settings=SETTINGS)
        palette = draw_palette(rng, Contrasts(), levels, settings=SETTINGS)
        white = levels[Tissue.WHITE]
        assert max(palette.edema[T2W] - white[T2W], palette.edema[T2F] - white[T2F]) >= 0.3
        assert palette.enhancing[T1C] >= white[T1C] + 0.6
        assert levels[Tissue.VENTRICLE, T2W] > levels[Tissue.CORTEX, T2W] > levels[Tissue.CORTEX, T2W] - 1


@pytest.mark.parametrize("field", ["healthy_share", "cavity_share", "thick_share"])
def test_a_share_beyond_one_is_refused(field: str) -> None:
    with pytest.raises(SettingsError, match=f"{field}: not a share; found 1.5, expected a number from 0 to 1. Use"):
        HeadSettings(**{field: 1.5})


def test_a_cavity_is_painted_as_fluid_where_the_tumour_was() -> None:
    """Runs only the painting of tumours, on a cavity in healthy white matter."""
    rng = np.random.default_rng(4)
    levels = draw_tissues(rng, Contrasts().healthy, settings=SETTINGS)
    palette = draw_palette(rng, Contrasts(), levels, settings=SETTINGS)
    size = (40, 40, 40)
    label_map = np.zeros(size, np.uint8)
    for label, radius in ((Label.ED, 15), (Label.ET, 11), (Label.RC, 9)):
        label_map[ball(size, (19.5, 19.5, 19.5), (radius,) * 3)] = label
    healthy = np.ones((4, *size), np.float32) * levels[Tissue.WHITE].astype(np.float32)[:, None, None, None]
    painted = paint_tumours(rng, healthy, label_map, palette=palette)
    inner = ball(size, (19.5, 19.5, 19.5), (6, 6, 6))
    np.testing.assert_allclose(painted[:, inner].mean(axis=1), palette.cavity, atol=0.2)
    assert np.abs(palette.cavity - levels[Tissue.VENTRICLE]).max() < 2


def test_a_head_after_surgery_has_a_cavity_and_no_necrosis(anatomy: Anatomy) -> None:
    settings = HeadSettings(healthy_share=0, several_share=0, cavity_share=1)
    label_map = tumour_shape().label_map
    resected = replace(tumour_shape(), name="after", label_map=np.where(label_map == Label.NCR, Label.RC, label_map))
    tumours = draw_tumours(np.random.default_rng(5), _tissues(anatomy), [tumour_shape(), resected], settings=settings)
    assert tumours.shapes == ("after",)
    assert (tumours.label_map == Label.RC).sum() > 1000
    assert not (tumours.label_map == Label.NCR).any()


def test_cavities_need_a_label_set_that_has_them(material: Material, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"labels: brats2021 has no number for a resection cavity; .*brats2024-gli"):
        write_series(material, tmp_path, [1], seed=1, settings=replace(SETTINGS, cavity_share=0.5), labels=BRATS)
    with pytest.raises(SettingsError, match="labels: brats2021 has no number for a resection cavity"):
        write_phantoms(tmp_path, [1], seed=1, labels=BRATS, cavity_share=0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_series_is_prepared_once_and_names_the_patients_of_its_tumours(material: Material, tmp_path: Path) -> None:
    settings = HeadSettings(healthy_share=0, grown_share=0)
    (card,) = prepare_series(material, tmp_path, [4], seed=1, settings=settings, patients={"shape": "patient"})
    assert (card.name, card.kind, card.patients) == (head_name(1, 4), CaseKind.SYNTHETIC, ("patient",))
    assert Region.RC not in card.known
    path = prepared_path(tmp_path, card.name)
    written = path.stat().st_mtime_ns
    prepare_series(material, tmp_path, [4], seed=1, settings=settings, patients={"shape": "patient"})
    assert path.stat().st_mtime_ns == written
    prepare_series(material, tmp_path, [4], seed=1, settings=HeadSettings(wider=2), patients={"shape": "patient"})
    assert path.stat().st_mtime_ns != written
    assert read_prepared(path).label_map.shape == read_prepared(path).array.shape[1:]


def test_tumours_of_left_out_patients_are_removed_under_any_of_their_names(anatomy: Anatomy) -> None:
    names = ("one", "two", "BraTS-GLI-00003-000", "BraTS-GLI-00004-000", "five")
    shapes = tuple(replace(tumour_shape(), name=name) for name in names)
    material = Material(anatomies={"a": anatomy}, shapes=shapes, contrasts=Contrasts())
    left = material.without({"two", "BraTS-GLI-00003", "known"}, names={"five": "known", "BraTS-GLI-00004": "two"})
    assert [shape.name for shape in left.shapes] == ["one"]
    assert left.anatomies == material.anatomies
    assert material.without(()) == material


@pytest.mark.slow
def test_a_series_is_written_as_cases_that_can_be_found_and_read(material: Material, tmp_path: Path) -> None:
    heads: list[SyntheticHead] = []
    names = write_series(
        material, tmp_path, [2], seed=1, settings=SETTINGS, labels=BRATS, on_head=lambda _, head: heads.append(head)
    )
    (case,) = find_cases(tmp_path)
    assert (case.name,) == names
    assert case.truth is not None
    prepared = preprocess(read_case(case).array, AFFINE, PreprocessSettings(window=(1, 1, 1)))
    assert np.array_equal(prepared.array, heads[0].sequences)
    truth = decode(read_label_map(case.truth).array, BRATS, where="")
    assert np.array_equal(truth[prepared.undo.box], heads[0].truth)
    assert set(np.unique(truth)) <= {0, *GLIOMA.labels}


def test_anatomies_are_read_in_lps_orientation_at_one_millimetre(tmp_path: Path) -> None:
    head = np.zeros((6, 8, 4), np.int16)
    head[1, 2, 3] = 502
    write_case_file(tmp_path / "one.nii.gz", head, np.diag([1.0, 1.0, 2.0, 1.0]))  # RAS, slices of 2 mm
    read = read_anatomies(tmp_path)["one"]
    assert read.shape == (6, 8, 8)
    assert np.argwhere(read == 502).tolist() == [[4, 5, 6], [4, 5, 7]]


def test_a_folder_without_anatomies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label map of a head"):
        read_anatomies(tmp_path)


@pytest.mark.parametrize("read", [read_anatomies, lambda folder: read_shapes(folder, BRATS)], ids=["anatomy", "shapes"])
def test_a_missing_or_unreadable_folder_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    with pytest.raises(InputError, match=r"none: does not exist; expected a folder of label maps\. Give the folder of"):
        read(tmp_path / "none")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)  # patched, because root may list everything
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\); .*Make it readable\.$"):
        read(tmp_path)


def test_shapes_are_read_from_files_and_packs(tmp_path: Path) -> None:
    label_map = np.zeros((24, 24, 31), np.uint8)
    label_map[10:12, 4:7, 20] = 4
    write_case_file(tmp_path / "a_seg.nii.gz", label_map, np.diag([-1.0, -1.0, 1.0, 1.0]))
    np.savez(tmp_path / "b.npz", names=["x", "empty"], label_maps=np.stack([label_map, 0 * label_map]))
    single, packed = read_shapes(tmp_path, BRATS)
    assert (single.name, packed.name) == ("a", "x")
    assert single.spacing_mm == (1, 1, 1)
    assert packed.spacing_mm == (10, 10, 5)  # because BraTS scans are 240 x 240 x 155 mm
    assert (single.label_map == Label.ET).sum() == 6
    assert single.corner_mm == (10 - 2 - 11.5, 4 - 2 - 11.5, 20 - 2 - 15)


def test_a_shape_with_an_unknown_number_is_refused(tmp_path: Path) -> None:
    write_case_file(tmp_path / "a.nii.gz", np.full((4, 4, 4), 9, np.uint8), np.eye(4))
    with pytest.raises(InputError, match=r"a\.nii\.gz: a: holds numbers that its label set does not have"):
        read_shapes(tmp_path, BRATS)


def test_a_pack_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(InputError, match="not a file of label maps"):
        read_shapes(tmp_path, BRATS)


def _tissues(anatomy: Anatomy) -> np.ndarray:
    """The tissues of the anatomy at a random place in the frame."""
    coordinates = draw_pose(np.random.default_rng(11), anatomy).coordinates()
    return sampled(anatomy.tissues[None].astype(np.float32), coordinates, nearest=True)[0].astype(np.uint8)
