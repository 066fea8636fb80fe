"""Real models through `muster serve`, asked with OpenAI's own client: `python -m examples.llm.live`.

After a run of `examples.llm.demo`, whose profile it uses. Four things are asked of `auto`: prose, a question
with a number as its answer, JSON of a schema, and a batch of all three. The last line of output is one JSON
object with what was seen and which of the checks hold; the exit status is 1 where one does not.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from examples.llm.demo import OUT, say, served
from examples.llm.pool import MODELS
from examples.llm.servers import UnusableError, free_port
from orchestrator.errors import EngineLoadError

PROSE = "Write a short, friendly e-mail that tells a neighbour about a parcel that came for her."
NUMBER = "What is 17 % of 2,300?"
JSON_WANTED = "Ada Lovelace is 36 years old and lives in London. Say so as JSON."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
START_S, WAIT_S, LOOK_S = 300.0, 1200.0, 2.0


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


BODIES: Mapping[str, dict[str, Any]] = {
    "prose": body(PROSE),
    "number": body(NUMBER),
    "json": body(JSON_WANTED, response_format=FORMAT),
}


def prose_faults(text: str, muster: Mapping[str, Any]) -> list[str]:
    """Faults of a prose answer: one named expert's words, and an expected grade or none, never a vote."""
    wrong = []
    if len(text.split()) < 10:
        wrong.append("no sensible answer")
    if muster.get("answered_by") not in MODELS:
        wrong.append("no expert is named")
    if muster.get("confidence") is not None:
        wrong.append("a confidence is stated")
    if len([vote for vote in muster.get("votes", ()) if vote.get("value") is not None]) > 1:
        wrong.append("votes are told")
    return wrong


def number_faults(text: str, muster: Mapping[str, Any]) -> list[str]:
    """Faults of a number: read as one, with the votes that it had."""
    wrong = []
    if re.fullmatch(r"-?[\d.]+", str(muster.get("value"))) is None:
        wrong.append(f"read as {muster.get('value')!r}")
    if not any(vote.get("value") is not None for vote in muster.get("votes", ())):
        wrong.append("no vote")
    if muster.get("confidence") is None:
        wrong.append("no confidence")
    if not text:
        wrong.append("no text")
    return wrong


def json_faults(text: str, muster: Mapping[str, Any]) -> list[str]:
    """Faults of JSON: all of the text is JSON of the schema."""
    del muster
    try:
        found = json.loads(text)
    except ValueError:
        return ["the text is no JSON"]
    types = {"name": str, "age": int, "city": str}
    if not isinstance(found, dict) or set(found) != set(types):
        return ["other keys than the schema's"]
    return [f"{key} is of another type" for key, kind in types.items() if not isinstance(found[key], kind)]


CHECKS = {"prose": prose_faults, "number": number_faults, "json": json_faults}


def seen(name: str, completion: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of one completion, and what is wrong with it."""
    muster = dict(completion.get("muster") or {})
    text = completion["choices"][0]["message"]["content"] or ""
    shown = ("answer_type", "value", "confidence", "expected_grade", "answered_by", "aggregator", "n_calls")
    return {
        "faults": CHECKS[name](text, muster),
        "text": text,
        **{key: muster.get(key) for key in shown if key in muster},
        "votes": [(vote["expert"], vote["value"]) for vote in muster.get("votes", ())],
        "notes": [*muster.get("notes", ()), *((muster.get("reasons") or {}).get("notes") or ())],
    }


def ask_each(client: openai.OpenAI) -> dict[str, Any]:
    told = {}
    for name, wanted in BODIES.items():
        say(f"asking: {name}")
        completion = client.chat.completions.create(**wanted)
        told[name] = seen(name, completion.model_dump())
    return told


def ask_batch(client: openai.OpenAI) -> dict[str, Any]:
    """A batch whose lines are the three questions."""
    url = "/v1/chat/completions"
    lines = [{"custom_id": n, "method": "POST", "url": url, "body": wanted} for n, wanted in BODIES.items()]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    file = client.files.create(file=("lines.jsonl", io.BytesIO(text.encode())), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
    until = time.monotonic() + WAIT_S
    while batch.status in ("validating", "in_progress", "finalizing") and time.monotonic() < until:
        time.sleep(LOOK_S)
        batch = client.batches.retrieve(batch.id)
    if batch.output_file_id is None:
        return {name: {"faults": [f"the batch is {batch.status}"]} for name in BODIES}
    rows = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    told = {row["custom_id"]: seen(row["custom_id"], row["response"]["body"]) for row in rows}
    return {name: told.get(name, {"faults": ["no line of the output"]}) for name in BODIES}


@contextmanager
def muster(pool: Path) -> Iterator[str]:
    """The address of a server over a pool file."""
    port = free_port()
    command = [sys.executable, "-m", "api.cli.main", "--config", str(pool), "serve", "--port", str(port)]
    with (pool.parent / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ.copy())
    try:
        _await(f"http://127.0.0.1:{port}/health/ready", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise UnusableError("`muster serve` did not get ready; see serve.log.")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--serve", choices=("server", "transformers"))
    parser.add_argument("--threads", type=int, help="of each server; 1 where the cores are shared")
    given = parser.parse_args(argv)
    try:
        with served(given.serve, threads=given.threads) as place, muster(place.pool) as url:
            client = openai.OpenAI(base_url=url, api_key="unused", timeout=WAIT_S, max_retries=0)
            told = {"one by one": ask_each(client), "batch": ask_batch(client)}
    except (UnusableError, EngineLoadError) as error:
        say(f"skipped: {error}")
        return 0
    faults = {f"{door}: {n}": one["faults"] for door, some in told.items() for n, one in some.items()}
    (OUT / "live.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"faults": {name: wrong for name, wrong in faults.items() if wrong}, **told}))
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
