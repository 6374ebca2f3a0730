"""The table of scores that people read: every score on offer has a row, and no two names can be confused."""

import pytest

from htcnns.scores.columns import COLUMNS, Better, Kind
from htcnns.scores.metrics import DEFINITIONS


def test_every_score_that_can_be_asked_for_has_a_row() -> None:
    assert DEFINITIONS.keys() <= COLUMNS.keys()


def test_no_two_names_differ_only_by_a_hyphen() -> None:
    assert len({name.replace("-", "_") for name in COLUMNS}) == len(COLUMNS)


@pytest.mark.parametrize(
    ("kind", "better"),
    [(Kind.SHARE, {Better.MORE}), (Kind.DISTANCE, {Better.LESS}), (Kind.VOLUME, {Better.NEITHER})],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_kind_of_a_score_decides_which_way_is_better(kind: Kind, better: set[Better]) -> None:
    assert {column.better for column in COLUMNS.values() if column.kind is kind} == better


def test_a_found_lesion_is_better_and_a_missed_or_invented_one_is_worse() -> None:
    assert [COLUMNS[name].better for name in ("n_tp", "n_fn", "n_fp")] == [Better.MORE, Better.LESS, Better.LESS]
