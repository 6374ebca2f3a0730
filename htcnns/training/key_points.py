"""Cases with the key points of their regions, which are found once and kept in a file beside the case's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from htcnns.files.atomic import require_writable
from htcnns.files.key_points import key_points_path, read_key_points, write_key_points
from htcnns.files.prepared_cases import Card, CaseKind, PreparedCase
from htcnns.image.key_points import KEYS, N_DRAWS, key_points
from htcnns.labels import Region, region_mask
from htcnns.training.cases import CaseStore
from htcnns.training.team import Team

FORMAT = 1  # version of how points are chosen; increase it when that changes

_Points = Mapping[Region, np.ndarray]


@dataclass(frozen=True)
class KeyedCases:
    """The cases of a store, each with its key points.

    Attributes:
        store: the cases.
        points: key points of each case, by name.
    """

    store: CaseStore
    points: Mapping[str, _Points]

    def __getitem__(self, name: str) -> PreparedCase:
        """The case of that name; raises InputError as the store does."""
        return replace(self.store[name], key_points=self.points[name])


def with_key_points(
    store: CaseStore,
    cards: Iterable[Card],
    *,
    view: str = "",
    team: Team = Team(),  # noqa: B008 - frozen
) -> KeyedCases:
    """These cases with their key points, which take a second or two per case to find the first time.

    Args:
        store: the cases.
        view: description of how the store changes packed cases; points of another view are found again.
        team: processes that share the work.

    Raises:
        InputError: as the store.
        OutputError: points are missing, and the folder of the packed cases cannot be written.
    """
    folders = {card.name: path.parent for path, card in store.files.items()}
    wanted = sorted(cards, key=lambda card: card.name)
    for card in wanted[team.rank :: team.size]:
        _points(store, card, folders[card.name], view)
    team.wait()
    return KeyedCases(store, {card.name: _points(store, card, folders[card.name], view) for card in wanted})


def find_key_points(case: PreparedCase) -> dict[Region, np.ndarray]:
    """(n, 3) int16 key points of every region that the truth annotates; always the same for the same case."""
    rng = np.random.default_rng(int(case.card.key[:8], 16))
    known = case.inside if case.card.kind is CaseKind.PIECE else None
    return {
        region: key_points(region_mask(case.label_map, region), keys.n_points, rng, known=known)
        for region, keys in KEYS.items()
        if region in case.card.known
    }


def _points(store: CaseStore, card: Card, folder: Path, view: str) -> _Points:
    """The key points of a case from its file, which is written first if it is missing or outdated."""
    path = key_points_path(folder, card.name)
    rules = [(region.name, keys.n_points, keys.radius) for region, keys in KEYS.items()]
    key = f"{FORMAT} {card.key} {view} {N_DRAWS} {rules}"
    points = read_key_points(path, key)
    if points is None:
        require_writable(folder)
        points = find_key_points(store[card.name])
        write_key_points(path, points, key)
    return points
