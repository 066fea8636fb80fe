"""Pool files: scripted experts that answer letters, each at its own pace, and experts behind servers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

LOG = "engines.jsonl"
PROVIDER_KEY = "sk-planted-8831ab77"
ANSWER = "The answer is (A)."
Json = Mapping[str, object]


def scripted(
    name: str,
    *,
    delay_s: float = 0.5,
    rules: Sequence[Json] = (),
    reply: str = ANSWER,
    roles: Sequence[str] = ("expert",),
    **options: object,
) -> Json:
    """An expert that answers the same letter to all; replies are spread over the last `delay_s`."""
    pace = [
        {"regex": rf"{digit}\?", "reply": reply, "delay_s": round(delay_s * (digit + 1) / 10, 3)}
        for digit in range(10)
    ]
    fallback = {"regex": ".", "reply": reply, "delay_s": delay_s}
    script = {"log": LOG, "rules": [*rules, *pace, fallback], **options}
    return _member(name, engine="scripted", roles=roles, options=script, params={"model": f"scripted/{name}"})


def served(
    name: str, url: str, *, roles: Sequence[str] = ("expert",), timeout_s: float = 2.0, **options: object
) -> Json:
    """An expert behind an OpenAI-compatible server, with little patience and a planted key."""
    patience = {"connect_timeout_s": 1.0, "stall_timeout_s": 1.0, "deadline_s": 4.0, "patience_s": 2.0}
    params = {"model": "base", "api_base": url, "api_key": PROVIDER_KEY, "timeout": timeout_s}
    return _member(
        name,
        engine="server",
        roles=roles,
        options={**patience, "check_models": False, **options},
        params=params,
    )


def _member(
    name: str, *, engine: str, roles: Sequence[str], options: Json, params: Json
) -> Mapping[str, object]:
    muster = {"engine": engine, "roles": list(roles), "options": dict(options)}
    return {"model_name": name, "litellm_params": dict(params), "model_info": {"muster": muster}}


def write_pool(
    path: Path, members: Sequence[Json], *, muster: Json, router_settings: Json | None = None
) -> Path:
    config: dict[str, object] = {"model_list": list(members), "muster": dict(muster)}
    if router_settings:
        config["router_settings"] = dict(router_settings)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def question(number: int, text: str = "Which letter is right for case") -> dict[str, object]:
    return {
        "id": f"q{number}",
        "question": f"{text} {number}?",
        "options": ["first", "second", "third"],
        "answer_type": "choice",
    }


def questions(
    n: int, *, start: int = 0, text: str = "Which letter is right for case"
) -> list[dict[str, object]]:
    return [question(number, text) for number in range(start, start + n)]


def jsonl(asked: Sequence[Json]) -> bytes:
    return "".join(json.dumps(question) + "\n" for question in asked).encode()
