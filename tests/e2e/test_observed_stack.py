"""The stack as it is observed: one trace over processes and restarts, one scrape for all, usage that is the
sum of what workers did."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.harness.collector import Told, open_collector
from tests.harness.servers import open_redis, redis_is_installed
from tests.harness.stack import PATIENCE_S, Stack, chat
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import EXPERTS, question, write_pool

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL answers"),
    pytest.mark.skipif(not redis_is_installed(), reason="no redis-server is installed"),
]

MODEL = "muster/majority_all"
QUESTION = f"invoke_workflow {MODEL}"


def test_a_question_is_one_trace_and_one_scrape_shows_what_workers_did(tmp_path: Path) -> None:
    """The device's worker is killed under the question and started anew: the trace is the same."""
    write_pool(tmp_path, delay_s=0.3)
    with (
        open_collector() as collector,
        open_redis(tmp_path) as broker,
        fresh_postgres() as database_url,
        Stack(
            tmp_path / "pool.yaml",
            tmp_path,
            database_url=database_url,
            broker_url=broker.url,
            env={
                "OMP_NUM_THREADS": "1",
                "MUSTER_SCHEDULER__SWEEP_S": "1",
                "MUSTER_SCHEDULER__LEASE_S": "2",
                "MUSTER_TRACING__ENDPOINT": collector.url,
                "MUSTER_LOG__FORMAT": "json",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            },
        ) as stack,
    ):
        stack.launch("device", "worker", "--device", "cpu", "--no-steps")
        stack.launch("steps", "worker")
        stack.launch("beat", "beat")
        stack.launch_api()
        warm = stack.ask(question(1), "alpha")
        assert warm.status_code == 200, warm.text
        stack.kill("device")
        stack.launch("successor", "worker", "--device", "cpu", "--no-steps")
        voted = {**chat(question(2), MODEL), "muster": {"answer_type": "text"}}
        answer = stack.post("/v1/chat/completions", voted)
        assert answer.status_code == 200, answer.text

        def found() -> list[Told] | None:
            spans = collector.spans()
            of_question = {span.trace_id for span in spans if span.name == QUESTION}
            mine = [span for span in spans if span.trace_id in of_question]
            wanted = {"POST", QUESTION, "recruit", "experts", "aggregate", *(f"chat {e}" for e in EXPERTS)}
            return mine if wanted <= {span.name for span in mine} else None

        spans = wait_for("the whole trace", found, within_s=PATIENCE_S, every_s=0.2)
        by_name = {span.name: span for span in spans}
        by_id = {span.span_id: span.name for span in spans}
        assert by_name["POST"].parent == ""
        assert by_id[by_name[QUESTION].parent] == "POST"
        assert {by_id[by_name[stage].parent] for stage in ("recruit", "experts", "aggregate")} == {QUESTION}
        assert {by_id[by_name[f"chat {expert}"].parent] for expert in EXPERTS} == {"experts"}
        assert len({span.process for span in spans}) == 3, "the API, steps and the device"

        def scraped() -> dict[str, float] | None:
            families = text_string_to_metric_families(stack.get("/metrics").text)
            sums: dict[str, float] = {}
            for family in families:
                for sample in family.samples:
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
            # What the first device had counted last went with it.
            ready = sums.get("muster_model_loads_total", 0) >= len(EXPERTS)
            return sums if ready and sums["muster_stage_duration_seconds_count"] >= 6 else None

        sums = wait_for("workers' numbers", scraped, within_s=PATIENCE_S, every_s=0.5)
        assert sums["muster_tokens_total"] > 0
        total = stack.get("/v1/usage").json()["total"]
        assert total["questions"] == 2
        assert total["calls"] == 1 + len(EXPERTS)
        assert total["engine_seconds"] > 0
        assert stack.log("successor").splitlines()[-1].startswith("{")
