"""The contrasts of packed cases, to measure the numbers in `measured.py` again or on other cases."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.prepared_cases import CaseKind, read_cards, read_prepared
from htcnns.training.synthesis.contrasts import Contrasts
from htcnns.training.synthesis.measure import (
    COMPARTMENTS,
    HEALTHY,
    as_source,
    healthy_levels,
    names_of,
    spread_of,
    tumour_levels,
)


def survey(caches: Iterable[Path]) -> Contrasts:
    """The contrasts of healthy tissue in the caches' whole heads, and of tumours in these heads and in pieces.

    Cases without truth are left out, and so are synthetic ones.

    Raises:
        InputError: a folder without prepared cases, or no whole head with truth in any of them.
    """
    healthy, levels, textures = [], [], []
    folders = tuple(caches)
    for path, card in (item for folder in folders for item in read_cards(folder).items()):
        if not card.known or card.kind is CaseKind.SYNTHETIC:
            continue
        case = read_prepared(path)
        array = np.stack([row[numbers] for row, numbers in zip(case.table, case.array, strict=True)])
        level, texture = tumour_levels(array, case.label_map)
        levels.append(level)
        textures.append(texture)
        if card.kind is CaseKind.HEAD:
            healthy.append(healthy_levels(array, case.label_map))
    if not healthy:
        raise InputError(
            "no whole head with truth to measure",
            place=", ".join(map(str, folders)),
            remedy="Pack cases with truth first.",
        )
    return Contrasts(
        spread_of(names_of(HEALTHY), healthy),
        spread_of(names_of(COMPARTMENTS), levels),
        spread_of(names_of(COMPARTMENTS), textures),
    )


def survey_source(contrasts: Contrasts) -> str:
    """The contrasts as Python source, as in `measured.py`."""
    parts = (
        ("median per tissue", contrasts.healthy, "HEALTHY_LEVELS"),
        ("median per part of the tumour", contrasts.tumour, "TUMOUR_LEVELS"),
        ("standard deviation within a part of the tumour", contrasts.textures, "TUMOUR_TEXTURES"),
    )
    return "\n\n".join(f"# {words}\n{as_source(spread, name)}" for words, spread, name in parts) + "\n"
