"""Recipes on the command line: chosen by name or file, listed, shown.

What needs torch is imported inside the functions, so that `--help` stays quick.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htcnns.errors import EXIT_DONE, require_known

if TYPE_CHECKING:
    from htcnns.training.recipes import Recipe

recipes_app = typer.Typer(help="List or show the recipes.", invoke_without_command=True)


def read_recipe(name: str, *, steps: int | None = None, setting: str = "recipe") -> "Recipe":
    """The shipped recipe of that name, or the one in a TOML file; with fits of `steps` steps if given.

    Args:
        setting: setting that the name comes from, for the error message.
    """
    from htcnns.files.toml_file import read_toml
    from htcnns.training.recipe_text import recipe_of
    from htcnns.training.shipped_recipes import RECIPES
    from htcnns.training.shortened_recipes import shortened

    if name.endswith(".toml"):
        recipe = recipe_of(read_toml(Path(name)), place=name)
    else:
        require_known(name, RECIPES, what="recipe", setting=setting)
        recipe = RECIPES[name]
    return shortened(recipe, steps) if steps else recipe


def require_members(names: Iterable[str], recipe: "Recipe") -> None:
    """Raise SettingsError if a name given to `--only` is not a member of the recipe."""
    known = [member.name for member in recipe.members]
    for name in names:
        require_known(name, known, what="member", setting="only")


@recipes_app.callback()
def recipes(context: typer.Context) -> int:
    """List the recipes where no command says what else to do with them."""
    return EXIT_DONE if context.invoked_subcommand else list_recipes()


@recipes_app.command("list")
def list_recipes() -> int:
    """List the recipes."""
    from htcnns.training.shipped_recipes import RECIPES  # imports torch

    for recipe in RECIPES.values():
        print(f"{recipe.name}: {recipe.title}")
    return EXIT_DONE


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe, or a TOML file.")],
) -> int:
    """Show a recipe as TOML, which `train` reads."""
    from htcnns.training.recipe_text import recipe_toml  # imports torch

    print(recipe_toml(read_recipe(name, setting="recipe_name")), end="")
    return EXIT_DONE
