"""Small prepared cases to train on."""

from collections.abc import Sequence as Row
from dataclasses import replace
from pathlib import Path

import numpy as np

from htcnns.files.prepared_cases import Card, CaseKind, PreparedCase, prepared_case, write_prepared
from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, Sequence
from htcnns.volume import turn

TINY_RECIPE = """
name = "tiny"
title = "two steps"
precision = "fp32"
window = [32, 32, 32]

[[members]]
name = "unet"
title = "U-Net"
network = "unet"
size = {channels = [2, 4], n_convs = [1, 1]}

[[members.rounds]]
steps = 2
patches = [[0.0, [16, 16, 32]]]
"""


def make_card(
    name: str,
    *,
    patients: Row[str] | None = None,
    kind: CaseKind = CaseKind.HEAD,
    known: Row[Region] = GLIOMA.regions,
    sequences: Row[Sequence] = SEQUENCES,
    shape: tuple[int, int, int] = (1, 1, 1),
) -> Card:
    """A card; unless `patients` is given, its patient has the name of the case."""
    return Card(
        name=name,
        kind=kind,
        patients=tuple(patients or (name,)),
        sequences=tuple(sequences),
        known=tuple(known),
        shape=shape,
        key=f"{sum(name.encode()):08x}",
    )


def phantom_case(name: str = "phantom", *, seed: int = 1, with_tumour: bool = True) -> PreparedCase:
    """A phantom of 32 voxels a side, prepared as `pack` does it."""
    phantom = make_phantom((32, 32, 32), seed=seed, with_tumour=with_tumour)
    prepared = preprocess(phantom.sequences, phantom.affine, PreprocessSettings(window=(1, 1, 1)))
    undo = prepared.undo
    truth = turn(phantom.truth, undo.order, undo.flips)[undo.box]
    return prepared_case(make_card(name, shape=truth.shape), prepared.array, truth)


def plain_case(array: np.ndarray, label_map: np.ndarray, *, name: str = "plain", **about: object) -> PreparedCase:
    """A case with exactly these intensities, as far as 8 bits can hold them."""
    return prepared_case(make_card(name, shape=label_map.shape, **about), array, label_map)  # type: ignore[arg-type]


def write_phantoms(folder: Path, names: Row[str], **about: object) -> Path:
    """Writes a prepared phantom per name, each with its own seed and `about` in its card; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        case = phantom_case(name, seed=seed)
        write_prepared(folder, replace(case, card=replace(case.card, **about)))  # type: ignore[arg-type]
    return folder


def numbered_case(array: np.ndarray, label_map: np.ndarray, **about: object) -> PreparedCase:
    """A case whose intensities are exactly the numbers in `array`, (4, I, J, K) uint8."""
    case = plain_case(array.astype(np.float32), label_map, **about)  # type: ignore[arg-type]
    table = np.tile(np.arange(256, dtype=np.float32), (4, 1))
    return replace(case, array=array.astype(np.uint8), table=table)


def addressed_case(shape: tuple[int, int, int]) -> PreparedCase:
    """A case whose sequences hold each voxel's indices, counted from 1; a random half of its voxels is labelled."""
    places = 1 + np.indices(shape)
    label_map = np.random.default_rng(1).choice(np.uint8([Label.BACKGROUND, Label.ED]), shape)
    return numbered_case(np.concatenate([places, places[:1]]), label_map)
