"""Reading and writing NIfTI: against nibabel, byte for byte where it matters, and on files broken in many ways."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from htcnns.errors import InputError, OutputError
from htcnns.files.nifti import (
    STANDARD_AFFINE,
    STANDARD_SHAPE,
    is_own_map,
    read_label_map,
    read_labels,
    read_volume,
    write_case_file,
    write_empty_mask,
    write_label_map,
    write_map,
)
from htcnns.labels import LABEL_SETS, Label, LabelSet, encode

SHAPE = (5, 6, 7)
OBLIQUE = np.array([[-0.9, 0.1, 0.05, 80.5], [0.12, -1.1, 0.1, -30.0], [0.02, 0.1, 2.0, 12.25], [0, 0, 0, 1]])
NUMBERS = LABEL_SETS["brats2023"]
TYPES = ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "i8", "u8", "f4", ">f4", "f8"]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A t1c with everything in its header that must not be copied into a mask."""
    header = nib.Nifti1Header()
    header["descrip"], header["aux_file"], header["intent_name"] = b"Doe^John", b"doe.par", b"1970-01-01"
    header["db_name"], header["cal_max"], header["cal_min"] = b"hospital", 99.0, 1.0
    header.set_xyzt_units("mm", "sec")
    image = nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(SHAPE), OBLIQUE, header)
    image.set_sform(OBLIQUE, code=4)
    image.set_qform(OBLIQUE, code=2, strip_shears=True)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Doe^John"))
    nib.save(image, tmp_path / "t1c.nii.gz")
    return tmp_path / "t1c.nii.gz"


@pytest.fixture
def label_map() -> np.ndarray:
    return (np.arange(210).reshape(SHAPE) % 4).astype(np.uint8)


def _file(path: Path, change: Callable[[bytearray], None], *, content: bytes = b"") -> Path:
    """An uncompressed file of 5 x 6 x 7 int16 voxels whose bytes `change` edits, followed by `content`."""
    image = nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(SHAPE), np.diag([1.0, 1, 1, 1]))
    image.set_qform(None, code=0)
    block = bytearray(image.to_bytes())
    change(block)
    path.write_bytes(bytes(block) + content)
    return path


def _put(kind: str, offset: int, *values: float) -> Callable[[bytearray], None]:
    return lambda block: struct.pack_into(f"<{len(values)}{kind}", block, offset, *values)


def _refusal(path: Path) -> str:
    """What the error begins with if the file is refused; empty if it is read."""
    try:
        read_volume(path)
    except InputError as error:
        return str(error).partition(": ")[0]
    return ""


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", TYPES)
def test_each_number_type_reads_as_nibabel_reads_it(tmp_path: Path, dtype: str, ending: str) -> None:
    image = nib.Nifti1Image(np.arange(210).reshape(SHAPE).astype("u1").astype(dtype), OBLIQUE, dtype=np.dtype(dtype))
    nib.save(image, tmp_path / f"x{ending}")
    volume = read_volume(tmp_path / f"x{ending}")
    assert (volume.array.dtype, volume.array.shape) == (np.float32, SHAPE)
    np.testing.assert_array_equal(volume.array, image.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(volume.affine, nib.load(tmp_path / f"x{ending}").affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_slope_and_intercept_are_applied(tmp_path: Path, kind: type) -> None:
    image = kind(np.linspace(-1000, 3000, 210).reshape(SHAPE), OBLIQUE)
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "x.nii.gz")
    expected = nib.load(tmp_path / "x.nii.gz").get_fdata(dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii.gz").array, expected)


def test_a_slope_of_zero_means_no_scaling(tmp_path: Path) -> None:
    volume = read_volume(_file(tmp_path / "x.nii", _put("f", 112, 0.0, 7.0)))
    assert volume.array.max() == 209


@pytest.mark.parametrize(
    ("sform_code", "qform_code", "origin"), [(1, 1, 50.0), (0, 1, 70.0), (2, 0, 50.0)], ids=["both", "qform", "sform"]
)
def test_the_sform_is_preferred_to_the_qform(tmp_path: Path, sform_code: int, qform_code: int, origin: float) -> None:
    image = nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(SHAPE), None)
    image.set_sform(nib.affines.from_matvec(np.eye(3), [50, 0, 0]), code=sform_code)
    image.set_qform(nib.affines.from_matvec(np.eye(3), [70, 0, 0]), code=qform_code)
    nib.save(image, tmp_path / "x.nii")
    assert read_volume(tmp_path / "x.nii").affine[0, 3] == origin


def test_axes_of_length_one_at_the_end_are_dropped(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(*SHAPE, 1, 1), OBLIQUE), tmp_path / "x.nii.gz")
    assert read_volume(tmp_path / "x.nii.gz").array.shape == SHAPE


def test_gzip_in_several_members_is_read(tmp_path: Path, scan: Path) -> None:
    content = gzip.decompress(scan.read_bytes())
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii.gz").array, read_volume(scan).array)


def test_a_file_of_more_than_one_piece_is_read_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.integers(-999, 999, (101, 103, 107)).astype(np.int16)  # 2.1 pieces of one MiB
    write_case_file(tmp_path / "x.nii.gz", array, np.eye(4))
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii.gz").array, array)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_put("h", 40, 4, 5, 6, 7, 2), r"4-D, 5 x 6 x 7 x 2; expected I x J x K"),
        (_put("h", 40, 2, 5, 6), r"2-D, 5 x 6; expected"),
        (_put("h", 40, 3, 5, 0, 7), r"empty, 5 x 0 x 7 voxels"),
        (_put("h", 40, 3, 5, -6, 7), r"empty, 5 x -6 x 7 voxels"),
        (_put("h", 40, 3, 30000, 30000, 30000), r"promises 30000 x 30000 x 30000 voxels, 100582\.8 GiB"),
        (_put("f", 108, 3e9), r"promises .* 2\.8 GiB; expected at most 2 GiB"),
        (_put("f", 108, np.nan), r"not a valid NIfTI header"),
        (_put("h", 70, 128, 24), r"voxels are RGB or complex"),
        (_put("h", 70, 32, 64), r"voxels are RGB or complex \(complex64\)"),
        (_put("h", 70, 1, 1), r"not a valid NIfTI header \(data code 1 not supported"),
        (_put("h", 70, 999), r"not a valid NIfTI header \(data code 999 not recognized"),
        (_put("f", 280, np.nan), r"affine holds NaN or infinity"),
        (_put("f", 296, np.inf), r"affine holds NaN or infinity"),
        (_put("f", 280, 0.0), r"affine is singular"),
        (_put("f", 280, 1.0, 0, 0, 0, 1.0, 0, 0, 0), r"affine is singular"),
        (_put("f", 280, 1000.0), r"5000 x 6 x 7 mm in size; expected at most 512 mm"),
        (_put("b", 123, 1), r"its header is in metres; expected mm\. .* set the unit of its header \(xyzt_units\)"),
        (_put("b", 123, 3 + 8), r"its header is in micrometres; expected mm"),
        (_put("f", 112, 1.0, np.nan), r"not a valid NIfTI header \(Valid slope but invalid intercept"),
        (lambda block: block.__setitem__(slice(344, 348), b"ni1\0"), r"half of a \.hdr/\.img pair"),
        (lambda block: block.__setitem__(slice(344, 348), b"nope"), r"not a valid NIfTI header \(magic string"),
        (
            lambda block: block.__setitem__(slice(0, 4), b"DICM"),
            r"not NIfTI; found b'DICM', expected a NIfTI header's length",
        ),
        (lambda block: block.__delitem__(slice(200, None)), r"cut short; found 200 of 348 header bytes"),
        (lambda block: block.__delitem__(slice(-11, None)), r"cut short; found 204 of 210 voxels"),
        (lambda block: block.__delitem__(slice(352, None)), r"cut short; found 0 of 210 voxels"),
        (lambda block: block.clear(), "is empty; found 0 bytes"),
        (lambda block: block.__setitem__(slice(352, None), bytes(420)), r"empty: every voxel is 0"),
        (lambda block: block.__setitem__(slice(352, None), b"\x07\0" * 210), r"constant: every voxel is 7"),
    ],
    ids=[
        *("4-D", "2-D", "zero axis", "negative axis", "too large", "offset too large", "offset nan", "rgb", "complex"),
        *("bits", "unknown type", "affine nan", "affine inf", "zero column", "equal rows", "micrometres"),
        *("unit of metres", "unit of micrometres and seconds"),
        *("intercept nan", "pair", "magic", "no nifti", "short header", "short voxels", "no voxels", "no bytes"),
        *("all zero", "constant"),
    ],
)
def test_a_scan_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, change: Callable[[bytearray], None], says: str
) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/x\.nii: .*{says}"):
        read_volume(_file(tmp_path / "x.nii", change))


@pytest.mark.parametrize("unit", [0, 2, 2 + 8, 4], ids=["none", "mm", "mm and seconds", "nonsense"])
def test_files_in_millimetres_or_without_a_unit_are_read(tmp_path: Path, unit: int) -> None:
    assert read_volume(_file(tmp_path / "x.nii", _put("b", 123, unit))).array.max() == 209


def test_a_label_map_in_another_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.nii: its header is in metres"):
        read_label_map(_file(tmp_path / "x.nii", _put("b", 123, 1)))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_and_infinity_are_counted(tmp_path: Path, dtype: str) -> None:
    array = np.arange(210, dtype=dtype).reshape(SHAPE)
    array[0, 0, :3], array[1, 1, :2] = np.nan, -np.inf
    write_case_file(tmp_path / "x.nii.gz", array, OBLIQUE)
    with pytest.raises(InputError, match=r"3 voxels are NaN and 2 infinite, of 210; expected none"):
        read_volume(tmp_path / "x.nii.gz")


def test_values_too_large_for_float32_count_as_infinite(tmp_path: Path) -> None:
    write_case_file(tmp_path / "x.nii.gz", np.full(SHAPE, 1e300), OBLIQUE)
    with pytest.raises(InputError, match=r"0 voxels are NaN and 210 infinite"):
        read_volume(tmp_path / "x.nii.gz")


def test_names_that_misstate_the_compression_are_refused(tmp_path: Path, scan: Path) -> None:
    plain = _file(tmp_path / "plain.nii", lambda _: None)
    (tmp_path / "plain.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "packed.nii").write_bytes(scan.read_bytes())
    with pytest.raises(InputError, match=r"plain\.nii\.gz: named \.gz but is not gzip"):
        read_volume(tmp_path / "plain.nii.gz")
    with pytest.raises(InputError, match=r"packed\.nii: named \.nii but is gzip.*Rename it to packed\.nii\.gz"):
        read_volume(tmp_path / "packed.nii")


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        (slice(0, 60), "cut short"),
        (slice(0, -9), "cut short; the gzip data end too early"),
        (slice(0, -4), "cut short; the gzip data end too early"),
        (slice(0, 2), "cut short"),
    ],
    ids=["in the header", "in the voxels", "in the checksum", "in the magic"],
)
def test_cut_gzip_is_refused(tmp_path: Path, scan: Path, keep: slice, says: str) -> None:
    (tmp_path / "x.nii.gz").write_bytes(scan.read_bytes()[keep])
    with pytest.raises(InputError, match=rf"x\.nii\.gz: {says}"):
        read_volume(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("shape", [SHAPE, (101, 103, 107)], ids=["small", "more than one piece"])
def test_a_wrong_checksum_is_refused(tmp_path: Path, rng: np.random.Generator, shape: tuple[int, int, int]) -> None:
    write_case_file(tmp_path / "x.nii.gz", rng.integers(-999, 999, shape).astype(np.int16), OBLIQUE)
    content = bytearray((tmp_path / "x.nii.gz").read_bytes())
    content[-6] ^= 1
    (tmp_path / "x.nii.gz").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"x\.nii\.gz: damaged \(.*Copy or download it again"):
        read_volume(tmp_path / "x.nii.gz")


def test_gzip_is_unpacked_no_further_than_the_header_promises(tmp_path: Path) -> None:
    plain = _file(tmp_path / "bomb.nii", lambda _: None, content=bytes(2**26))
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    tracemalloc.start()
    assert read_volume(tmp_path / "bomb.nii.gz").array.max() == 209
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(InputError, match=r"absent\.nii\.gz: does not exist; expected a NIfTI file"):
        read_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(InputError, match=r"folder\.nii\.gz: is not a regular file"):
        read_volume(tmp_path / "folder.nii.gz")


def test_a_file_without_read_permission_is_refused(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"t1c\.nii\.gz: cannot be read \(Permission denied\)\. Make it readable"):
        read_volume(scan)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_header_is_either_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    def change(block: bytearray) -> None:
        for position, value in changes:
            block[position] = value

    path = _file(tmp_path / "x.nii", change)
    assert _refusal(path) in ("", str(path))


@pytest.mark.parametrize("dtype", [*TYPES, "scaled"])
def test_label_maps_of_any_type_become_uint8(tmp_path: Path, label_map: np.ndarray, dtype: str) -> None:
    image = nib.Nifti1Image(label_map.astype("f8" if dtype == "scaled" else dtype), OBLIQUE, dtype="compat")
    image.header.set_data_dtype(np.int16 if dtype == "scaled" else np.dtype(dtype))
    nib.save(image, tmp_path / "seg.nii.gz")
    volume = read_label_map(tmp_path / "seg.nii.gz")
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array, label_map)


@pytest.mark.parametrize("value", [1.5, -1.0, 256.0, np.nan, np.inf])
def test_values_that_are_not_labels_are_refused_and_counted(
    tmp_path: Path, label_map: np.ndarray, value: float
) -> None:
    values = label_map.astype(np.float32)
    values[0, 0, :2] = value
    write_case_file(tmp_path / "seg.nii.gz", values, OBLIQUE)
    with pytest.raises(InputError, match=r"seg\.nii\.gz: 2 voxels are not labels; expected whole numbers"):
        read_label_map(tmp_path / "seg.nii.gz")


def test_an_empty_truth_is_a_label_map(tmp_path: Path) -> None:
    write_case_file(tmp_path / "seg.nii.gz", np.zeros(SHAPE, np.int16), OBLIQUE)
    assert not read_label_map(tmp_path / "seg.nii.gz").array.any()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_label_map_comes_back_on_the_grid_of_the_scan(
    tmp_path: Path, scan: Path, label_map: np.ndarray, order: str
) -> None:
    write_label_map(tmp_path / "m.nii.gz", np.asarray(label_map, order=order), NUMBERS, like=scan)
    mask, like = nib.load(tmp_path / "m.nii.gz"), nib.load(scan)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), label_map)
    np.testing.assert_array_equal(mask.affine, like.affine)
    np.testing.assert_array_equal(mask.get_qform(), like.get_qform())
    np.testing.assert_array_equal(mask.get_sform(), like.get_sform())
    assert [int(mask.header[code]) for code in ("qform_code", "sform_code")] == [2, 4]
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(mask.header["pixdim"], like.header["pixdim"])


def test_nothing_that_could_name_a_patient_is_copied(tmp_path: Path, scan: Path, label_map: np.ndarray) -> None:
    write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=scan)
    content = gzip.decompress((tmp_path / "m.nii.gz").read_bytes())
    header = nib.load(tmp_path / "m.nii.gz").header
    texts = [header[name].item() for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type")]
    assert texts == [b"htcnns", b"", b"", b"", b""]
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0, 0)
    assert struct.unpack_from("<3f", content, 108) == (352, 1, 0)  # offset, slope, intercept: no extension, no scale
    assert len(content) == 352 + 210
    assert b"Doe" not in content


def test_writing_twice_is_byte_identical_without_time_or_name(
    tmp_path: Path, scan: Path, label_map: np.ndarray
) -> None:
    write_label_map(tmp_path / "a.nii.gz", label_map, NUMBERS, like=scan)
    write_label_map(tmp_path / "b.nii.gz", label_map, NUMBERS, like=scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[3:8] == bytes(5)  # no flags, no time
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz", "t1c.nii.gz"]


def test_the_grid_of_a_big_endian_nifti2_is_copied(tmp_path: Path, label_map: np.ndarray) -> None:
    header = nib.Nifti2Header(endianness=">")
    nib.save(nib.Nifti2Image(np.arange(210, dtype=">i2").reshape(SHAPE), OBLIQUE, header), tmp_path / "t1c.nii")
    write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=tmp_path / "t1c.nii")
    np.testing.assert_allclose(nib.load(tmp_path / "m.nii.gz").affine, OBLIQUE, atol=1e-5)


def test_a_label_without_a_number_is_never_written(tmp_path: Path, scan: Path, label_map: np.ndarray) -> None:
    label_map[0, 0, 0] = Label.RC
    with pytest.raises(ValueError, match=r"labels \[4\] have no number in brats2023"):
        write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=scan)
    assert [path.name for path in tmp_path.iterdir()] == ["t1c.nii.gz"]


@pytest.mark.parametrize("numbers", LABEL_SETS.values(), ids=LABEL_SETS)
def test_labels_come_back_whatever_numbers_they_are_written_as(
    tmp_path: Path, scan: Path, label_map: np.ndarray, numbers: LabelSet
) -> None:
    write_label_map(tmp_path / "m.nii.gz", label_map, numbers, like=scan)
    np.testing.assert_array_equal(read_labels(tmp_path / "m.nii.gz", numbers).array, label_map)
    np.testing.assert_array_equal(read_label_map(tmp_path / "m.nii.gz").array, encode(label_map, numbers))


def test_a_number_of_another_label_set_is_refused_naming_the_file(
    tmp_path: Path, scan: Path, label_map: np.ndarray
) -> None:
    write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=scan)
    with pytest.raises(InputError, match=r"m\.nii\.gz: holds numbers .*; found \[3\], expected those of brats2021"):
        read_labels(tmp_path / "m.nii.gz", LABEL_SETS["brats2021"])


def test_a_wrong_shape_or_type_is_refused(tmp_path: Path, scan: Path, label_map: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 6, 6\), but the grid has \(5, 6, 7\)"):
        write_label_map(tmp_path / "m.nii.gz", label_map[..., 1:], NUMBERS, like=scan)
    with pytest.raises(ValueError, match="array of int64, expected uint8"):
        write_label_map(tmp_path / "m.nii.gz", label_map.astype(int), NUMBERS, like=scan)


@pytest.mark.parametrize(
    ("position", "says"),
    [(-12, "m.nii.gz: what is read back is not what was written"), (0, "m.nii.gz: .* It was written just now")],
)
def test_a_disk_that_stores_wrong_bytes_is_noticed(
    tmp_path: Path, scan: Path, label_map: np.ndarray, monkeypatch: pytest.MonkeyPatch, position: int, says: str
) -> None:
    def spoil(content: bytes) -> bytes:
        spoilt = bytearray(content)
        spoilt[position] ^= 1
        return bytes(spoilt)

    monkeypatch.setattr("htcnns.files.nifti.pack", spoil)
    with pytest.raises(OutputError, match=says):
        write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=scan)
    assert [path.name for path in tmp_path.iterdir()] == ["t1c.nii.gz"]


def test_a_probability_map_comes_back(tmp_path: Path, scan: Path, rng: np.random.Generator) -> None:
    array = rng.random(SHAPE, dtype=np.float32)
    write_map(tmp_path / "wt.nii.gz", array, like=scan)
    volume = read_volume(tmp_path / "wt.nii.gz")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(volume.affine, read_volume(scan).affine)
    with pytest.raises(ValueError, match="array of float64, expected float32"):
        write_map(tmp_path / "wt.nii.gz", array.astype(float), like=scan)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_case_file_sets_qform_and_sform_codes(tmp_path: Path, ending: str) -> None:
    write_case_file(tmp_path / f"x{ending}", np.arange(210, dtype=np.int16).reshape(SHAPE), OBLIQUE)
    header = nib.load(tmp_path / f"x{ending}").header
    assert [int(header[code]) for code in ("qform_code", "sform_code")] == [1, 1]
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(read_volume(tmp_path / f"x{ending}").affine, OBLIQUE, atol=1e-5)


def test_an_empty_mask_lies_on_the_grid_of_the_scan(tmp_path: Path, scan: Path) -> None:
    assert write_empty_mask(tmp_path / "m.nii.gz", like=[scan])
    volume = read_label_map(tmp_path / "m.nii.gz")
    assert (volume.array.shape, volume.array.any()) == (SHAPE, False)
    np.testing.assert_array_equal(volume.affine, nib.load(scan).affine)


def test_an_empty_mask_keeps_the_grid_of_a_scan_cut_after_its_header(tmp_path: Path) -> None:
    cut = _file(tmp_path / "t1c.nii", lambda block: block.__delitem__(slice(360, None)))
    assert write_empty_mask(tmp_path / "m.nii.gz", like=[cut])
    assert read_label_map(tmp_path / "m.nii.gz").array.shape == SHAPE


@pytest.mark.parametrize("name", [None, "broken.nii.gz"], ids=["no scan", "broken scan"])
def test_an_empty_mask_without_a_grid_lies_on_the_brats_grid(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8bno gzip")
    assert not write_empty_mask(tmp_path / "m.nii.gz", like=[tmp_path / name] if name else [])
    mask = nib.load(tmp_path / "m.nii.gz")
    assert mask.shape == STANDARD_SHAPE
    np.testing.assert_array_equal(mask.affine, STANDARD_AFFINE)
    np.testing.assert_array_equal(mask.get_qform(), STANDARD_AFFINE)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_an_empty_mask_is_in_mm_even_if_the_scan_is_not(tmp_path: Path, scan: Path, unit: str) -> None:
    image = nib.load(scan)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "t1c.nii.gz")
    assert write_empty_mask(tmp_path / "m.nii.gz", like=[tmp_path / "t1c.nii.gz"])
    mask = nib.load(tmp_path / "m.nii.gz")
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(mask.affine, image.affine)


def _thin(path: Path) -> Path:
    """A NIfTI-2 scan whose affine is singular in the float32 of NIfTI-1."""
    affine = np.diag([1e-60, 5.0, 5.0, 1.0])
    nib.save(nib.Nifti2Image(np.arange(210, dtype=np.int16).reshape(SHAPE), affine), path)
    return path


def test_an_affine_singular_in_float32_is_refused_when_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its affine is singular"):
        read_volume(_thin(tmp_path / "t1c.nii"))


def test_an_empty_mask_takes_the_next_grid_if_the_first_cannot_be_stored(tmp_path: Path, scan: Path) -> None:
    assert write_empty_mask(tmp_path / "m.nii.gz", like=[_thin(tmp_path / "t1c.nii"), scan])
    np.testing.assert_array_equal(read_label_map(tmp_path / "m.nii.gz").affine, nib.load(scan).affine)
    assert not write_empty_mask(tmp_path / "m.nii.gz", like=[tmp_path / "t1c.nii"])
    assert read_label_map(tmp_path / "m.nii.gz").array.shape == STANDARD_SHAPE


def test_an_empty_mask_never_has_more_voxels_than_a_case_may_have(tmp_path: Path) -> None:
    promise = _file(tmp_path / "t1c.nii", lambda block: struct.pack_into("<4h", block, 40, 3, 800, 800, 800))
    assert not write_empty_mask(tmp_path / "m.nii.gz", like=[promise])
    assert read_label_map(tmp_path / "m.nii.gz").array.shape == STANDARD_SHAPE


def test_masks_are_distinguished_from_the_users_own_files(tmp_path: Path, scan: Path, label_map: np.ndarray) -> None:
    write_label_map(tmp_path / "m.nii.gz", label_map, NUMBERS, like=scan)
    write_empty_mask(tmp_path / "e.nii.gz", like=[])
    (tmp_path / "broken.nii.gz").write_bytes(b"broken")
    names = ("m.nii.gz", "e.nii.gz", scan.name, "broken.nii.gz", "absent.nii.gz")
    assert [is_own_map(tmp_path / name) for name in names] == [True, True, False, False, False]


def test_upper_case_gz_is_compressed_too(tmp_path: Path, scan: Path, label_map: np.ndarray) -> None:
    write_label_map(tmp_path / "m.NII.GZ", label_map, NUMBERS, like=scan)
    assert (tmp_path / "m.NII.GZ").read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(read_label_map(tmp_path / "m.NII.GZ").array, label_map)
