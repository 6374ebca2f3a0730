"""File formats of scans that are not read, recognised by their file names: single files, DICOM, archives."""

from pathlib import PurePath
from types import MappingProxyType

from htcnns.files.names.words import stem

_DICOM = (".dcm", ".dicom", ".ima")
_ARCHIVES = (
    *(".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz"),
    *(".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"),
)

_FORMATS = MappingProxyType(
    {
        **dict.fromkeys((".hdr", ".img", ".hdr.gz", ".img.gz"), "half of a .hdr/.img pair"),
        **dict.fromkeys((".mha", ".mhd"), "MetaImage, not NIfTI"),
        **dict.fromkeys((".nrrd", ".nhdr"), "NRRD, not NIfTI"),
        **dict.fromkeys((".mgz", ".mgh"), "FreeSurfer's format, not NIfTI"),
        **dict.fromkeys((".mnc", ".mnc.gz"), "MINC, not NIfTI"),
        **dict.fromkeys(
            (".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".nii.gz.zip"), "compressed, but not with gzip"
        ),
    }
)


def scan_stem(file_name: str) -> str | None:
    """The name without its ending if that belongs to a format for scans, read or not; None for other files."""
    found = _ending(file_name)
    return stem(file_name) or (file_name[: -len(found)] if found else None)


def unread_format(file_name: str) -> str:
    """The format of a scan that is not read, in words, by its file name; "" for all other files."""
    found = _ending(file_name)
    return _FORMATS[found] if found else ""


def is_archive(file_name: str) -> bool:
    """Whether the name is that of an archive, which may contain whole cases."""
    return file_name.lower().endswith(_ARCHIVES) and not unread_format(file_name)


def is_dicom(file_name: str) -> bool | None:
    """Whether the name is that of a DICOM file; None where only the content shows it (scanners' IM000001, 1.3.12.2)."""
    ending = PurePath(file_name).suffix.lower()
    if not ending or ending[1:].isdecimal():
        return None
    return ending in _DICOM


def _ending(file_name: str) -> str:
    name = file_name.lower()
    return next((ending for ending in _FORMATS if name.endswith(ending) and len(name) > len(ending)), "")
