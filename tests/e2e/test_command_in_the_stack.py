"""A worker of the stack that is killed takes the server that it started along, and the next one goes on."""

import shlex
from pathlib import Path

import yaml

from tests.e2e.test_stack import needs_redis, open_stack, pytestmark, redis_server
from tests.harness.servers import Redis
from tests.unit.workers.backends.command.commands import await_end_of, command, tagged

__all__ = ["pytestmark", "redis_server"]

N_LINES = 24


def commanded(folder: Path, tag: str) -> Path:
    """One expert, whose server is slow, deaf for signals, and has deaf relations."""
    options = {
        "command": f"{command(tag, 'family')} --delay {shlex.quote('0.2')}",
        "health": "/health",
        "concurrent": 2,
        "stop_s": 0.5,
    }
    member = {
        "model_name": "ada",
        "litellm_params": {"model": "weights/ada"},
        "model_info": {"muster": {"engine": "command", "prompt": "plain", "options": options}},
    }
    muster = {"data_dir": "data", "embedder": {"model": "hash"}, "scheduler": {"lease_s": 10}}
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": [member], "muster": muster}))
    return folder / "pool.yaml"


@needs_redis
def test_killed_worker_leaves_no_server_and_another_one_ends_its_job(
    tmp_path: Path, redis_server: Redis
) -> None:
    tag = tmp_path.name
    with open_stack(tmp_path, commanded(tmp_path, tag), redis_server.url) as stack:
        stack.launch("one", "worker", "--device", "cpu")
        stack.launch_api()
        lines = [{"question": f"question {n}"} for n in range(N_LINES)]
        job = stack.submit_lines(lines, composition="ada")
        stack.job_when(job, lambda job: job["counts"]["completed"] > 0)
        assert len(tagged(tag)) == 3
        stack.kill("one")
        await_end_of(tag)

        stack.launch("two", "worker", "--device", "cpu")
        ended = stack.job_when(job)
        assert (ended["state"], ended["counts"]["completed"]) == ("done", N_LINES)
        assert tagged(tag)
        stack.terminate("two")
        await_end_of(tag)
