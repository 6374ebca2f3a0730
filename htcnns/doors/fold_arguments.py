"""Folds on the command line: their number or a list of them, and which one is held out."""

from pathlib import Path

from htcnns.errors import SettingsError
from htcnns.files.fold_lists import read_fold_list
from htcnns.files.prepared_cases import Card
from htcnns.training.cases import CaseStore
from htcnns.training.folds import Folds, deal, given


def read_folds(text: str, store: CaseStore) -> Folds:
    """As many folds as the text says, or those listed in the file that it names."""
    if text.isdecimal():
        return deal(store.cards, int(text))
    return given(store.cards, read_fold_list(Path(text)), place=text)


def without_fold(store: CaseStore, folds: str | None, fold: int | None) -> tuple[tuple[Card, ...], CaseStore]:
    """The cases that a fit may see, and those that it is scored on while it runs.

    Args:
        folds: number of folds or name of a list, as for `read_folds`; None for a fit on everything.
        fold: number of the fold that is held out.

    Raises:
        SettingsError: one of the two without the other, or a fold that does not exist.
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
