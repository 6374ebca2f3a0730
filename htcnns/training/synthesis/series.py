"""Many synthetic heads: written as prepared cases to train on, or as whole cases with truth in the layout of BraTS."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from htcnns.errors import SettingsError
from htcnns.files.anatomy import read_anatomies
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.names.brats import patient_of
from htcnns.files.nifti import write_case_file
from htcnns.files.prepared_cases import (
    Card,
    CaseKind,
    has_key,
    key_of,
    prepared_case,
    prepared_path,
    read_card,
    write_prepared,
)
from htcnns.files.shapes import TumourShape, read_shapes
from htcnns.image.phantom import make_phantom
from htcnns.labels import LABEL_SETS, SEQUENCES, Label, LabelSet, Region, encode
from htcnns.training.synthesis.contrasts import Contrasts
from htcnns.training.synthesis.heads import Anatomy, anatomy_of
from htcnns.training.synthesis.make import AFFINE, SyntheticHead, make_head
from htcnns.training.synthesis.settings import HeadSettings

VERSION = 3  # version of how heads are made; increased when the same seed would make different heads
NO_OTHER_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What heads are made of.

    Attributes:
        anatomies: healthy heads by name.
        shapes: real tumours; if empty, all tumours are grown.
        contrasts: brightness measured on real cases.
    """

    anatomies: Mapping[str, Anatomy]
    shapes: tuple[TumourShape, ...]
    contrasts: Contrasts

    def without(self, patients: Collection[str], *, names: Mapping[str, str] = NO_OTHER_NAMES) -> "Material":
        """The same without tumours of these patients, for members that are scored on them.

        Args:
            names: patient of each shape, where it differs from the one in the shape's name.
        """
        left = tuple(shape for shape in self.shapes if _patient_of_shape(shape.name, names) not in patients)
        return replace(self, shapes=left)


def read_material(anatomy: Path, shapes: Iterable[tuple[Path, LabelSet]] = ()) -> Material:
    """Everything that heads are made of.

    Args:
        anatomy: folder of label maps of whole heads in FreeSurfer's numbers.
        shapes: folders of tumour label maps, each with their label set.

    Raises:
        InputError: a folder without such label maps, or an invalid file.
    """
    return Material(
        anatomies={name: anatomy_of(label_map) for name, label_map in read_anatomies(anatomy).items()},
        shapes=tuple(shape for folder, numbers in shapes for shape in read_shapes(folder, numbers)),
        contrasts=Contrasts(),
    )


def head_of_series(material: Material, number: int, *, seed: int, settings: HeadSettings) -> SyntheticHead:
    """The head of that number, which does not depend on the other heads made or on their order."""
    rng = np.random.default_rng([seed, number])
    names = sorted(material.anatomies)
    anatomy = material.anatomies[names[int(rng.integers(len(names)))]]
    return make_head(rng, anatomy, material.shapes, material.contrasts, settings=settings)


def prepare_series(
    material: Material,
    cache: Path,
    numbers: Iterable[int],
    *,
    seed: int,
    settings: HeadSettings,
    patients: Mapping[str, str] = NO_OTHER_NAMES,
    on_head: Callable[[Card], None] = lambda _: None,
) -> tuple[Card, ...]:
    """Write prepared cases of these heads, as `pack` does of real cases, unless they exist; returns their cards.

    Args:
        cache: folder for one file per head.
        numbers: numbers of the heads in the series, such as range(150); processes may share a series.
        patients: patient of each shape, where it differs from the one in the shape's name.
        on_head: called with the card of each head once its file exists.

    Raises:
        OutputError: the cache cannot be written.
    """
    require_writable(cache)
    sweep(cache)
    cards = []
    for number in numbers:
        cards.append(_prepared(material, cache, number, seed=seed, settings=settings, patients=patients))
        on_head(cards[-1])
    return tuple(cards)


def write_series(
    material: Material,
    folder: Path,
    numbers: Iterable[int],
    *,
    seed: int,
    settings: HeadSettings,
    labels: LabelSet,
    on_head: Callable[[str, SyntheticHead], None] = lambda _name, _head: None,
) -> tuple[str, ...]:
    """Write these heads as cases in the layout of BraTS 2023, 240 x 240 x 155 voxels of 1 mm; returns their names.

    Args:
        folder: folder for one subfolder per head.
        numbers: numbers of the heads in the series.
        labels: label set of the truth.
        on_head: called with each head's name and the head once its files exist.

    Raises:
        SettingsError: heads may have cavities, but the label set has no number for them.
        OutputError: a file cannot be written.
    """
    _require_cavities(labels, settings.cavity_share)
    names = []
    for number in numbers:
        name = head_name(seed, number)
        head = head_of_series(material, number, seed=seed, settings=settings)
        scans, truth = head.as_case()
        require_writable(folder / name)
        for sequence, scan in zip(SEQUENCES, scans, strict=True):
            write_case_file(folder / name / f"{name}-{sequence}.nii.gz", scan, AFFINE)
        write_case_file(folder / name / f"{name}-seg.nii.gz", encode(truth, labels), AFFINE)
        names.append(name)
        on_head(name, head)
    return tuple(names)


def write_phantoms(
    folder: Path,
    numbers: Iterable[int],
    *,
    seed: int,
    labels: LabelSet,
    cavity_share: float = 0.0,
    on_case: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Write phantoms as cases in the layout of BraTS 2023, for users without label maps; returns their names.

    They are far simpler than synthetic heads: good enough to try out a training, not to train members for use.

    Args:
        cavity_share: fraction of phantoms with a resection cavity in place of the necrosis.

    Raises:
        SettingsError: as `write_series`.
        OutputError: a file cannot be written.
    """
    _require_cavities(labels, cavity_share)
    names = []
    for number in numbers:
        resected = bool(np.random.default_rng([seed, number]).random() < cavity_share)
        name, phantom = f"phantom-{seed:03d}-{number:05d}", make_phantom(seed=1000 * seed + number, resected=resected)
        require_writable(folder / name)
        for sequence, scan in zip(SEQUENCES, phantom.sequences, strict=True):
            write_case_file(folder / name / f"{name}-{sequence}.nii.gz", scan.astype(np.int16), phantom.affine)
        write_case_file(folder / name / f"{name}-seg.nii.gz", encode(phantom.truth, labels), phantom.affine)
        names.append(name)
        on_case(name)
    return tuple(names)


def head_name(seed: int, number: int) -> str:
    """The name of a head in a series."""
    return f"synthetic-{seed:03d}-{number:05d}"


def _prepared(
    material: Material, cache: Path, number: int, *, seed: int, settings: HeadSettings, patients: Mapping[str, str]
) -> Card:
    name = head_name(seed, number)
    of_what = sorted(material.anatomies), sorted(shape.name for shape in material.shapes), sorted(patients.items())
    contrasts = [
        (spread.names, spread.means.tolist(), spread.deviations.tolist()) for spread in material.contrasts.spreads
    ]
    key = key_of(name, f"{VERSION} {seed} {number} {asdict(settings)} {of_what} {contrasts}", [])
    path = prepared_path(cache, name)
    if has_key(path, key):
        return read_card(path)
    head = head_of_series(material, number, seed=seed, settings=settings)
    shown = {_patient_of_shape(shape, patients) for shape in head.shapes}
    card = Card(
        name=name,
        kind=CaseKind.SYNTHETIC,
        patients=tuple(sorted(shown)),
        sequences=SEQUENCES,
        known=_known(settings),
        shape=head.truth.shape,
        key=key,
    )
    write_prepared(cache, prepared_case(card, head.sequences, head.truth))
    return card


def _require_cavities(numbers: LabelSet, share: float) -> None:
    """Raise SettingsError if there may be cavities but the label set has no number for them."""
    if share and Label.RC not in numbers.numbers:
        raise SettingsError(
            f"{numbers.name} has no number for a resection cavity",
            setting="labels",
            expected=f"one of {', '.join(name for name, each in LABEL_SETS.items() if Label.RC in each.numbers)}",
            remedy="Name one of them, or make heads without cavities.",
        )


def _patient_of_shape(name: str, names: Mapping[str, str]) -> str:
    return names.get(name) or names.get(patient_of(name)) or patient_of(name)


def _known(settings: HeadSettings) -> tuple[Region, ...]:
    """The regions that the truth annotates; RC only if there may be cavities."""
    regions = (Region.WT, Region.TC, Region.ET, Region.NET, Region.ED)
    return (*regions, Region.RC) if settings.cavity_share else regions
