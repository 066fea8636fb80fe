"""Fused and merged experts of the zoo in the stack: two workers, the `openai` client, a batch."""

from pathlib import Path

import openai
import pytest
import yaml

from tests.e2e.test_stack import needs_redis, open_stack, pytestmark, redis_server
from tests.harness.processes import ROOT
from tests.harness.servers import Redis

__all__ = ["pytestmark", "redis_server"]

MEMBERS = ("up-roman", "near-merged")
QUESTION, RIGHT = "Write 1984 in Roman numerals.", "MCMLXXXIV"


def combined_zoo(folder: Path) -> Path:
    """A fusion and a merged model; the paths stay those of the zoo's own file."""
    zoo = ROOT / "examples" / "zoo"
    (folder / "models").symlink_to(zoo / "models")
    members = yaml.safe_load((zoo / "combine.yaml").read_text())["model_list"]
    pool = {"model_list": [member for member in members if member["model_name"] in MEMBERS]}
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    (folder / "pool.yaml").write_text(yaml.safe_dump({**pool, "muster": muster}))
    return folder / "pool.yaml"


@pytest.mark.zoo
@needs_redis
def test_a_fusion_and_a_merged_expert_answer_through_two_workers(tmp_path: Path, redis_server: Redis) -> None:
    config = combined_zoo(tmp_path)
    with open_stack(tmp_path, config, redis_server.url) as stack:
        for name in ("one", "two"):
            stack.launch(name, "worker", "--device", "cpu")
        stack.launch_api()
        client = openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none")
        assert set(MEMBERS) <= {model.id for model in client.models.list()}

        traced = client.chat.completions.create(
            model="up-roman",
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"muster": {"trace": True}},
        )
        assert traced.choices[0].message.content == RIGHT
        fusion = traced.model_extra["muster"]["fusion"]  # type: ignore[index]
        assert fusion["rule"] == "upscale"
        assert len(fusion["steps"]) == fusion["passes"]["large"] > len(RIGHT)

        with client.chat.completions.create(
            model="up-roman", messages=[{"role": "user", "content": QUESTION}], stream=True
        ) as pieces:
            told = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert told == RIGHT

        lines = [{"question": f"Write {n} in Roman numerals."} for n in range(10, 22)]
        for name in MEMBERS:
            job = stack.submit_lines(lines, composition=name)
            stack.job_when(job, lambda job: job["state"] == "done")
            answers = stack.answers(job)
            assert len(answers) == len(lines)
            assert not any(answer.get("error") for answer in answers)
