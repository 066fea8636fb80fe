"""Recipes are read as mergekit reads them, and what they do not say right is told with its line."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, UnknownNameError
from workers.checkpoints.merging.layout import evaluated, made_tensors, parameters_at
from workers.checkpoints.merging.methods import NATIVE, PARAMETERS
from workers.checkpoints.merging.preflight import check_recipe
from workers.checkpoints.merging.recipe import ModelRef, Recipe, check_parameters, read_recipe

NAMES = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.mlp.up_proj.weight" for i in range(5)),
    "model.norm.weight",
]
TIES = """
merge_method: ties
base_model: base
models:
  - model: base
  - model: a
    parameters: {weight: [0, 1], density: 0.5}
  - model: {model: {path: b}, lora: {path: l}}
    parameters:
      weight:
        - {filter: mlp, value: 0.25}
        - {value: 0.75}
parameters: {density: 1e-1, normalize: true, int8_mask: true}
dtype: bfloat16
out_dtype: float16
tokenizer_source: base
chat_template: auto
"""


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    found = read_recipe(path, native=NATIVE)
    check_parameters(found, PARAMETERS, path)
    if not found.beyond(NATIVE):
        check_recipe(found)
    return found


def test_a_mergekit_recipe_is_read_unchanged(tmp_path: Path) -> None:
    found = recipe(tmp_path, TIES)
    assert found.inputs == [ModelRef("base"), ModelRef("a"), ModelRef("b", "l")]
    assert (found.result_dtype, found.tokenizer_of, found.beyond(NATIVE)) == ("float16", "base", [])


def test_gradients_filters_and_precedence_are_mergekits(tmp_path: Path) -> None:
    found = recipe(tmp_path, TIES)
    made = {one.name: one for one in made_tensors(found, NAMES)}

    def at(name: str) -> dict[str, object]:
        return dict(parameters_at(made[name], found, ["weight", "density", "normalize", "lambda"]))

    # Layer 1 of 5 stands at t = 1/4; the base sets nothing; YAML reads 1e-1 as text.
    assert at(NAMES[2]) == {"weight": [None, 0.25, 0.25], "density": [0.1, 0.5, 0.1], "normalize": True}
    assert at(NAMES[5])["weight"] == [None, 1.0, 0.25]
    assert at(NAMES[0])["weight"] == [None, 0.0, 0.75]  # outside the layers: the first value
    assert at(NAMES[6])["weight"] == [None, 0.0, 0.75]


@pytest.mark.parametrize(
    ("setting", "t", "value"),
    [
        (0.5, 0.3, 0.5),
        ([0, 1], 0.25, 0.25),
        ([0, 1, 0], 0.75, 0.5),
        ([0, 0.5, 1], 1.0, 1.0),
        ([3], 0.7, 3),
        (["a", "b"], 0.9, "a"),
        ([True, False], 1.0, False),
        ([{"filter": "up_proj", "value": [0, 2]}, {"filter": None, "value": 9}], 0.5, 1.0),
        ([{"filter": "q_proj", "value": 1}], 0.5, None),
        ([{"filter": "*", "value": 4}], 0.5, 4),
    ],
)
def test_settings_by_hand(setting: object, t: float, value: object) -> None:
    assert evaluated(setting, NAMES[1], t) == value  # type: ignore[arg-type]


def test_slices_take_layers_from_where_they_say(tmp_path: Path) -> None:
    found = recipe(
        tmp_path,
        """
merge_method: slerp
base_model: a
slices:
  - sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [1, 3]}]
  - sources: [{model: b, layer_range: [0, 1]}, {model: a, layer_range: [4, 5]}]
    parameters: {t: 0.9}
parameters: {t: [0.1, 0.3]}
""",
    )
    made = made_tensors(found, NAMES)
    layers = {one.name: one for one in made if ".layers." in one.name}
    assert [one.sources for one in layers.values()] == [
        [NAMES[1], NAMES[2]],
        [NAMES[2], NAMES[3]],
        [NAMES[1], NAMES[5]],
    ]
    assert [parameters_at(one, found, ["t"])["t"] for one in layers.values()] == [0.1, 0.3, 0.9]
    assert [one.base_source for one in layers.values()] == [NAMES[1], NAMES[2], NAMES[5]]


BAD: dict[str, tuple[str, str]] = {
    "unknown_key": ("merge_methods: ties\nmodels: [{model: a}]\n", "Did you mean 'merge_method'?"),
    "unknown_inner_key": (TIES.replace("parameters: {weight", "parameter: {weight"), "'models.1.parameter'"),
    "unknown_parameter": (TIES.replace("density: 0.5", "densty: 0.5"), "Did you mean 'density'?"),
    "unknown_method": (TIES.replace("ties", "tise", 1), "Did you mean 'ties'?"),
    "no_models": ("merge_method: ties\nbase_model: a\n", "exactly one of"),
    "models_and_slices": (TIES + "slices: [{sources: [{model: a, layer_range: [0, 1]}]}]", "exactly one of"),
    "no_base": (TIES.replace("base_model: base\n", ""), "needs a base model"),
    "only_the_base": ("merge_method: ties\nbase_model: a\nmodels: [{model: a}]\n", "not 0"),
    "two_for_slerp": (
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}, {model: c}]\n",
        "takes exactly 1 model",
    ),
    "bad_dtype": (TIES.replace("bfloat16", "int4"), "dtype"),
    "not_a_mapping": ("- a\n", "must be a mapping"),
    "not_yaml": ("a: [", "not valid YAML"),
    "empty": ("", "is empty"),
    "model_of_number": ("merge_method: linear\nmodels: [{model: 1}]\n", "is no model"),
    "model_with_two_adapters": ("merge_method: linear\nmodels: [{model: a+b+c}]\n", "is no model"),
    "empty_model": ("merge_method: linear\nmodels: [{model: ''}]\n", "is no model"),
    "tokenizer_source_of_number": (
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer_source: 7\n",
        "3: tokenizer_source: is no model",
    ),
    "tokenizer_source_with_unknown_key": (
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer_source: {folder: a}\n",
        "is no model",
    ),
    "tokenizer_of_a_list": (
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer: {source: [a]}\n",
        "3: tokenizer.source: is no model",
    ),
    "empty_tokenizer_source": (
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer_source: ''\n",
        "is no model",
    ),
    "zero_byte": ('merge_method: linear\nmodels: [{model: "a\\0b"}]\n', "zero byte"),
    "infinite": ("merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: .inf}\n", "not finite"),
    "empty_gradient": ("merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: []}", "empty list"),
    "mixed_list": (
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: [1, {value: 2}]}\n",
        "mixes numbers",
    ),
    "condition_without_value": (
        "merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: {filter: mlp}}\n",
        "`filter` and `value`",
    ),
    "uneven_slices": (
        "merge_method: linear\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2]}\n"
        "  - {model: b, layer_range: [0, 1]}\n",
        "1 and 2 layers",
    ),
    "backward_range": (
        "merge_method: linear\nslices:\n- sources: [{model: a, layer_range: [2, 1]}]\n",
        "no range of layers",
    ),
    "rank_of_full": ("merge_method: linear\nmodels: [{model: a}]\nrank: 4\n", "`rank`"),
    "name_with_slash": ("merge_method: linear\nmodels: [{model: a}]\nname: a/b\n", "name"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, case: str) -> None:
    text, said = BAD[case]
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        made_tensors(recipe(tmp_path, text), NAMES)
    assert said in str(error.value)


def test_the_line_of_a_mistake_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        recipe(tmp_path, "merge_method: ties\nbase_model: a\nmodels:\n  - model: b\n    params: {}\n")
    assert error.value.line == 5


@pytest.mark.parametrize(
    "text",
    [
        "merge_method: della\nbase_model: a\nmodels: [{model: b}]\n",
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer_source: union\n",
        "merge_method: linear\nmodels: [{model: a}]\ntokenizer: {source: base, tokens: {x: {source: a}}}\n",
        "merge_method: linear\nmodels: [{model: a}]\nchat_template: chatml\n",
        "merge_method: linear\nmodules: {x: {models: [{model: a}]}}\n",
    ],
)
def test_what_only_mergekit_does_is_left_to_it(tmp_path: Path, text: str) -> None:
    assert len(recipe(tmp_path, text).beyond(NATIVE)) == 1


def test_comments_order_and_names_do_not_change_a_recipes_hash(tmp_path: Path) -> None:
    first = recipe(tmp_path, "merge_method: linear\nmodels: [{model: a}]\n")
    second = recipe(tmp_path, "# once more\nname: x\nmodels:\n- model: a\nmerge_method: linear\n")
    other = recipe(tmp_path, "merge_method: linear\nmodels: [{model: b}]\n")
    assert first.hash == second.hash != other.hash
