"""Servers that say how many requests they work on at once (llama.cpp's `/props`) get no more than those."""

import threading

import pytest

from orchestrator.domain.experts import EngineSpec
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Finished
from tests.contracts.test_backend_contract import ask, ends
from tests.fakes.bad_server import ActingHandler, BadServer, completion, says
from workers.backends.registry import get_backend


class Meeting:
    """Answers when `n` requests are there at once; the most that were."""

    def __init__(self, n: int) -> None:
        self._all = threading.Barrier(n)
        self._lock = threading.Lock()
        self._n_present = 0
        self.most = 0

    def __call__(self, handler: ActingHandler) -> None:
        with self._lock:
            self._n_present += 1
            self.most = max(self.most, self._n_present)
        self._all.wait(30)
        with self._lock:
            self._n_present -= 1
        says(completion())(handler)


@pytest.mark.parametrize(
    ("slots", "options", "at_once"),
    [
        (2, {}, 2),
        (1, {}, 1),
        (2, {"max_concurrent": 4}, 4),  # the user's word
        (100, {}, 16),  # the default is the most
        (None, {}, 16),
        (0, {}, 16),
        (-1, {}, 16),
        ("many", {}, 16),
    ],
)
def test_calls_at_once_are_the_slots_of_the_server(
    slots: object, options: dict[str, int], at_once: int
) -> None:
    meeting = Meeting(at_once)
    with BadServer(meeting, slots=slots) as server:
        spec = EngineSpec(id="e", backend="server", model="openai/base", options=options)
        engine = get_backend("server", {"e": EngineAccess(api_base=server.url)}).load(spec, [])
        n = 2 * at_once
        for number in range(n):
            engine.submit(ask(f"{number}"))
        assert all(isinstance(event, Finished) for event in ends(engine, n))
        engine.close()
    assert meeting.most == at_once
