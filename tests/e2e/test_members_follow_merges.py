"""An expert that a merge registers joins a stack that runs, two workers and an API, and departs from it."""

from pathlib import Path

import openai
import pytest

from orchestrator.store import SqlMergeStore, open_database
from tests.e2e.test_stack import needs_redis, open_stack, pytestmark, redis_server
from tests.harness.servers import Redis
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool
from tests.integration.test_live_members import NAME, QUESTION, merged, write_weights

__all__ = ["pytestmark", "redis_server"]

WITHIN_S = 120.0
N = 40


@needs_redis
def test_a_stack_follows_what_merges_registered_and_removed(
    tmp_path: Path, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path, "first")
    with open_stack(tmp_path, write_pool(tmp_path), redis_server.url) as stack:
        for name in ("one", "two"):
            stack.launch(name, "worker", "--device", "cpu")
        stack.launch("beat", "beat")
        stack.launch_api()
        client = openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none")

        def listed() -> bool:
            return NAME in {model.id for model in client.models.list()}

        assert not listed()
        database = open_database(stack.database_url)
        merges = SqlMergeStore(database)
        merges.register(merged(tmp_path, delay_s=0.2))
        wait_for("the expert joins", listed, within_s=WITHIN_S)
        said = client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": QUESTION}])
        assert said.choices[0].message.content == "seven"

        job = stack.submit_lines([{"question": question(n)} for n in range(N)], composition=NAME)
        stack.job_when(job, lambda job: job["responses"] > 0)
        merges.unregister(NAME)
        wait_for("the expert departs", lambda: not listed(), within_s=WITHIN_S)
        ended = stack.job_when(job, lambda job: job["state"] == "done")
        assert (ended["counts"]["completed"], ended["counts"]["failed"]) == (N, 0)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=NAME, messages=[{"role": "user", "content": QUESTION}])
        database.close()
