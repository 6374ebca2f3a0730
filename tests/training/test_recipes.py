"""Recipes: rounds and rates, what is refused, TOML out and in, and the ones that come with htcnns."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.files.prepared_cases import CaseKind
from htcnns.files.toml_file import read_toml
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import REGION_SETS, Label, Region, Sequence
from htcnns.networks.contract import Head
from htcnns.training.augment import Augmentation
from htcnns.training.losses import LossWeights
from htcnns.training.members import recipe_member
from htcnns.training.recipe_text import recipe_data, recipe_of, recipe_toml
from htcnns.training.recipes import Addition, MemberRecipe, Recipe, Round
from htcnns.training.shipped_recipes import RECIPES
from htcnns.training.shortened_recipes import shortened

TINY = {"channels": [4, 8], "n_convs": [1, 1]}
COMPACT = RECIPES["compact"]
UNET = COMPACT.members[0]


def test_a_member_may_have_another_name_than_its_network() -> None:
    twin = replace(UNET, name="unet-two")
    assert replace(COMPACT, members=(UNET, twin)).member("unet-two") is twin


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"members: unknown member 'unnet'; expected one of unet, .*'unet'"):
        COMPACT.member("unnet")


def test_patches_grow_when_their_share_of_the_steps_is_done() -> None:
    each = Round(steps=10, patches=((0.0, (64, 64, 64)), (0.6, (96, 96, 64))))
    assert [each.patch_at(step, 10) for step in (0, 5, 6, 9)] == [(64, 64, 64)] * 2 + [(96, 96, 64)] * 2


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    each = Round(steps=110, learning_rate=1.0, warmup=10)
    rates = [each.learning_rate_at(step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[60] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert Round(steps=1).learning_rate_at(0, 1) > 0


def test_a_round_of_epochs_warms_up_for_epochs() -> None:
    each = Round(epochs=300, learning_rate=1.0, warmup=50)
    n_steps = each.n_steps(10, 4)  # 750, of which an epoch is two and a half
    rates = [each.learning_rate_at(step, n_steps) for step in range(n_steps)]
    assert rates[:125] == pytest.approx([(step + 1) / 125 for step in range(125)])
    assert rates[125] == 1.0
    assert rates[125 + (750 - 125) // 2] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 1e-4


def test_a_shortened_fit_keeps_the_proportions_of_its_rounds_and_of_their_warmup() -> None:
    first, last = Round(steps=100, warmup=50), Round(steps=300, warmup=20)
    (member,) = shortened(replace(COMPACT, members=(replace(UNET, rounds=(first, last)),)), 40).members
    assert member.rounds == (replace(first, steps=10, warmup=5), replace(last, steps=30, warmup=2))


def test_a_shortened_fit_of_epochs_counts_in_steps() -> None:
    (member,) = shortened(RECIPES["swin-brats18"], 30).members
    (only,) = member.rounds
    assert (only.steps, only.epochs, only.warmup) == (30, 0, 5)


def test_a_fit_of_steps_and_epochs_cannot_be_shortened() -> None:
    mixed = replace(COMPACT, members=(replace(UNET, rounds=(Round(steps=1), Round(epochs=1))),))
    with pytest.raises(SettingsError, match="steps: cannot be given; found rounds of unet in steps and in epochs"):
        shortened(mixed, 3)


@pytest.mark.parametrize(("n_cases", "batch", "expected"), [(10, 1, 5000), (10, 4, 1250), (7, 2, 1750), (3, 8, 188)])
def test_an_epoch_shows_every_case_once(n_cases: int, batch: int, expected: int) -> None:
    assert Round(epochs=500).n_steps(n_cases, batch) == expected
    assert Round(steps=7).n_steps(n_cases, batch) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"steps": 0},
            "steps: impossible value; found 0 steps and 0 epochs, expected one of them above 0, the other 0",
        ),
        ({"epochs": 3}, "found 5 steps and 3 epochs"),
        ({"steps": -1}, "found -1 steps"),
        ({"learning_rate": 0}, "learning_rate: impossible value"),
        ({"learning_rate": float("nan")}, "learning_rate: impossible value"),
        ({"patches": ((0.5, (8, 8, 8)),)}, "patches: impossible value.*expected shares of the round that begin with 0"),
    ],
    ids=str,
)
def test_impossible_rounds_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Round(**{"steps": 5, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"members": (UNET, UNET)},
            "members: impossible value; found unet, unet, expected members with different names",
        ),
        ({"members": ()}, "members: impossible value; found none"),
        ({"batch": 0}, "batch: impossible value; found 0, expected at least 1"),
        ({"checkpoint_steps": 0}, "checkpoint_steps: impossible value"),
        ({"average": 1.0}, "average: impossible value; found 1.0, expected 0 <= average < 1"),
        ({"optimizer": "sgd"}, "optimizer: unknown optimizer 'sgd'; expected one of adam, adamw"),
        ({"precision": "fp8"}, "precision: unknown precision 'fp8'"),
        ({"sequences": ()}, "sequences: impossible value"),
        ({"preprocessing": Preprocessing(resize=(64, 64, 64))}, "mix: impossible value.*expected no pieces"),
        ({"mix": {CaseKind.HEAD: 0.0}}, "mix: impossible value"),
        ({"key_point_weight": -0.1}, "key_point_weight: impossible value; found -0.1"),
        ({"generalised_dice_weight": float("inf")}, "generalised_dice_weight: impossible value"),
        ({"dice_weight": 0.0, "entropy_weight": 0.0, "key_point_weight": 1.0}, "dice_weight: .*for one of them"),
        ({"head": Head.SOFTMAX, "key_point_weight": 0.1}, "head: impossible value; found softmax, expected sigmoid"),
        ({"mirror": "x"}, "mirror is not a choice of axes; found 'x'"),
        ({"rules": PostprocessRules(thresholds={"RC": 0.5})}, "unknown region in thresholds 'RC'"),
        (
            {"additions": (Addition("a"), Addition("a"))},
            "additions: impossible value; found a, a, expected .*different",
        ),
        ({"window": (100, 96, 96)}, "window: unet: the window cannot be halved.*found 100 x 96 x 96"),
        ({"whole": (160, 190, 160)}, "window: unet: the window cannot be halved.*found 160 x 190 x 160"),
        ({"piece_patch": (40, 64, 64)}, "window: unet: the window cannot be halved.*found 40 x 64 x 64"),
    ],
    ids=str,
)
def test_impossible_recipes_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(COMPACT, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "vgg"}, "network: unet: unknown network 'vgg'"),
        ({"size": "huge"}, "size: unet: unknown size 'huge'; expected one of published, compact"),
        ({"size": {"channels": [4]}}, "size: impossible channels; found .4., expected at least two"),
        ({"rounds": ()}, "rounds: unet: impossible value; found none"),
    ],
)
def test_impossible_members_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(COMPACT, members=(replace(UNET, **change),))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_toml_as_it_was(name: str) -> None:
    assert recipe_of(tomllib.loads(recipe_toml(RECIPES[name])), place="x") == RECIPES[name]


def test_every_setting_comes_back_from_toml() -> None:
    variety = Augmentation(tumour_share=0.25, slopes=(0.3, 3.0), largest_turn=20.0, flip_share=0.0)
    each = Round(epochs=2, learning_rate=1e-7, warmup=3, patches=((0.0, (32, 64, 96)),), variety=variety)
    odd = Recipe(
        name='a "name"',
        title="back\\slash, Ä and\ttab",
        members=(
            MemberRecipe(name="m", title="", network="unet", size="published", rounds=(each, each)),
            MemberRecipe(
                name="n", title="", network="unet", size={"channels": [4, 8], "n_convs": [1, 1]}, rounds=(each,)
            ),
        ),
        regions=REGION_SETS["wt-tc-et-rc"],
        head=Head.SOFTMAX,
        sequences=(Sequence.T2F, Sequence.T1C),
        preprocessing=Preprocessing(largest_piece=True, clip=(0.25, 1.0)),
        batch=3,
        optimizer="adam",
        weight_decay=1e-30,
        clip_norm=0.0,
        average=0.5,
        precision="fp32",
        recompute_activations=True,
        mix={CaseKind.PIECE: 0.25, CaseKind.SYNTHETIC: 1.0},
        piece_patch=(32, 32, 64),
        window=(64, 96, 128),
        whole=(96, 96, 160),
        mirror="kj",
        rules=PostprocessRules(thresholds={"RC": 0.25}, et_total_voxels=500, et_total_mean=1.0),
        additions=(
            Addition("one-two", arguments={"n_convs": [1, 1]}),
            Addition("three", settings={"entropy_weight": 0.5}),
        ),
        seed=7,
        checkpoint_steps=9,
    )
    assert recipe_of(tomllib.loads(recipe_toml(odd)), place="x") == odd


def test_losses_have_the_weights_of_the_recipe() -> None:
    weights = {"dice": 0.5, "generalised_dice": 2.0, "entropy": 3.0, "key_points": 4.0, "empty_share": 0.25}
    recipe = replace(
        COMPACT,
        dice_weight=0.5,
        generalised_dice_weight=2.0,
        entropy_weight=3.0,
        key_point_weight=4.0,
        empty_share=0.25,
    )
    assert recipe.loss_weights == LossWeights(**weights)


def test_a_member_is_mirrored_and_cleaned_as_its_recipe_says() -> None:
    member = recipe_member(RECIPES["dmfnet-mie-sie-bsc"], "dmfnet")
    assert member.mirror == "ijk"
    probabilities = np.full((3, 8, 8, 8), 0.95, np.float32)
    label_map, _ = postprocess(probabilities, member.regions, member.rules)
    assert (label_map == Label.ET).all()
    fewer, _ = postprocess(probabilities[:, :7], member.regions, member.rules)  # 448 voxels
    assert (fewer == Label.NCR).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("../up", {}, "name: impossible value; found '../up'"),
        ("part", {"key_points": 0.0}, "settings: part: unknown numeric setting 'key_points'.*key_point_weight"),
        ("part", {"batch": 2.0}, "unknown numeric setting 'batch'"),
    ],
)
def test_impossible_additions_are_refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Addition(name, settings=settings)


def test_the_head_decides_what_the_channels_are() -> None:
    recipe = replace(COMPACT, regions=REGION_SETS["wt-tc-et-rc"])
    assert recipe.outputs == (Region.WT, Region.TC, Region.ET, Region.RC)
    labels = (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET, Label.RC)
    assert replace(recipe, head=Head.SOFTMAX).outputs == labels


def test_settings_that_are_not_given_have_their_defaults() -> None:
    text = """
        name = "short"
        title = ""
        [[members]]
        name = "unet"
        title = ""
        network = "unet"
        size = "compact"
        [[members.rounds]]
        steps = 3
        learning_rate = 1
    """
    recipe = recipe_of(tomllib.loads(text), place="x")
    assert recipe.members[0].rounds == (Round(steps=3, learning_rate=1.0),)
    assert recipe.batch == 1


def changed(path: str, value: object) -> dict:
    """The compact recipe's data with one value changed, by its path."""
    data = recipe_data(COMPACT)
    *way, last = path.split(".")
    there = data
    for step in way:
        there = there[int(step)] if step.isdigit() else there[step]
    there[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("batches", 2, "mine.toml: recipe: unknown setting 'batches'; expected one of name, .* Did you mean 'batch'"),
        ("members.0.rounds.0.variety.poseshare", 0.5, "unknown setting 'poseshare'.*Did you mean 'pose_share'"),
        ("batch", "2", "mine.toml: batch: impossible value; found '2', expected a whole number"),
        ("batch", True, "mine.toml: batch: impossible value; found True"),
        ("average", "x", "mine.toml: average: impossible value; found 'x', expected a number"),
        ("recompute_activations", 1, "recompute_activations: impossible value; found 1, expected true or false"),
        ("title", 3, "mine.toml: title: impossible value; found 3, expected text"),
        ("window", [64, 64], r"mine.toml: window: impossible value; found \[64, 64\], expected 3 numbers"),
        ("window", [64, 64, 64.5], "mine.toml: window: impossible value"),
        ("regions", "wt", "mine.toml: regions: unknown region set 'wt'; expected one of wt-tc-et"),
        ("head", "argmax", "mine.toml: head: unknown head 'argmax'; expected one of sigmoid, softmax"),
        ("preprocessing.clip", [0.9, 0.1], "mine.toml: clip: impossible value; found 0.9 to 0.1, expected two quantil"),
        ("preprocessing.resize", [64, 64], r"mine.toml: resize: impossible value; found \[64, 64\], expected 3 numb"),
        ("preprocessing.largest_piece", 1, "mine.toml: largest_piece: impossible value; found 1, expected true or"),
        ("sequences", ["t1n", "adc"], "mine.toml: sequences: unknown sequence 'adc'"),
        ("mix", {"heads": 1}, "mine.toml: mix: unknown kind of case 'heads'; expected one of head, piece, synthetic"),
        ("mix", [1], "mine.toml: mix: impossible value"),
        ("rules", 3, "mine.toml: rules: impossible value; found 3, expected a table"),
        ("rules", {"et": 3}, "mine.toml: .*unknown rule of post-processing 'et'"),
        ("additions", {}, "mine.toml: additions: impossible value.*a list"),
        ("additions", [{"name": "a", "arguments": 1}], "mine.toml: arguments: impossible value"),
        ("additions", [{"name": "a", "settings": {"average": True}}], "mine.toml: settings: .*a table of numbers"),
        ("members", 3, "mine.toml: members: impossible value; found 3, expected a list"),
        ("members", ["unet"], "mine.toml: MemberRecipe: impossible value; found 'unet', expected a table"),
        ("members.0.rounds.0.patches", [[0, 64]], "mine.toml: patches: impossible value; found 64, expected 3 numbers"),
        ("members.0.rounds.0.patches", [7], "mine.toml: patches: impossible value; found .7., expected pairs"),
        (
            "members.0.rounds.0.variety.slopes",
            1.5,
            "mine.toml: slopes: impossible value; found 1.5, expected 2 numbers",
        ),
        ("members.0.size", 3, "mine.toml: size: impossible value; found 3, expected the name of a size, or a table"),
        ("members.0.size", "tiny", "mine.toml: unet: size: unknown size 'tiny'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(path: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        recipe_of(changed(path, value), place="mine.toml")


def test_a_missing_setting_is_named() -> None:
    data = recipe_data(COMPACT)
    del data["members"][0]["network"]
    with pytest.raises(SettingsError, match=r"mine\.toml: network: missing; expected a value for every MemberRecipe"):
        recipe_of(data, place="mine.toml")


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(InputError, match=r"bad\.toml: cannot be read as TOML"):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(InputError, match=r"gone\.toml: cannot be read as TOML"):
        read_toml(tmp_path / "gone.toml")


def test_the_compact_recipe_continues_the_members_of_the_synthetic_one() -> None:
    before = RECIPES["synthetic"]
    assert [(each.name, each.network, each.size) for each in COMPACT.members] == [
        (each.name, each.network, each.size) for each in before.members
    ]
    assert (COMPACT.sequences, COMPACT.regions) == (before.sequences, before.regions)
    for member, started in zip(COMPACT.members, before.members, strict=True):
        assert member.rounds[0].learning_rate < started.rounds[0].learning_rate
        assert member.rounds[0].steps < started.rounds[0].steps


def test_few_patients_are_varied_more_than_many_heads() -> None:
    (few,), (many,) = ({each.rounds[0].variety for each in RECIPES[name].members} for name in ("compact", "synthetic"))
    assert few.drop_share > many.drop_share
    assert few.transplant_share > many.transplant_share


def test_most_patches_of_the_compact_recipe_are_of_patients() -> None:
    mix = RECIPES["compact"].mix
    assert mix[CaseKind.HEAD] > sum(mix.values()) / 2


@pytest.mark.parametrize("setting", ["entropy_weight", "empty_share"])
@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf")])
def test_impossible_weights_of_the_loss_are_refused(setting: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{setting}: impossible value; found {value}"):
        replace(RECIPES["compact"], **{setting: value})


def test_the_synthetic_recipe_trains_only_on_synthetic_heads() -> None:
    recipe = RECIPES["synthetic"]
    assert dict(recipe.mix) == {CaseKind.SYNTHETIC: 1.0}
    assert {each.variety.transplant_share for member in recipe.members for each in member.rounds} == {0.0}


def test_the_post_treatment_recipe_is_as_published() -> None:
    recipe = RECIPES["vnet-gli2024"]
    (member,) = recipe.members
    (only,) = member.rounds
    labels = (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET, Label.RC)
    assert (member.network, member.size, recipe.outputs) == ("vnet", "published", labels)
    assert recipe.preprocessing == Preprocessing(largest_piece=True, resize=(160, 160, 160), clip=(0.01, 0.99))
    assert (recipe.window, only.patches) == ((160, 160, 160), ((0.0, (160, 160, 160)),))
    assert (recipe.optimizer, recipe.batch, only.learning_rate) == ("adamw", 4, 1e-3)
    assert only.n_steps(n_cases=8, batch=4) == 300 * 5 * 8 / 4


def test_the_compact_post_treatment_recipe_differs_only_in_size() -> None:
    published, compact = RECIPES["vnet-gli2024"], RECIPES["vnet-gli2024-compact"]
    changed = {name: getattr(compact, name) for name in ("name", "title", "members", "batch", "window", "whole")}
    view = replace(published.preprocessing, resize=compact.window)
    assert replace(published, preprocessing=view, **changed) == compact
    assert (compact.members[0].network, compact.members[0].size) == ("vnet", "compact")


@pytest.mark.parametrize("name", ["paper-gli", "paper-ssa", "paper-ped"])
def test_the_paper_recipes_are_as_published(name: str) -> None:
    recipe = RECIPES[name]
    assert {member.network for member in recipe.members} == {"unet", "transbts", "axial_unet"}
    assert {member.size for member in recipe.members} == {"published"}
    assert recipe.optimizer == "adam"
    for member in recipe.members:
        (only,) = member.rounds
        assert (only.epochs, only.patches) == (500, ((0.0, (192, 224, 160)),))
        variety = only.variety
        shares = {n: getattr(variety, n) for n in Augmentation.__dataclass_fields__ if n.endswith("_share")}
        assert {n for n, share in shares.items() if share} == {"tumour_share", "flip_share"}
        assert (variety.scale, variety.shift) == (0.1, 0.1)


def test_the_recipe_of_swin_unetr_is_the_published_one() -> None:
    recipe = RECIPES["swin-brats18"]
    (member,) = recipe.members
    (only,) = member.rounds
    assert (member.network, member.size) == ("swin_unetr", "published")
    assert (recipe.optimizer, recipe.weight_decay, only.learning_rate) == ("adamw", 1e-5, 1e-4)
    assert (only.epochs, only.warmup, only.patches) == (300, 50, ((0.0, (128, 128, 128)),))
    assert (recipe.entropy_weight, recipe.clip_norm, recipe.average, recipe.batch) == (0.0, 0.0, 0.0, 4)
    assert recipe.sequences == (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    shares = {n: getattr(only.variety, n) for n in Augmentation.__dataclass_fields__ if n.endswith("_share")}
    assert {n: share for n, share in shares.items() if share} == {"flip_share": 0.5}
    assert (only.variety.scale, only.variety.shift) == (0.1, 0.1)


def test_the_compact_recipe_of_swin_unetr_differs_in_what_two_cores_need() -> None:
    published, compact = RECIPES["swin-brats18"], RECIPES["swin-brats18-compact"]
    assert (compact.sequences, compact.regions, compact.window) == (
        published.sequences,
        published.regions,
        published.window,
    )
    assert compact.members[0].size == "compact"
    assert compact.members[0].rounds[0].steps == 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"window": (240, 240, 160)},
        {"preprocessing": Preprocessing(resize=(240, 240, 160)), "mix": {CaseKind.HEAD: 1.0}},
    ],
    ids=["window", "resize"],
)
def test_a_recipe_whose_manifest_could_not_be_read_is_refused(settings: dict) -> None:
    with pytest.raises(SettingsError, match=r"too large to fit in memory; found \[240, 240, 160\].*Correct the recipe"):
        replace(COMPACT, **settings)
