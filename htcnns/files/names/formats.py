"""File formats that hold scans and are not read, known by the ends of their names."""

from types import MappingProxyType

from htcnns.files.names.words import stem

DICOM = frozenset((".dcm", ".dicom", ".ima"))

_FORMATS = MappingProxyType(
    {
        **dict.fromkeys((".hdr", ".img", ".hdr.gz", ".img.gz"), "half of a .hdr/.img pair"),
        **dict.fromkeys((".mha", ".mhd"), "MetaImage, not NIfTI"),
        **dict.fromkeys((".nrrd", ".nhdr"), "NRRD, not NIfTI"),
        **dict.fromkeys((".mgz", ".mgh"), "FreeSurfer's format, not NIfTI"),
        **dict.fromkeys((".mnc", ".mnc.gz"), "MINC, not NIfTI"),
        **dict.fromkeys((".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".nii.gz.zip"), "packed, but not by gzip"),
    }
)


def scan_stem(file_name: str) -> str | None:
    """The name without its ending where that is a format's for scans, read or not; None for other files."""
    found = _ending(file_name)
    return stem(file_name) or (file_name[: -len(found)] if found else None)


def unread_format(file_name: str) -> str:
    """In words, the format for scans that is not read and that the name says; "" for all others."""
    found = _ending(file_name)
    return _FORMATS[found] if found else ""


def _ending(file_name: str) -> str:
    name = file_name.lower()
    return next((ending for ending in _FORMATS if name.endswith(ending) and len(name) > len(ending)), "")
