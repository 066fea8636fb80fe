"""Write `pool.yaml` and `combine.yaml`, the zoo as two pools: `python -m examples.zoo.pool`."""

import json
from pathlib import Path

from examples.zoo.recipes import BY_EXPERT, COMBINE_RECIPES, GENERALIST, RECIPES, Recipe

MAX_TOKENS = 24
HERE = Path(__file__).parent
HEADER = "# The zoo as a pool, in LiteLLM's model_list form. Paths are relative to this file.\nmodel_list:\n"
COMBINE_HEADER = (
    "# Families to combine: LoRA experts of one base, low-drift fine-tunes of another, a larger base.\n"
    "# `muster bench compositions` compares ways to combine them. Paths are relative to this file.\n"
    "muster:\n  profile_set: combine-profile.jsonl\nmodel_list:\n"
)


def entry(recipe: Recipe) -> str:
    """One row of the model list."""
    base, extra = "", ""
    if recipe.lora_rank:
        base, extra = f"base_model: models/{recipe.base}, ", "adapter: lora, "
    if recipe.family == "aggregator":
        extra = "roles: [aggregator], synthesize_prompt: compact, "
    return (
        f"  - model_name: {recipe.expert}\n"
        f"    litellm_params: {{model: models/{recipe.expert}, max_tokens: {MAX_TOKENS}}}\n"
        f"    model_info: {{{base}mode: chat, muster: "
        f"{{engine: transformers, prompt: plain, {extra}max_model_len: 512}}}}\n"
    )


def pool_files() -> dict[str, str]:
    """Both pool files by name, of the members that are trained."""
    known = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))["experts"]
    combined = (r for r in (BY_EXPERT[GENERALIST], *COMBINE_RECIPES) if r.expert in known)
    return {
        "pool.yaml": HEADER + "".join(map(entry, RECIPES)),
        "combine.yaml": COMBINE_HEADER + "".join(map(entry, combined)),
    }


def main() -> None:
    for name, text in pool_files().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
