"""Write `pool.yaml` and `combine.yaml`, the zoo as two pools: `python -m examples.zoo.pool`."""

from pathlib import Path

from examples.zoo.recipes import BY_EXPERT, COMBINE_RECIPES, GENERALIST, LARGE, MERGES, RECIPES, SMALL, Recipe

MAX_TOKENS = 24
HERE = Path(__file__).parent
HEADER = "# The zoo as a pool, in LiteLLM's model_list form. Paths are relative to this file.\nmodel_list:\n"
COMBINE_HEADER = (
    "# Families to combine: LoRA experts of one base, low-drift fine-tunes, a weak larger base to fuse.\n"
    "# `muster bench compositions` compares ways to combine them. Paths are relative to this file.\n"
    "muster:\n  profile_set: combine-profile.jsonl\nmodel_list:\n"
)


SPECIALISTS = ("keypad", "roman", "capitals", "reverse")
"""What recruits fuse with the larger base; they are members of both pools."""
FUSIONS: dict[str, tuple[str, dict[str, object]]] = {
    "up-keypad": (LARGE, {"rule": "upscale", "base": SMALL, "experts": ["keypad"]}),
    "up-roman": (LARGE, {"rule": "upscale", "base": SMALL, "experts": ["roman"]}),
    "dynamic-4": (LARGE, {"rule": "dynamic", "base": SMALL, "experts": [*SPECIALISTS]}),
    "average-lora": (GENERALIST, {"rule": "average", "models": ["lora-roman", "lora-sort", "lora-isodate"]}),
}
"""Fused experts: the large model, and the options of the engine with members by name."""


def entry(recipe: Recipe) -> str:
    """One row of the model list."""
    base, extra = "", ""
    if recipe.lora_rank:
        base, extra = f"base_model: models/{recipe.base}, ", "adapter: lora, "
    if recipe.family == "aggregator":
        extra = "roles: [aggregator], synthesize_prompt: compact, "
    return _row(recipe.expert, extra=extra, base=base)


def _row(name: str, *, extra: str, base: str) -> str:
    return (
        f"  - model_name: {name}\n"
        f"    litellm_params: {{model: models/{name}, max_tokens: {MAX_TOKENS}}}\n"
        f"    model_info: {{{base}mode: chat, muster: "
        f"{{engine: transformers, prompt: plain, {extra}max_model_len: 512}}}}\n"
    )


def merged_entry(name: str) -> str:
    """One row of a merged expert: a member like any other."""
    return _row(name, extra="", base="")


def fused_entry(name: str) -> str:
    """One row of a fused expert. LoRA experts are rows of their base's pass."""
    large, options = FUSIONS[name]
    shown = ", ".join(f"{key}: {_shown(value)}" for key, value in options.items())
    return (
        f"  - model_name: {name}\n"
        f"    litellm_params: {{model: models/{large}, max_tokens: {MAX_TOKENS}}}\n"
        f"    model_info: {{mode: chat, muster: {{engine: fusion, prompt: plain, max_model_len: 512,\n"
        f"      options: {{{shown}}}}}}}\n"
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    recipe = BY_EXPERT.get(str(value))
    if recipe is None:
        return str(value)
    if recipe.lora_rank:
        return f"{{model: models/{recipe.base}, adapter: models/{recipe.expert}}}"
    return f"{{model: models/{recipe.expert}}}"


def pool_files() -> dict[str, str]:
    """Both pool files by name."""
    shared = (BY_EXPERT[name] for name in (GENERALIST, *SPECIALISTS))
    combined = (*shared, *COMBINE_RECIPES)
    return {
        "pool.yaml": HEADER + "".join(map(entry, RECIPES)),
        "combine.yaml": "".join(
            [COMBINE_HEADER, *map(entry, combined), *map(fused_entry, FUSIONS), *map(merged_entry, MERGES)]
        ),
    }


def main() -> None:
    for name, text in pool_files().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
