"""The recipes that come with htcnns, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from htcnns.training.own_recipes import COMPACT, DEMO, SYNTHETIC
from htcnns.training.published_recipes import PUBLISHED
from htcnns.training.recipes import Recipe

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (SYNTHETIC, COMPACT, DEMO, *PUBLISHED)}
)
