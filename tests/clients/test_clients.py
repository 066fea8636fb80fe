"""Real clients against a real server, each in its own environment and with its own defaults.

The experts behind the server follow rules (tests/clients/engine.py), so that what comes out is known.
"""

import json
import os
import subprocess
import sys
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
    """A program, the environment that it runs in, and what its features come to.

    `no_key`: class of its error where the key is none.
    """

    program: str
    environment: str
    features: Mapping[str, object]
    no_key: str = "AuthenticationError"


def errors(wrong_model: str, too_long: str, refused: str) -> dict[str, object]:
    """Of each error the client's own class."""
    return {"wrong_model": [wrong_model, 404], "too_long": [too_long, 400], "refused": [refused, 422]}


OPENAI_ERRORS = errors("NotFoundError", "BadRequestError", "UnprocessableEntityError")
SUNNY = "The weather is sunny."
AGENTS = {"structured": CITY, "tools": SUNNY}
ADA = "Your name is Ada."
OPENAI = {
    **COMMON,
    **OPENAI_ERRORS,
    "models": True,
    "embeddings": [0, 1],
    "responses": ADA,
    "streamed_responses": PARIS,
    "batch": ["completed", 3, PARIS],
    "batch_cancel": True,
    "batch_refused": ["failed", 2],
    **AGENTS,
    "json_object": VALUES["name"],
    "streamed_tools": {"city": "Paris"},
    "responses_parse": CITY,
    "idempotency": [True, ["UnprocessableEntityError", 422]],
}
NODE = {
    **COMMON,
    **OPENAI_ERRORS,
    **AGENTS,
    "batch": ["completed", 3, PARIS],
    "responses": ADA,
    "embeddings": [0, 1],
}
CLIENTS = {
    "openai": Client("openai_sdk.py", "openai", OPENAI),
    "openai-1": Client("openai_sdk.py", "openai-1", OPENAI),
    "node": Client("openai_sdk.mjs", "node", NODE),
    "vercel": Client(
        "vercel_ai.mjs",
        "node",
        {
            **COMMON,
            **errors(*["APICallError"] * 3),
            **AGENTS,
            "structured_by_schema": CITY,
            "embeddings": [0, 1],
        },
        "APICallError",
    ),
    "langchain": Client(
        "langchain_openai_chat.py",
        "langchain",
        {
            **COMMON,
            **AGENTS,
            "structured_by_tool": CITY,
            **errors("OpenAIModelNotFoundError", "OpenAIContextOverflowError", "UnprocessableEntityError"),
        },
        "OpenAIAuthenticationError",
    ),
    "llamaindex": Client("llamaindex_openai_like.py", "llamaindex", {**COMMON, **OPENAI_ERRORS, **AGENTS}),
    "instructor": Client(
        "instructor_openai.py",
        "instructor",
        {
            "chat": PARIS,
            "stream": CITY,
            "multi_turn": CITY,
            "structured": CITY,
            "structured_by_schema": CITY,
            "structured_by_json": CITY,
            **OPENAI_ERRORS,
        },
    ),
    "dspy": Client(
        "dspy_lm.py",
        "dspy",
        {
            **COMMON,
            **AGENTS,
            "structured_by_json": CITY,
            "wrong_model": ["LMUnsupportedModelError", None],
            "too_long": ["ContextWindowExceededError", None],
            "refused": ["LMInvalidRequestError", None],
        },
        "LMAuthError",
    ),
    "pydantic-ai": Client(
        "pydantic_ai_agent.py",
        "pydantic-ai",
        {
            **COMMON,
            **AGENTS,
            "structured_by_schema": CITY,
            **errors("ModelNotFoundError", "ModelContextWindowExceededError", "ModelRequestRejectedError"),
        },
        "ModelAuthenticationError",
    ),
    "litellm": Client(
        "litellm_sdk.py",
        "litellm",
        {
            **COMMON,
            **AGENTS,
            **errors("NotFoundError", "ContextWindowExceededError", "BadRequestError"),
            "embeddings": [0, 1],
        },
    ),
}
EXAMPLES = {"langchain": "langchain_chain.py", "pydantic-ai": "pydantic_ai_agent.py"}
QUESTIONS = ["What is the capital of France?", "I ask again: what is the capital of France?"]
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


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server that asks for a key, and one that it knows."""
    folder = tmp_path_factory.mktemp("keyed")
    with rule_server(Asked()) as engine:
        (folder / "pool.yaml").write_text(yaml.safe_dump(pool(engine.url)))
        make = [
            sys.executable,
            "-m",
            "api.cli.main",
            "--config",
            "pool.yaml",
            "keys",
            "create",
            "--name",
            "tests",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        made = subprocess.run(
            [*make, "--json"], env=env, cwd=folder, capture_output=True, text=True, check=True
        )
        with serving(folder) as (_, address):
            yield f"{address}/v1", json.loads(made.stdout)["secret"]


@cache
def outcomes(client: str, url: str) -> Mapping[str, Mapping[str, Any]]:
    """What all features of a client came to, from one run of its program."""
    return run(client, url, *CLIENTS[client].features)


def run(client: str, url: str, *features: str, key: str = "none") -> Mapping[str, Mapping[str, Any]]:
    program, environment = CLIENTS[client][:2]
    home = ROOT / f".venv-clients-{environment}"
    if program.endswith(".mjs"):
        # Modules are found from where the program lies.
        for source in (HERE / "node").glob("*.mjs"):
            (home / source.name).write_text(source.read_text())
        command = ["node", str(home / program)]
    else:
        command = [str(home / "bin" / "python"), str(HERE / "programs" / program)]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", "MUSTER_KEY": key}
    done = subprocess.run(
        [*command, url, client, *features], env=env, cwd=home, capture_output=True, text=True, timeout=150
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize(("client", "feature"), CASES)
def test_a_client_gets_what_its_users_expect(client: str, feature: str, url: str) -> None:
    assert outcomes(client, url)[feature] == {"got": CLIENTS[client].features[feature]}


@pytest.mark.parametrize("client", [name for name in RUN if name in EXAMPLES])
def test_the_example_of_a_client_does_what_its_page_says(client: str, url: str) -> None:
    """docs/examples.md shows the file that is run."""
    home = ROOT / f".venv-clients-{CLIENTS[client].environment}"
    command = [
        str(home / "bin" / "python"),
        str(ROOT / "examples" / "clients" / EXAMPLES[client]),
        *QUESTIONS,
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", "OPENAI_BASE_URL": url}
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=150)
    assert done.stdout.splitlines() == [PARIS, PARIS], done.stderr[-4000:]


@pytest.mark.parametrize("client", [name for name in RUN if "refused" in CLIENTS[name].features])
def test_what_is_refused_is_asked_once(client: str, url: str, asked: Asked) -> None:
    """Whatever a client does about errors by itself: each expert was asked once."""
    outcomes(client, url)
    times = sum(n for text, n in asked.times.items() if f"{REFUSED} [{client}]" in text)
    assert 0 < times <= len(MODELS)


@pytest.mark.parametrize("client", RUN)
def test_a_key_that_is_none_is_the_clients_own_error(client: str, keyed: tuple[str, str]) -> None:
    assert run(client, keyed[0], "chat")["chat"]["failed"].startswith(CLIENTS[client].no_key)


@pytest.mark.parametrize("client", RUN[:1])
def test_a_key_is_sent_as_the_client_sends_keys(client: str, keyed: tuple[str, str]) -> None:
    assert run(client, keyed[0], "chat", key=keyed[1]) == {"chat": {"got": PARIS}}


def test_every_client_that_is_named_is_known() -> None:
    assert set(WANTED) <= {"all", "browser", *CLIENTS}
