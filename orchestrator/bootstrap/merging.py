"""Merging, for entry points: a recipe checked and run, and the life cycle of its result: merged, measured,
compared with its parents, registered if it earns its place."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.bootstrap.merge_members import (
    applicant_of,
    expert_name,
    input_names,
    parents_of,
    stranger,
    stranger_id,
)
from orchestrator.domain.merges import MergeReport
from orchestrator.domain.names import name_fault
from orchestrator.errors import InputError
from workers.checkpoints.merging.runner import (
    CheckedOrder,
    Child,
    MergeOrder,
    OnProgress,
    check_order,
    check_text,
    rebuild_expert,
    run_order,
)
from workers.checkpoints.merging.search import is_searched

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.queries import Query
    from orchestrator.evaluation.merges import Questions
    from orchestrator.services.jobs import OnProgress as OnJob
    from orchestrator.settings.schema import Settings

__all__ = [
    "CheckedOrder",
    "Child",
    "MergeLife",
    "MergeOrder",
    "check_order",
    "check_text",
    "rebuild_expert",
    "run_order",
]

log = logging.getLogger(__name__)

Showing = Callable[["App"], AbstractContextManager["OnJob | None"]]
"""Shows how far the profile of an app is."""


class Outcome(NamedTuple):
    """End of a merge's life cycle. `is_kept`: it was registered, or it is a store, which is no expert."""

    report: MergeReport
    is_kept: bool


class MergeLife:
    """A merge from its recipe to an expert of the pool.

    Everything is done by this process, in the stack, too: its workers do not know the applicant.

    Args:
        settings: of the pool that it may join.

    Raises:
        InputError: no questions to measure on.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = _alone(settings)
        self._profile = _labelled(settings, settings.muster.profile_set)
        self._questions = _questions(settings, self._profile)

    def check(self, checked: CheckedOrder, *, force: bool = False) -> None:
        """Refuse a merge whose expert cannot have its name.

        Raises:
            InputError: nothing may have the name of the expert; or it is taken, and `force` may not replace
                who has it.
        """
        from orchestrator.bootstrap.app import open_app

        if checked.beyond or not checked.makes_expert:
            return
        name = expert_name(checked)
        if (fault := name_fault(name)) is not None:
            raise InputError(fault, param="name", remedy="Give another `name` in the recipe.")
        with open_app(self._settings) as app:
            known = app.pool.by_id.get(name)
            is_ours = known is not None and known.id in app.lineages
            if known is not None and not (is_ours and force):
                remedy = "Give another `name` in the recipe" + (", or --force." if is_ours else ".")
                raise InputError(f"the pool has an expert '{known.id}' already.", param="name", remedy=remedy)

    def run(
        self,
        checked: CheckedOrder,
        *,
        on_progress: OnProgress,
        showing: Showing,
        stopped: Callable[[], bool] = lambda: False,
        child: Child | None = None,
    ) -> Outcome:
        """Merge, measure, compare, and register what is worth it.

        Args:
            showing: told of each app that measures.
            child: replaces the process that merges.

        Raises:
            MusterError: what cannot be merged or measured.
        """
        from orchestrator.bootstrap.merge_search import search_numbers

        found = None
        if is_searched(checked.recipe) and checked.preflight.ok:
            found = search_numbers(
                checked, self._settings, self._questions, showing=showing, stopped=stopped, child=child
            )
            checked = checked._replace(recipe=found.recipe)
        report = run_order(checked, on_progress=on_progress, stopped=stopped, child=child)
        if report.merge.sha256 is None:
            return Outcome(report, is_kept=False)
        if not checked.makes_expert:
            verdict = (
                f"stored; {checked.recipe.merge_method} makes no single expert: see `muster merge rebuild`"
            )
            why = "" if found is None else f"; {found.why}"
            return Outcome(report.replaced(verdict=verdict + why), is_kept=True)
        return self._measured(checked, report, showing)

    def _measured(self, checked: CheckedOrder, report: MergeReport, showing: Showing) -> Outcome:
        from orchestrator.bootstrap.app import open_app
        from orchestrator.evaluation.merges import judged, measured_right

        with open_app(self._settings) as app:
            app.merges.unregister(expert_name(checked))  # its weights were replaced
            parents = parents_of(checked, app)
            applicant = applicant_of(checked, app, [app.pool.by_id[i] for i in parents.values()])
        strangers = [stranger(checked, name) for name in input_names(checked) if name not in parents]
        with open_app(self._settings, applicants=[applicant, *strangers]) as app:
            names = [parents.get(name) or stranger_id(name) for name in input_names(checked)]
            with showing(app) as on_job:
                outcomes = app.profiling.outcomes(
                    self._questions.held_out, experts=[applicant.id, *names], on_progress=on_job
                )
                right = measured_right(outcomes)
                judgement = judged(right.pop(applicant.id), right)
                if judgement.kept:
                    measured = [applicant.id, *parents.values()]
                    app.profiling.run(self._profile, experts=measured, exam=False, on_progress=on_job)
            if judgement.kept:
                lineage = applicant.lineage.replaced(verdict=judgement.why)
                app.merges.register(applicant.replaced(lineage=lineage))
        return Outcome(report.replaced(verdict=judgement.why), judgement.kept)


def _alone(settings: "Settings") -> "Settings":
    """Settings with which this process does all work itself."""
    muster = settings.muster.model_copy(update={"broker_url": None, "database_url": settings.database_url})
    return settings.model_copy(update={"muster": muster})


def _labelled(settings: "Settings", path: Path | None) -> "Sequence[Query]":
    from orchestrator.bootstrap.labelled import read_labelled
    from skills.profiler import check_labelled

    if path is None:
        raise InputError(
            "there are no questions to measure a merge on.",
            param="profile_set",
            remedy="Set muster.profile_set, or give --no-profile.",
        )
    found = read_labelled(settings.base_dir / path)
    check_labelled(found)
    return found


def _questions(settings: "Settings", profile: "Sequence[Query]") -> "Questions":
    """
    Raises:
        InputError: held-out questions of which the profile leaves none.
    """
    from orchestrator.evaluation.merges import divided

    path = settings.muster.merges.held_out
    questions = divided(
        profile, None if path is None else _labelled(settings, path), seed=settings.muster.seed
    )
    if not questions.held_out:
        raise InputError(
            "no question is held out: the profile asks all of them.",
            param="merges.held_out",
            remedy="Name questions that are not in muster.profile_set.",
        )
    return questions
