"""Conversations in the stack: their turns stay with their experts, whoever steps them."""

from pathlib import Path

import openai
import yaml

from tests.e2e.test_stack import needs_redis, open_stack, pytestmark, redis_server
from tests.harness.servers import Redis
from tests.harness.waiting import wait_for

__all__ = ["pytestmark", "redis_server"]

EXPERTS = ("one", "two", "three", "four")
SEEDS = range(8)


def pool(folder: Path) -> Path:
    """Experts that say what they are asked; the composition `draw` asks one by lot."""
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {"muster": {"engine": "scripted", "options": {"default": "echo"}}},
        }
        for name in EXPERTS
    ]
    muster = {
        "data_dir": "data",
        "embedder": {"model": "hash"},
        "compositions": {"draw": {"router": "random", "router_options": {"k": 1}, "aggregator": "first"}},
        "shadow": {"composition": "one", "share": 1.0},
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return folder / "pool.yaml"


@needs_redis
def test_conversations_stay_go_on_and_are_shadowed(tmp_path: Path, redis_server: Redis) -> None:
    with open_stack(tmp_path, pool(tmp_path), redis_server.url) as stack:
        for name in ("first", "second"):
            stack.launch(name, "worker", "--device", "cpu")
        stack.launch_api()
        client = openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none")

        def answered_by(seed: int, **muster: object) -> str:
            done = client.chat.completions.create(
                model="muster/draw",
                messages=[{"role": "user", "content": f"Question {seed}?"}],
                seed=seed,
                extra_body={"muster": muster},
            )
            return str(done.model_extra["muster"]["answered_by"])  # type: ignore[index]

        assert len({answered_by(seed) for seed in SEEDS}) > 1
        assert len({answered_by(seed, session="talk") for seed in SEEDS}) == 1

        begun = client.responses.create(model="one", input="The first")
        with client.responses.stream(
            model="one", input="The second", previous_response_id=begun.id
        ) as stream:
            assert stream.get_final_response().output_text == "The second"
        assert client.completions.create(model="one", prompt="as it is").choices[0].text == "as it is"

        n_pairs = wait_for(
            "shadows to be compared",
            lambda: int(stack.get("/v1/shadow").json()["n"]),
            within_s=60,
        )
        assert n_pairs >= 1
