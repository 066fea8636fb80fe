"""The store of metrics: sums that the processes of a stack add to, one row a number."""

import json
from collections.abc import Mapping

from sqlalchemy import func, select

from orchestrator.domain.metrics import Part, Series
from orchestrator.store.bulk import Record, add_rows
from orchestrator.store.database import Database
from orchestrator.store.key_tables import key_spending
from orchestrator.store.sum_tables import metric_sum

_KEYS = ("name", "labels", "part")


class SqlMetricStore:
    """`ports.telemetry.MetricStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_metrics(self, sums: Mapping[Part, float]) -> None:
        """See `ports.telemetry`."""
        rows: list[Record] = sorted(
            (part.series.name, json.dumps(part.series.labels), part.part, value)
            for part, value in sums.items()
        )
        self._db.transact(lambda conn: add_rows(conn, metric_sum, _KEYS, ["value"], rows))

    def reserved_usd(self) -> float:
        """USD that open questions hold of the budgets of their keys."""
        held = key_spending.c.held_usd
        wanted = select(func.coalesce(func.sum(held), 0.0)).where(held != 0)
        return self._db.fetch(lambda conn: float(conn.execute(wanted).scalar_one()))

    def metrics(self) -> dict[Part, float]:
        """See `ports.telemetry`."""
        m = metric_sum.c
        wanted = select(m.name, m.labels, m.part, m.value)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).all())
        return {Part(Series(row[0], tuple(json.loads(row[1]))), row[2]): row[3] for row in rows}
