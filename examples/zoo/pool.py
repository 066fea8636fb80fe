"""Write `pool.yaml` with every member that is trained: `python -m examples.zoo.pool`."""

from pathlib import Path

from examples.zoo.recipes import RECIPES, Recipe
from examples.zoo.train import is_trained

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
        f"    litellm_params: {{model: models/{recipe.expert}}}\n"
        f"    model_info: {{{base}mode: chat, muster: {{engine: transformers, {extra}max_model_len: 512}}}}\n"
    )


def main() -> None:
    rows = (entry(recipe) for recipe in RECIPES if is_trained(recipe))
    POOL.write_text(HEADER + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
