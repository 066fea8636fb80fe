"""The fence of a synthesis is drawn once: whoever takes the call over reads what the first one read."""

from orchestrator.compositions.calls import aggregate_call
from orchestrator.domain.assignments import Ask, Job
from orchestrator.domain.experts import EngineSpec, Expert
from orchestrator.prompts import without_fence
from orchestrator.store import SqlJobStore
from tests.fakes.work import answered, make_queries

WRITER = Expert(id="writer", engine=EngineSpec(id="e", backend="scripted", model="m"))


def test_a_call_that_is_taken_over_has_the_fence_of_the_first_time(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(3))
    steps = [
        (state, Ask(calls=(aggregate_call(WRITER, state.query, ["A", "B"], seed=7),)))
        for state in store.ready(limit=10)
    ]
    store.advance(steps, {"writer": "e"})
    first = store.claim("e", owner="dead", limit=10, lease_s=-1).assignments
    store.sweep(max_attempts=3)
    again = []  # what died once is claimed alone
    while taken := store.claim("e", owner="me", limit=10, lease_s=60).assignments:
        again += taken
        store.complete("me", answered([(a.id, a.attempt) for a in taken]))
    assert len(again) == 3
    assert {a.id: a.call for a in again} == {a.id: a.call for a in first}
    fences = {a.call.messages[-1].content.split("[candidate 1 ")[1][:16] for a in again}
    assert len(fences) == 3
    assert all(without_fence(a.call.messages[-1].content).count("0" * 16) >= 5 for a in again)
