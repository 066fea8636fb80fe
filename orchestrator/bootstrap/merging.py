"""Merging, for entry points: a recipe checked and run, and the life cycle of its result: merged, measured,
compared with its parents, registered if it earns its place."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.domain.merges import Lineage, MergedExpert, MergeReport
from orchestrator.domain.origins import objection
from orchestrator.domain.values import content_hash
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

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.experts import Expert
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
        """
        Raises:
            InputError: the name of the expert is taken, and `force` may not replace who has it.
        """
        from orchestrator.bootstrap.app import open_app

        if checked.beyond or not checked.makes_expert:
            return
        with open_app(self._settings) as app:
            known = app.pool.by_id.get(_name(checked))
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
            child: replaces the process that merges.

        Raises:
            MusterError: what cannot be merged or measured.
        """
        report = run_order(checked, on_progress=on_progress, stopped=stopped, child=child)
        if report.merge.sha256 is None:
            return Outcome(report, is_kept=False)
        if not checked.makes_expert:
            verdict = (
                f"stored; {checked.recipe.merge_method} makes no single expert: see `muster merge rebuild`"
            )
            return Outcome(report.replaced(verdict=verdict), is_kept=True)
        return self._measured(checked, report, showing)

    def _measured(self, checked: CheckedOrder, report: MergeReport, showing: Showing) -> Outcome:
        from orchestrator.bootstrap.app import open_app
        from orchestrator.evaluation.merges import judged, measured_right

        with open_app(self._settings) as app:
            app.merges.unregister(_name(checked))  # its weights were replaced
            parents = _parents(checked, app)
            applicant = _applicant(checked, app, [app.pool.by_id[i] for i in parents.values()])
        strangers = [_stranger(checked, name) for name in _inputs(checked) if name not in parents]
        with open_app(self._settings, applicants=[applicant, *strangers]) as app:
            names = [parents.get(name) or _stranger_id(name) for name in _inputs(checked)]
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
    from orchestrator.questions.files import read_questions
    from skills.profiler import check_labelled

    if path is None:
        raise InputError(
            "there are no questions to measure a merge on.",
            param="profile_set",
            remedy="Set muster.profile_set, or give --no-profile.",
        )
    found = read_questions(settings.base_dir / path)
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


def _name(checked: CheckedOrder) -> str:
    return checked.recipe.name or checked.order.out.name


def _inputs(checked: CheckedOrder) -> list[str]:
    """Inputs by the recipe's names, the base among them."""
    return [one.name for one in checked.inputs]


def _parents(checked: CheckedOrder, app: "App") -> dict[str, str]:
    """Experts of the pool that are inputs, by the recipe's names: known by their weights."""
    from workers.checkpoints.identity import weights_hash

    by_hash: dict[str, str] = {}
    for expert in app.pool.answerers:
        by_hash.setdefault(expert.weights_hash, expert.id)
    found = {}
    for one in checked.inputs:
        adapter = None if one.adapter is None else str(one.adapter.folder)
        mark = weights_hash(str(one.weights.folder), adapter)
        if mark and mark in by_hash:
            found[one.name] = by_hash[mark]
    return found


def _applicant(checked: CheckedOrder, app: "App", parents: "Sequence[Expert]") -> MergedExpert:
    """The merged model as a member of the pool: run as its first parent there is."""
    out = checked.order.out
    like = parents[0] if parents else None
    rows = [m for m in app.settings.model_list if like is not None and m.model_name == like.id]
    member = rows[0].model_dump(mode="json", exclude_unset=True) if rows else {}
    info = {**member.get("model_info", {})}
    muster = {k: v for k, v in info.get("muster", {}).items() if k not in ("adapter", "revision")}
    info.pop("base_model", None)
    if checked.is_adapter:
        muster["adapter"] = "lora"
        base = checked.checked.inputs.base
        assert base is not None, "an adapter has one"
        info["base_model"] = str(base.weights.folder)
    if not rows:
        muster["max_model_len"] = _context(checked)
    params = {k: v for k, v in member.get("litellm_params", {}).items() if k in ("max_tokens", "temperature")}
    lineage = Lineage(
        method=checked.recipe.merge_method,
        recipe_hash=checked.recipe.hash,
        parents=tuple(_parents(checked, app).get(name, name) for name in _inputs(checked)),
    )
    name = _name(checked)
    return MergedExpert(
        id=name,
        member={
            "model_name": name,
            "litellm_params": {**params, "model": str(out)},
            "model_info": {**info, "muster": muster},
        },
        lineage=lineage,
    )


def _stranger(checked: CheckedOrder, name: str) -> MergedExpert:
    """A parent that is nobody of the pool, for the time of the comparison."""
    one = next(one for one in checked.inputs if one.name == name)
    muster: dict[str, object] = {"max_model_len": _context(checked)}
    info: dict[str, object] = {"muster": muster}
    model = one.weights.folder
    if one.adapter is not None:
        muster["adapter"], info["base_model"] = "lora", str(model)
        model = one.adapter.folder
    if against := objection(str(model), None):
        raise InputError(f"{against.why}.", param="models", remedy=against.remedy)
    member = {"model_name": _stranger_id(name), "litellm_params": {"model": str(model)}, "model_info": info}
    lineage = Lineage(method="", recipe_hash="", parents=())
    return MergedExpert.model_validate({"id": _stranger_id(name), "member": member, "lineage": lineage})


def _stranger_id(name: str) -> str:
    return f"parent-{Path(name.replace('+', '/')).name}-{content_hash(name)[:4]}"


def _context(checked: CheckedOrder) -> int:
    from orchestrator.bootstrap.pool_file import context_of

    base = checked.checked.inputs.base
    stated = None if base is None else context_of(base.weights.folder)
    return min(4096, stated or 4096)
