"""Fetches NiiVue, which the viewer's page draws with, from npm into the package: one pinned build and its licences.

    make niivue        # needs npm and a network

npm gets the packages; each must have the digest that stands here. To change the version, change both and look at the
page again. NiiVue's package holds no licence, so its text comes from an earlier one that does.
"""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "htcnns" / "reports" / "viewer_page"


class Package(NamedTuple):
    """A package on npm: its name and version, the digest of its archive, and the file that is wanted of it."""

    name: str
    sha512: str
    file: str


BUILD = Package(
    "@niivue/niivue@0.69.0",
    "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA==",
    "dist/niivue.umd.js",
)
LICENCES = (  # NiiVue's, and those of what its build contains
    Package(
        "@niivue/niivue@0.44.2",
        "ddShcApln/xJQa1dIo7DPpcRPoabBA6n7Wy8gtwA1S6srhZn2PdaPep1VEqdS82ufbFier0SRFE4lVzt7/ZDKw==",
        "LICENSE",
    ),
    Package(
        "array-equal@1.0.2",
        "gUHx76KtnhEgB3HOuFYiCm3FIdEs6ocM2asHvNTkfu/Y09qQVrrVVaOKENmS2KkSaGoxgXNqC+ZVtR/n0MOkSA==",
        "LICENSE",
    ),
    Package(
        "fflate@0.8.2",
        "cPJU47OaAoCbg0pBvzsgpTPhmhqI5eJjh/JIu8tPj5q+T7iLvW/JAYUqmE7KOB4R1ZyEhzBaIQpQpardBF5z8A==",
        "LICENSE",
    ),
    Package(
        "gl-matrix@3.4.3",
        "wcCp8vu8FT22BnvKVPjXa/ICBWRq/zjFfdofZy1WSpQZpphblv12/bOQLBC1rMM7SGOFS9ltVmKOHil5+Ml7gA==",
        "LICENSE.md",
    ),
    Package(
        "@lukeed/uuid@2.0.1",
        "qC72D4+CDdjGqJvkFMMEAtancHUQ7/d/tAiHf64z8MopFDmcrtbcJuerDtFceuAfQJ2pDSfCKCtbqoGBNnwg0w==",
        "license",
    ),
    Package(
        "nifti-reader-js@0.8.0",
        "iO1iIhQDfKniy+l/86HfOPte7So+SxBmBiMSiUB2VXU7z4hSewMTlE3h0fCgfzfXvMUa+ilzLTJ2ZHmtFw6EWw==",
        "LICENSE",
    ),
    Package(
        "numcodecs@0.3.2",
        "6YSPnmZgg0P87jnNhi3s+FVLOcIn3y+1CTIgUulA3IdASzK9fJM87sUFkpyA+be9GibGRaST2wCgkD+6U+fWKw==",
        "LICENSE",
    ),
    Package(
        "@ungap/structured-clone@1.3.0",
        "WmoN8qaIAo7WTYWbAZuG8PYEhn5fkz7dZrqTBZ7dtt//lL2Gwms1IcnQ5yHqjDfX8Ft5j4YzDM23f87zBfDe9g==",
        "LICENSE",
    ),
    Package(
        "zarrita@0.5.4",
        "i88iN2+HqIQ+uiCEWLfhjbYNXAJD7IrM4h3lFwFclfqEOOhxp10amRWtqmgN5jbuy3+h0LwdyLVVzk4y9rTLgg==",
        "LICENSE",
    ),
    Package(
        "@zarrita/storage@0.2.0",
        "855ZXqtnds7spnT8vNvD+MXa3QExP1m2GqShe8yt7uZXHnQLgJHgkpVwFjE1B0KDDRO0ki09hmk6OboTaIfPsQ==",
        "LICENSE",
    ),
)


def fetched(package: Package, folder: Path) -> bytes:
    """The file that is wanted of the package; ends the program where its archive is another than the pinned one."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package.name]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    archive = folder / name
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        sys.exit(f"{package.name}: sha512 {digest}, expected {package.sha512}; nothing was written")
    with tarfile.open(archive) as members:
        content = members.extractfile(f"package/{package.file}")
        assert content is not None  # else the digest would be another
        return content.read()


def main() -> None:
    """Fetch everything, then write both files."""
    with tempfile.TemporaryDirectory() as folder:
        build = fetched(BUILD, Path(folder))
        texts = [f"{package.name}\n\n{fetched(package, Path(folder)).decode().strip()}\n" for package in LICENCES]
    (PAGE / "niivue.umd.js").write_bytes(build)
    (PAGE / "niivue.LICENSE.txt").write_text(f"\n{'-' * 80}\n\n".join(texts), encoding="utf-8")
    print(f"{BUILD.name}: {len(build)} bytes, {len(texts)} licences")


if __name__ == "__main__":
    main()
