"""A good case beside a hostile one, and what must hold whatever the hostile one does."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from htcnns.files.nifti import read_label_map

GOOD, BAD = "BraTS-GLI-00001-000", "BraTS-GLI-00002-000"
QUICK = ("--members", "unet", "--device", "cpu", "--precision", "fp32", "--overlap", "0")


@dataclass(frozen=True)
class Arena:
    """A folder with a good case and one to be spoilt, and the good one's mask when it is alone.

    Attributes:
        weights: folder of the weights that every run takes.
        htcnns: function that runs the command line.
    """

    folder: Path
    good_mask: bytes
    weights: Path
    htcnns: Callable[..., object]

    @property
    def bad(self) -> Path:
        """The folder of the case to be spoilt."""
        return self.folder / "in" / BAD

    @property
    def output(self) -> Path:
        """The folder of the masks."""
        return self.folder / "out"

    def scan(self, sequence: str) -> Path:
        """A scan of the case to be spoilt."""
        return self.bad / f"{BAD}-{sequence}.nii.gz"

    def run(self, *more: object, output: Path | None = None) -> object:
        """Segment both cases, with an empty mask for each that fails, and these further arguments."""
        places = (self.folder / "in", output or self.output, "--weights", self.weights)
        return self.htcnns("segment", *places, *QUICK, "--on-failure", "empty", *more)

    def survived(self, said: object, *, named: tuple[str, ...] = (GOOD, BAD), older: Collection[str] = ()) -> None:
        """Assert that a run that writes empty masks for failed cases did all that it promises.

        Args:
            named: cases that must have a mask.
            older: names that were in the output before and need not be masks.
        """
        failures = [line for line in said.out.splitlines() if "FAILED" in line]
        assert (said.err, said.code) == ("", 7 if failures else 0)
        assert "Traceback" not in said.out
        assert [line for line in failures if not line.endswith((".", "?"))] == []
        assert (self.output / f"{GOOD}.nii.gz").read_bytes() == self.good_mask
        masks = [path for path in self.output.iterdir() if path.is_file() and path.name not in older]
        assert {f"{name}.nii.gz" for name in named} <= {path.name for path in masks}
        assert [path for path in masks if read_label_map(path).array.dtype != "uint8"] == []
