"""Requests drawn from the OpenAPI document, right ones and wrong ones, against scripted experts."""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hypothesis
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import randoms
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.domain.requests import AskOptions
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, write_pool, write_questions

# The first one is not for probes.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PROBES = frozenset({"/health/ready"})
"""Say with 503 that something is not well."""
ENDLESS = frozenset({"/v1/jobs/{job_id}/events"})
"""Streams that end with their client."""
TIMEOUT_S = 120
N_JOBS = 50
ASKED = [{"role": "user", "content": "Why?"}]
LED = 0.5
"""Share of names that are replaced by one that exists."""
Known = Mapping[str, Sequence[str]]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@contextmanager
def served(folder: Path) -> Iterator[tuple[FastAPI, Known]]:
    """The API over a profiled pool of scripted experts, in the working directory; and names that exist."""
    merges = {"read": [str(folder / "models")], "write": str(folder / "merged")}
    loaded = load_settings(write_pool(folder, merges=merges))
    with open_app(loaded) as fresh:
        known = read_questions(write_questions(folder / "known.jsonl", range(20)))
        fresh.profiling.run(known, exam=False)
    with open_app(loaded, background=True) as app:
        jobs = [app.jobs.submit(known, AskOptions(job_id=f"job-{n}")) for n in range(N_JOBS)]
        models = ["auto", "muster/majority_all", *EXPERTS]
        names = {"job_id": jobs, "job": jobs, "expert_id": [*EXPERTS]}
        names |= {"model_id": models, "model": models, "composition": models}
        web = create_app(app)
        yield web, {**names, **made_of(TestClient(web))}


def made_of(client: TestClient) -> Known:
    """Names of files, batches and responses, some of each."""

    def ids(path: str, **request: object) -> list[str]:
        return [client.post(path, **request).raise_for_status().json()["id"] for _ in range(N_JOBS // 5)]

    body = {"model": "auto", "messages": ASKED}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    upload = ("in.jsonl", json.dumps(line).encode())
    files = ids("/v1/files", files={"file": upload}, data={"purpose": "batch"})
    wanted = {"input_file_id": files[0], "endpoint": line["url"], "completion_window": "24h"}
    responses = ids("/v1/responses", json={"model": "alpha", "input": "Why?"})
    return {
        "file_id": files,
        "input_file_id": files,
        "batch_id": ids("/v1/batches", json=wanted),
        "response_id": responses,
        "previous_response_id": responses,
    }


def operations(web: FastAPI) -> list[APIOperation]:
    """All of the document that end; what deletes comes last, and keys, which all must have from then on."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", web)
    found = [result.ok() for result in schema.get_all_operations()]
    ending = [operation for operation in found if operation.path not in ENDLESS]
    return sorted(ending, key=lambda one: (one.path.startswith("/v1/keys"), one.method.lower() == "delete"))


@schemathesis.serializer("application/jsonl")
def json_lines(_: object, value: object) -> bytes:
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def led_somewhere(case: schemathesis.Case, known: Known, rng: random.Random) -> schemathesis.Case:
    """Half of the cases, with names that exist, and of chat with a question and two more fields: else nearly
    all would end at an unknown name, or at one wrong field of many."""
    for fields in (case.path_parameters, case.query, case.body):
        for name in fields if isinstance(fields, dict) else ():
            if name in known and rng.random() < LED:
                fields[name] = rng.choice(known[name])
    muster = case.body.get("muster") if isinstance(case.body, dict) else None
    wanted = muster.get("timeout_s") if isinstance(muster, dict) else None
    if isinstance(wanted, int | float) and 0 < wanted < TIMEOUT_S:  # what it asks for, a 504, is no fault
        muster["timeout_s"] = TIMEOUT_S
    if isinstance(case.body, dict) and "messages" in case.body and rng.random() < LED:
        kept = rng.sample([*case.body], min(2, len(case.body)))
        case.body = {**{name: case.body[name] for name in kept}, "model": "alpha", "messages": ASKED}
    return case


def send(operation: APIOperation, *, n_cases: int, known: Known, seed: int | None) -> Counter[int]:
    """Send `n_cases` requests of each mode; how often each status came back. A request without parameters
    has one form, and none that is wrong.

    Args:
        known: names that exist, by the parameter or field that names them.
        seed: None = the same requests at each run.

    Raises:
        AssertionError: a response that is a server's error, or that the document does not allow.
    """
    statuses: Counter[int] = Counter()
    chosen = settings(
        max_examples=n_cases,
        derandomize=seed is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in MODES:

        @chosen
        @given(case=operation.as_strategy(generation_mode=mode), rng=randoms(use_true_random=False))
        def one(case: schemathesis.Case, rng: random.Random) -> None:
            response = led_somewhere(case, known, rng).call(timeout=TIMEOUT_S)
            statuses[response.status_code] += 1
            checks = CHECKS[operation.path in PROBES :]
            case.validate_response(response, checks=checks)

        with suppress(Unsatisfiable):
            (one if seed is None else hypothesis.seed(seed)(one))()
    return statuses


def cases_each(n_total: int, chosen: Sequence[APIOperation]) -> int:
    """Per operation and mode, for at least `n_total` in all: what has no parameters is asked once, and where
    any text is right nothing is wrong."""
    n_modes = sum(2 if _has_types(operation) else 1 for operation in chosen if _has_fields(operation))
    return math.ceil(n_total / max(1, n_modes))


def _has_fields(operation: APIOperation) -> bool:
    return bool(operation.body.items or any(True for _ in operation.iter_parameters()))


def _has_types(operation: APIOperation) -> bool:
    return bool(operation.body.items or operation.query.items)
