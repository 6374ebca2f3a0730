"""Recipes from the command line."""

from collections.abc import Callable

import pytest

from htcnns.training.shipped_recipes import RECIPES


@pytest.mark.parametrize("command", [("recipes",), ("recipes", "list")], ids=" ".join)
def test_recipes_are_listed_once_with_and_without_the_word_list(htcnns: Callable, command: tuple[str, ...]) -> None:
    said = htcnns(*command)
    assert (said.code, said.err) == (0, "")
    assert [line.partition(":")[0] for line in said.out.splitlines()] == list(RECIPES)


def test_one_recipe_is_shown_without_the_list(htcnns: Callable) -> None:
    said = htcnns("recipes", "show", "demo")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith('name = "demo"\n')


def test_an_unknown_recipe_is_reported_for_the_argument_not_a_flag(htcnns: Callable) -> None:
    said = htcnns("recipes", "show", "dmeo")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("htcnns: NAME: unknown recipe 'dmeo'; expected one of ")
    assert said.err.endswith("Did you mean 'demo'?\n")
