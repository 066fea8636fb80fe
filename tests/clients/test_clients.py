"""Real clients against a real server, each in its own environment and with its own defaults.

The experts behind the server follow rules (tests/clients/engine.py), so that what comes out is known.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.clients.engine import MODELS, REFUSED, VALUES, Asked, rule_server
from tests.harness.embedded import serving
from tests.harness.processes import ROOT

HERE = Path(__file__).parent
PARIS = "Paris is the capital of France."
CITY = {"name": VALUES["name"], "population": VALUES["population"]}
COMMON: Mapping[str, object] = {
    "chat": PARIS,
    "stream": PARIS,
    "multi_turn": "Your name is Ada.",
}
"""Features that every client has, and what comes out."""


class Client(NamedTuple):
    """A program, the environment that it runs in, and what its features come to."""

    program: str
    environment: str
    features: Mapping[str, object]


def errors(wrong_model: str, too_long: str, refused: str) -> dict[str, object]:
    """Of each error the client's own class."""
    return {"wrong_model": [wrong_model, 404], "too_long": [too_long, 400], "refused": [refused, 422]}


OPENAI_ERRORS = errors("NotFoundError", "BadRequestError", "UnprocessableEntityError")
OPENAI = {**COMMON, **OPENAI_ERRORS, "models": True}
CLIENTS = {
    "openai": Client("openai_sdk.py", "openai", OPENAI),
    "openai-1": Client("openai_sdk.py", "openai-1", OPENAI),
    "node": Client("openai_sdk.mjs", "node", {**COMMON, **OPENAI_ERRORS}),
    "vercel": Client("vercel_ai.mjs", "node", {**COMMON, **errors(*["APICallError"] * 3)}),
    "langchain": Client(
        "langchain_openai_chat.py",
        "langchain",
        {
            **COMMON,
            **errors("OpenAIModelNotFoundError", "OpenAIContextOverflowError", "UnprocessableEntityError"),
        },
    ),
    "llamaindex": Client("llamaindex_openai_like.py", "llamaindex", {**COMMON, **OPENAI_ERRORS}),
    "instructor": Client("instructor_openai.py", "instructor", {"chat": PARIS}),
    "dspy": Client(
        "dspy_lm.py",
        "dspy",
        {
            **COMMON,
            "wrong_model": ["LMUnsupportedModelError", None],
            "too_long": ["ContextWindowExceededError", None],
            "refused": ["LMInvalidRequestError", None],
        },
    ),
    "pydantic-ai": Client(
        "pydantic_ai_agent.py",
        "pydantic-ai",
        {
            **COMMON,
            **errors("ModelNotFoundError", "ModelContextWindowExceededError", "ModelRequestRejectedError"),
        },
    ),
    "litellm": Client(
        "litellm_sdk.py",
        "litellm",
        {**COMMON, **errors("NotFoundError", "ContextWindowExceededError", "BadRequestError")},
    ),
}
WANTED = os.environ["MUSTER_TEST_CLIENTS"].split()
RUN = [name for name in CLIENTS if "all" in WANTED or name in WANTED]
CASES = [(client, feature) for client in RUN for feature in CLIENTS[client].features]


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, asked: Asked) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("clients")
    with rule_server(asked) as engine:
        (folder / "pool.yaml").write_text(yaml.safe_dump(pool(engine.url)))
        with serving(folder) as (_, address):
            yield f"{address}/v1"


def pool(engine_url: str) -> dict[str, object]:
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": engine_url},
            "model_info": {
                "supports_function_calling": True,
                "max_input_tokens": 16_000,
                "muster": {"engine": "server", "roles": ["expert", "aggregator"]},
            },
        }
        for name in MODELS
    ]
    return {
        "model_list": members,
        "muster": {"data_dir": "data", "embedder": {"model": "hash"}},
    }


@cache
def outcomes(client: str, url: str) -> Mapping[str, Mapping[str, Any]]:
    """What all features of a client came to, from one run of its program."""
    program, environment, features = CLIENTS[client]
    home = ROOT / f".venv-clients-{environment}"
    if program.endswith(".mjs"):
        # Modules are found from where the program lies.
        for source in (HERE / "node").glob("*.mjs"):
            (home / source.name).write_text(source.read_text())
        command = ["node", str(home / program)]
    else:
        command = [str(home / "bin" / "python"), str(HERE / "programs" / program)]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*"}
    done = subprocess.run(
        [*command, url, client, *features], env=env, cwd=home, capture_output=True, text=True, timeout=150
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize(("client", "feature"), CASES)
def test_a_client_gets_what_its_users_expect(client: str, feature: str, url: str) -> None:
    assert outcomes(client, url)[feature] == {"got": CLIENTS[client].features[feature]}


@pytest.mark.parametrize("client", [name for name in RUN if "refused" in CLIENTS[name].features])
def test_what_is_refused_is_asked_once(client: str, url: str, asked: Asked) -> None:
    """Whatever a client does about errors by itself: each expert was asked once."""
    outcomes(client, url)
    times = sum(n for text, n in asked.times.items() if f"{REFUSED} [{client}]" in text)
    assert 0 < times <= len(MODELS)


def test_every_client_that_is_named_is_known() -> None:
    assert set(WANTED) <= {"all", *CLIENTS}
