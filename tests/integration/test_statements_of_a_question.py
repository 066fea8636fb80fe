"""What a question costs the database: statements and transactions, counted where they are sent."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, write_pool

WRITTEN = ("job", "query", "prompt", "assignment", "answer", "outbox", "share", "job_engine", "engine_work")
WRITES = ("INSERT", "UPDATE", "DELETE")
ROUTED = {"router": "random", "router_options": {"k": 1}, "aggregator": "first"}


class Counted:
    """Transactions that write what questions are made of, each as its statements."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self._open: dict[int, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def sent(self, conn: Any, _cursor: object, statement: str, *_: object) -> None:
        with self._lock:
            self._open[id(conn)].append(" ".join(statement.split()))

    def ended(self, conn: Any) -> None:
        with self._lock:
            statements = self._open.pop(id(conn), [])
            if any(_writes_work(statement) for statement in statements):
                self.transactions.append(statements)


def _writes_work(statement: str) -> bool:
    words = statement.replace('"', "").split()
    return words[0] in WRITES and any(word in WRITTEN for word in words[1:3])


@contextmanager
def counted() -> Iterator[Counted]:
    count = Counted()
    event.listen(Engine, "before_cursor_execute", count.sent)
    event.listen(Engine, "commit", count.ended)
    event.listen(Engine, "rollback", count.ended)
    try:
        yield count
    finally:
        event.remove(Engine, "before_cursor_execute", count.sent)
        event.remove(Engine, "commit", count.ended)
        event.remove(Engine, "rollback", count.ended)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Serving, with all engines loaded."""
    monkeypatch.chdir(tmp_path)
    scheduler = {"max_resident": len(EXPERTS)}
    settings = load_settings(write_pool(tmp_path, compositions={"routed": ROUTED}, scheduler=scheduler))
    with open_app(settings, background=True) as app:
        for expert_id in EXPERTS:
            app.asking.ask(_query(expert_id), AskOptions(model=expert_id))
        yield app


def _query(name: str) -> Query:
    return Query(id=name, question="What is 1 plus 1?", answer_type=AnswerType.TEXT)


def test_a_question_takes_three_transactions_and_few_statements(app: App) -> None:
    """It is submitted; its call is begun; its response is stored with its answer."""
    with counted() as count:
        answer = app.asking.ask(_query("q"), AskOptions(model="muster/routed"))
    assert answer.error_code is None
    submitted, begun, settled = count.transactions
    assert (len(submitted), len(begun), len(settled)) == (3, 12, 12)


def test_an_expert_that_is_asked_by_its_id_costs_no_more(app: App) -> None:
    with counted() as count:
        app.asking.ask(_query("q"), AskOptions(model="alpha"))
    assert [len(statements) for statements in count.transactions] == [3, 12, 12]


def test_more_experts_cost_no_more_transactions(app: App) -> None:
    """Three calls, on three engines: what grows are rows. They may end apart, each with a transaction."""
    with counted() as count:
        app.asking.ask(_query("q"), AskOptions(model="muster/routed", k=3))
    submitted, begun, *settled = count.transactions
    assert (len(submitted), len(begun)) == (3, 12)
    assert len(settled) <= 3
    assert sum(map(len, settled)) <= 12 + 2 * 6
