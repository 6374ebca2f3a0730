"""Folds on the command line: so many, or those of a list, and one of them held out."""

from pathlib import Path

from htcnns.errors import SettingsError
from htcnns.files.fold_lists import read_fold_list
from htcnns.files.prepared_cases import Card
from htcnns.training.cases import CaseStore
from htcnns.training.folds import Folds, deal, given


def read_folds(text: str, store: CaseStore) -> Folds:
    """So many folds, or those of the list of that name."""
    if text.isdecimal():
        return deal(store.cards, int(text))
    return given(store.cards, read_fold_list(Path(text)), place=text)


def without_fold(store: CaseStore, folds: str | None, fold: int | None) -> tuple[tuple[Card, ...], CaseStore]:
    """The cases that a fit may see, and those that it is measured on while it runs.

    Args:
        folds: as `read_folds` takes it; None for a fit on everything.
        fold: the one that is held out.

    Raises:
        SettingsError: one of the two without the other, or a fold that there is not.
    """
    if folds is None and fold is None:
        return store.cards, CaseStore({})
    if folds is None or fold is None:
        raise SettingsError(
            "is missing",
            setting="fold" if fold is None else "folds",
            expected="folds, and the number of the one that is held out",
            remedy="Give both or neither.",
        )
    chosen = read_folds(folds, store)
    held_out = [card.name for card in chosen.held_out(store.cards, fold)]
    return chosen.trained_on(store.cards, fold), store.only(held_out)
