"""The pool file of the real models: behind servers, or in process from checkpoints; and its compositions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODELS = ("smollm2", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
"""By size, the smallest first: names in the table of `workers.checkpoints.fetch`."""
LARGEST = MODELS[-1]
SHORT_WORK = "Work in at most three short sentences."
MAX_TOKENS = 256
SHOTS = {"k": 2, "max_chars": 700}
WARM = 0.7
"""Temperature of rows that ask the same model again."""


def _of(model: str, **more: Any) -> dict[str, Any]:
    return {"experts": [model], "aggregator": "majority", **more}


def _samples(k: int) -> dict[str, Any]:
    return {"router": "self_consistency", "router_options": {"k": k}, "temperature": WARM}


SHOWN = {f"shown-{model}": _of(model, router="all", shots=SHOTS) for model in MODELS}
SAMPLED = {f"sampled-{model}": _of(model, **_samples(3)) for model in MODELS}
COMPOSITIONS: Mapping[str, Mapping[str, Any]] = {
    **SHOWN,
    **SAMPLED,
    "judged": {
        "router": "all",
        "experts": list(MODELS[1:]),
        "aggregator": "judge",
        "aggregator_options": {"k": 1},
    },
    "synthesized": {"router": "all", "experts": list(MODELS[1:]), "aggregator": "synthesize"},
}
"""Compositions beside the stock ones: each model with shots, and asked three times; a judge and a synthesis,
by the largest model, over the two larger ones' answers."""

DEFAULT_ROWS = (*list(SHOWN)[1:], list(SAMPLED)[1], "synthesized", "judged")
"""Rows that are asked unless others are named: what half an hour of two cores is enough for."""


def pool(
    out: Path, *, addresses: Mapping[str, str] | None = None, checkpoints: Path | None = None, slots: int = 8
) -> dict[str, Any]:
    """The pool as it stands in a file.

    Args:
        out: folder of its database.
        addresses: of servers, by model.
        checkpoints: folder that the models lie in, where there are no servers.
    """
    members = [_member(name, addresses, checkpoints, slots) for name in MODELS]
    section = {
        "data_dir": str(out.resolve()),
        "profile_set": str(Path(__file__).with_name("profile.jsonl")),
        "compositions": {name: dict(spec) for name, spec in COMPOSITIONS.items()},
        "server": {"request_timeout_s": 600},
    }
    return {"model_list": members, "muster": section}


def _member(
    name: str, addresses: Mapping[str, str] | None, checkpoints: Path | None, slots: int
) -> dict[str, Any]:
    muster: dict[str, Any] = {
        "roles": ["expert", "aggregator"] if name == LARGEST else ["expert"],
        "system_prompt": SHORT_WORK,
        "max_model_len": 2048,
    }
    params: dict[str, Any] = {"max_tokens": MAX_TOKENS}
    if addresses is not None:
        params |= {"model": name, "api_base": addresses[name]}
        # The server's own sampling would leave out tokens that ours keeps.
        plain = {"top_k": 0, "min_p": 0.0}
        patience = {"timeout_s": 900, "deadline_s": 1800}
        muster |= {"engine": "server", "options": {"max_concurrent": slots, "extra_body": plain, **patience}}
    else:
        assert checkpoints is not None
        params["model"] = str((checkpoints / name).resolve())
        muster |= {"engine": "transformers", "options": {"max_batch": slots}}
    return {"model_name": name, "litellm_params": params, "model_info": {"muster": muster}}
