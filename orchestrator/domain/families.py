"""Families of models: those of one maker's line are trained alike, and err and judge alike."""

import re
from collections import Counter
from collections.abc import Sequence

_NAME = re.compile(r"[^\W\d_]{2,}")


def family_of(model: str) -> str:
    """The line that a model's name begins with; "" where it has no letters.

    `Qwen/Qwen2.5-7B-Instruct` -> `qwen`; `openai/gpt-4o` -> `gpt`; `/models/gemma-2-9b` -> `gemma`.
    """
    last = model.rstrip("/").rsplit("/", 1)[-1]
    found = _NAME.search(last)
    return "" if found is None else found[0].lower()


def main_family(models: Sequence[str]) -> str | None:
    """The family of more than half of some models; None where there is none."""
    families = Counter(family_of(model) for model in models)
    name, n = families.most_common(1)[0] if families else ("", 0)
    return name if name and 2 * n > len(models) else None
