"""Experts without the rest: what commands need that only list them. Nothing is routed or started."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.bootstrap.merged import PoolWatch
from orchestrator.bootstrap.published import make_pool
from orchestrator.runtime.private import tighten_folder
from orchestrator.services.engines import EngineBoard
from orchestrator.services.experts import Experts
from orchestrator.services.feedback import FeedbackDesk
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlCardStore, SqlFeedbackStore, SqlJobStore, SqlMergeStore, open_database
from skills.grading.grader import AnswerGrader
from workers.leases.owners import loop_of


class Listed(NamedTuple):
    """Experts of a configuration with their cards, and their engines."""

    experts: Experts
    engines: EngineBoard


@contextmanager
def open_experts(settings: Settings) -> Iterator[Listed]:
    """The experts of a configuration, over a database that is closed at the end.

    Raises:
        MusterError: configuration or database that cannot be used.
    """
    pool = make_pool(settings)
    tighten_folder(settings.muster.data_dir)
    database = open_database(settings.database_url)
    try:
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
        yield Listed(experts, EngineBoard(jobs, engine_ids=members.pool.engines, loop_of=loop_of))
    finally:
        database.close()


def _nothing() -> None: ...
