"""Files of 2,000 lines that differ in model, composition and sampling, with the `openai` client: one process,
and the stack under kill -9."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from openai.types import Batch

from tests.e2e.test_stack import needs_redis, open_stack, pytestmark, redis_server
from tests.harness.embedded import serving
from tests.harness.servers import Redis
from tests.harness.stack import Stack
from tests.harness.waiting import wait_for

__all__ = ["pytestmark", "redis_server"]

CHAT = "/v1/chat/completions"
N_LINES = 2000
EXPERTS = tuple(f"expert-{n}" for n in range(6))
MODELS = (*EXPERTS, "muster/majority_all", "muster/random_3", "muster/weighed")
PATIENCE_S = 240.0
Line = dict[str, Any]


def six_experts(folder: Path) -> Path:
    """Six engines whose loads are logged; three compositions, one of them of the pool's own."""
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": name},
            "model_info": {
                "muster": {
                    "engine": "scripted",
                    "options": {
                        "rules": [{"match": "What", "reply": f"{name} says so."}],
                        "log": f"{name}.log",
                        "load_s": 0.2,
                    },
                }
            },
        }
        for name in EXPERTS
    ]
    muster = {
        "data_dir": "data",
        "embedder": {"model": "hash"},
        "compositions": {"weighed": {"router": "all", "aggregator": "weighted"}},
        "scheduler": {"lease_s": 5},
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return folder / "pool.yaml"


def mixed_lines(path: Path) -> Path:
    with path.open("w") as file:
        for n in range(N_LINES):
            body: Line = {
                "model": MODELS[n % len(MODELS)],
                "messages": [{"role": "user", "content": f"What is {n} plus 1?"}],
                "temperature": n % 2,
                "muster": {"answer_type": "text"},
                "seed": n,
            }
            file.write(json.dumps({"custom_id": f"c{n}", "method": "POST", "url": CHAT, "body": body}) + "\n")
    return path


def submitted(client: openai.OpenAI, folder: Path) -> Batch:
    with mixed_lines(folder / "in.jsonl").open("rb") as lines:
        file = client.files.create(file=lines, purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"customer": "ada"}
    )


def when(client: openai.OpenAI, batch: Batch, *states: str, n_done: int = 0) -> Batch:
    """The batch as soon as it is in one of these states, or has ended, with so many lines done."""

    def look() -> Batch | None:
        seen = client.batches.retrieve(batch.id)
        n = 0 if seen.request_counts is None else seen.request_counts.completed
        is_there = (seen.status in states and n >= n_done) or seen.status in ("completed", "failed")
        return seen if is_there else None

    return wait_for(f"{batch.id} is {states}", look, within_s=PATIENCE_S, every_s=0.02)


def answers_of(client: openai.OpenAI, batch: Batch) -> Mapping[str, Line]:
    """Answers by `custom_id`; each line is answered once."""
    failed = batch.error_file_id
    assert failed is None, client.files.content(failed).text[:1000]
    assert (batch.status, batch.errors) == ("completed", None)
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (N_LINES, N_LINES)
    assert batch.output_file_id is not None
    lines = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    found = {line["custom_id"]: line["response"]["body"] for line in lines}
    assert len(found) == len(lines) == N_LINES
    return found


def check_answers(answers: Mapping[str, Line]) -> None:
    for n in range(N_LINES):
        body, model = answers[f"c{n}"], MODELS[n % len(MODELS)]
        assert (body["object"], body["model"]) == ("chat.completion", model)
        n_asked = len(body["muster"]["recruits"])
        assert n_asked == {"muster/random_3": 3}.get(model, 6 if model.startswith("muster/") else 1)
        assert body["choices"][0]["message"]["content"].endswith("says so.")


def loads(folder: Path) -> Counter[str]:
    """Loads of each engine, over all processes."""
    events = {name: (folder / f"{name}.log").read_text().splitlines() for name in EXPERTS}
    return Counter({name: sum(json.loads(e)["event"] == "load" for e in of) for name, of in events.items()})


@pytest.mark.timeout(600)
def test_a_mixed_file_loads_each_engine_once_and_answers_each_line_in_its_form(tmp_path: Path) -> None:
    six_experts(tmp_path)
    with serving(tmp_path) as (_, url), openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        batch = when(client, submitted(client, tmp_path), "completed")
        check_answers(answers_of(client, batch))
        assert batch.metadata == {"customer": "ada"}
    assert loads(tmp_path) == Counter(EXPERTS)


@needs_redis
@pytest.mark.timeout(900)
def test_a_mixed_file_survives_kills_of_the_api_and_of_workers_in_every_state(
    tmp_path: Path, redis_server: Redis
) -> None:
    with open_stack(tmp_path, six_experts(tmp_path), redis_server.url) as stack:
        stack.launch("one", "worker", "--device", "cpu")
        stack.launch("two", "worker", "--device", "cpu")
        stack.launch_api()
        client = openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=5)
        batch = submitted(client, tmp_path)
        when(client, batch, "validating", "in_progress")
        kill_all(stack)
        batch = when(client, batch, "in_progress", n_done=200)
        kill_all(stack)
        batch = when(client, batch, "finalizing")
        kill_all(stack)
        batch = when(client, batch, "completed")
        check_answers(answers_of(client, batch))
        outputs = [file.id for file in client.files.list(purpose="batch_output")]
        assert outputs == [batch.output_file_id]
        again = client.batches.retrieve(batch.id)
        assert again.output_file_id == batch.output_file_id


def kill_all(stack: Stack) -> None:
    """API and workers end as by a power cut in this state, and successors come."""
    for name in ("one", "two", "api"):
        stack.kill(name)
    stack.launch("one", "worker", "--device", "cpu")
    stack.launch("two", "worker", "--device", "cpu")
    stack.launch_api()
