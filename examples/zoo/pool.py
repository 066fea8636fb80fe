"""Write `pool.yaml`, the whole zoo as a pool: `python -m examples.zoo.pool`."""

from pathlib import Path

from examples.zoo.recipes import RECIPES, Recipe

MAX_TOKENS = 24
POOL = Path(__file__).parent / "pool.yaml"
HEADER = "# The zoo as a pool, in LiteLLM's model_list form. Paths are relative to this file.\nmodel_list:\n"


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


def main() -> None:
    rows = (entry(recipe) for recipe in RECIPES)
    POOL.write_text(HEADER + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
