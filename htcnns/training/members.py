"""A recipe's members as a manifest describes them."""

from math import prod

from htcnns.files.member import Member
from htcnns.training.recipes import Recipe


def recipe_member(recipe: Recipe, name: str) -> Member:
    """The recipe's member of that name, without files.

    Raises:
        SettingsError: no member of that name.
    """
    member = recipe.member(name)
    return Member(
        name=member.name,
        title=member.title,
        network=member.network,
        size=dict(member.arguments),
        files=(),
        sequences=recipe.sequences,
        regions=recipe.regions,
        head=recipe.head,
        outputs=recipe.outputs,
        window=recipe.window,
        preprocessing=recipe.preprocessing,
        whole=recipe.whole if prod(recipe.whole) > prod(recipe.window) else None,
        mirror=recipe.mirror,
        rules=recipe.rules,
    )
