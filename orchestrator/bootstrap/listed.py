"""Experts without the rest: what commands need that only list them. Nothing is routed or started."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.bootstrap.books import opened_database
from orchestrator.bootstrap.merged import PoolWatch
from orchestrator.bootstrap.published import make_pool
from orchestrator.services.engines import EngineBoard
from orchestrator.services.experts import Experts
from orchestrator.services.feedback import FeedbackDesk
from orchestrator.services.pauses import PauseDesk
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlCardStore, SqlFeedbackStore, SqlJobStore, SqlMergeStore, SqlPauseStore
from skills.grading.grader import AnswerGrader
from workers.leases.owners import loop_of


class Listed(NamedTuple):
    """Experts of a configuration with their cards, their engines, and who is paused."""

    experts: Experts
    engines: EngineBoard
    pauses: PauseDesk


@contextmanager
def open_experts(settings: Settings) -> Iterator[Listed]:
    """The experts of a configuration.

    Raises:
        MusterError: configuration or database that cannot be used.
    """
    pool = make_pool(settings)
    with opened_database(settings) as database:
        jobs, cards = SqlJobStore(database), SqlCardStore(database)
        members = PoolWatch(
            SqlMergeStore(database), settings=settings, pool=pool, applicants=(), on_changed=_nothing
        )
        feedback = FeedbackDesk(
            jobs=jobs,
            store=SqlFeedbackStore(database),
            grader=AnswerGrader(),
            pool=members.pool,
            settings=settings.muster.feedback,
            now_s=time.time,
        )
        experts = Experts(
            pool=members.pool,
            cards=cards,
            feedback=feedback,
            on_changed=_nothing,
            lineages=members.lineages,
            history=cards,
        )
        engines = EngineBoard(jobs, engine_ids=members.pool.engines, loop_of=loop_of)
        yield Listed(experts, engines, PauseDesk(SqlPauseStore(database), pool=lambda: members.pool))


def _nothing() -> None: ...
