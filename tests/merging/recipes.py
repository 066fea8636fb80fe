"""Recipes that both merge: gradients, filters, slices, tied and untied models, three number formats.

mergekit computes in the recipe's `dtype`, we in float32 always; so recipes of half precision say float32, and
the format of the result apart.
"""

from typing import Any

Recipe = dict[str, Any]
HALF: Recipe = {"dtype": "float32", "out_dtype": "bfloat16"}


def recipe(method: str, models: list[Recipe], *, base: str | None = "base", **more: Any) -> Recipe:
    """A recipe over the folders of `models.py`; `more`: its other keys."""
    start: Recipe = {"merge_method": method, "models": models, "dtype": "float32"}
    return {**start, **({"base_model": base} if base else {}), **more}


def model(name: str, **parameters: Any) -> Recipe:
    """An entry of `models`; `lambda_` = `lambda`."""
    return {"model": name, **({"parameters": parameters} if parameters else {})}


A, B, C = model("a", weight=0.5), model("b", weight=0.3), model("c", weight=0.4)
GRADIENT = [0.0, 0.7, 1.0, 0.2]
FILTERED = [{"filter": "self_attn", "value": [0.1, 0.9]}, {"filter": "mlp", "value": 0.4}, {"value": 0.7}]


def tasks(weight: Any = 0.5, **parameters: Any) -> list[Recipe]:
    """Three models with the same parameters."""
    return [model(name, weight=weight, **parameters) for name in ("a", "b", "c")]


def of(suffix: str, models: list[Recipe]) -> list[Recipe]:
    """The same entries of the models of another family."""
    return [{**entry, "model": entry["model"] + suffix} for entry in models]


RECIPES: dict[str, Recipe] = {
    "linear": recipe("linear", [A, B, C], base=None),
    "linear_gradient": recipe("linear", [model("a", weight=GRADIENT), model("b", weight=0.5)], base=None),
    "linear_filters": recipe("linear", [model("a", weight=FILTERED), model("b", weight=0.5)], base=None),
    "linear_sum": recipe("linear", [A, model("b", weight=-0.2)], base=None, parameters={"normalize": False}),
    "linear_half": recipe("linear", of("-half", [A, B]), base=None, **HALF),
    "linear_tied": recipe("linear", of("-tied", [A, B]), base=None),
    "slerp": recipe("slerp", [model("base"), model("a")], parameters={"t": 0.3}),
    "slerp_gradient_filters": recipe(
        "slerp",
        [model("base"), model("b")],
        parameters={"t": [{"filter": "mlp", "value": [0, 0.3, 1]}, {"value": 0.6}]},
    ),
    "slerp_tied_half": recipe(
        "slerp",
        [model("base-tied-half"), model("a-tied-half")],
        base="base-tied-half",
        parameters={"t": 0.5},
        **HALF,
    ),
    "task_arithmetic": recipe("task_arithmetic", [A, B, C], parameters={"lambda": 0.6}),
    "task_arithmetic_negative": recipe("task_arithmetic", [A, model("b", weight=[-0.4, 0.2])]),
    "task_arithmetic_mean": recipe("task_arithmetic", [A, B], parameters={"normalize": True}),
    "ties": recipe("ties", tasks(density=0.4)),
    "ties_defaults": recipe("ties", tasks()),
    "ties_gradient_filters": recipe(
        "ties",
        [
            model("a", weight=GRADIENT, density=[0.2, 0.8]),
            model("b", weight=FILTERED, density=[{"filter": "mlp", "value": 0.3}, {"value": 0.9}]),
        ],
        parameters={"lambda": 1.2},
    ),
    "ties_sum": recipe("ties", tasks(density=0.5), parameters={"normalize": False, "int8_mask": True}),
    "ties_rescaled": recipe("ties", tasks(density=0.5), parameters={"rescale": True}),
    "ties_half": recipe("ties", of("-half", tasks(density=0.5)), base="base-half", **HALF),
    "ties_tied_half": recipe("ties", of("-tied-half", [A, B]), base="base-tied-half", **HALF),
    "ties_float16": recipe("ties", tasks(density=0.3), out_dtype="float16"),
    "breadcrumbs": recipe("breadcrumbs", tasks(density=0.7, gamma=0.05)),
    "breadcrumbs_gradient": recipe("breadcrumbs", tasks(density=[0.3, 0.9], gamma=[0.0, 0.2])),
    "breadcrumbs_ties": recipe(
        "breadcrumbs_ties", tasks(density=0.7, gamma=0.05), parameters={"normalize": True}
    ),
    "dare_linear": recipe("dare_linear", tasks(density=0.5)),
    "dare_linear_plain": recipe("dare_linear", tasks(density=[0.3, 0.8]), parameters={"rescale": False}),
    "dare_ties": recipe("dare_ties", tasks(density=0.4), parameters={"lambda": 0.8}),
    "slices": {
        "merge_method": "linear",
        "dtype": "float32",
        "slices": [
            {
                "sources": [
                    {"model": "a", "layer_range": [0, 2], "parameters": {"weight": 0.6}},
                    {"model": "b", "layer_range": [1, 3], "parameters": {"weight": 0.2}},
                ]
            },
            {
                "sources": [
                    {"model": "c", "layer_range": [2, 3], "parameters": {"weight": 1.0}},
                    {"model": "a", "layer_range": [0, 1], "parameters": {"weight": 0.5}},
                ]
            },
        ],
    },
}
