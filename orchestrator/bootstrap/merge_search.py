"""Search of a store's numbers: experts are stored and rebuilt with each, and asked what they still know."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from orchestrator.bootstrap.merge_members import member_row, parents_of
from orchestrator.domain.cards import RIGHT, UNKNOWN
from orchestrator.domain.merges import STORE_FILE, Lineage, MergedExpert
from orchestrator.errors import MergeError, MergeStoppedError
from orchestrator.evaluation.merges import of_keys, owned_keys
from workers.checkpoints.merging.recipe import ModelRef, Recipe
from workers.checkpoints.merging.runner import CheckedOrder, Child, run_order
from workers.checkpoints.merging.search import (
    Candidate,
    Tried,
    candidates,
    chosen,
    least_times,
    times_smaller,
    with_numbers,
)
from workers.checkpoints.merging.work import REBUILT

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.experts import Expert
    from orchestrator.domain.queries import Query
    from orchestrator.evaluation.merges import Questions, Right
    from orchestrator.services.jobs import OnProgress as OnJob
    from orchestrator.settings.schema import Settings

NO_LINEAGE = Lineage(method="", recipe_hash="", parents=())
TRIED = "tried-"
"""Before the names of experts that are measured in the search."""

Showing = Callable[["App"], AbstractContextManager["OnJob | None"]]


class Found(NamedTuple):
    """The recipe with the numbers that were chosen, and one line on what they are and what they cost."""

    recipe: Recipe
    why: str


class _Stored(NamedTuple):
    """An expert as it came back from a store."""

    name: str
    folder: Path
    smaller: float


def search_numbers(
    checked: CheckedOrder,
    settings: "Settings",
    questions: "Questions",
    *,
    showing: Showing,
    stopped: Callable[[], bool],
    child: Child | None,
) -> Found:
    """Choose density and alpha of each expert of a `compeft` store on the calibration questions, and say what
    it loses on the held-out ones.

    What is tried lies beside the result while the search lasts, and outcomes of it in a database of its own.

    Raises:
        MergeError: a recipe that leaves no room to search, or what cannot be stored.
        MergeStoppedError: it was stopped; it begins anew.
    """
    tries, times = candidates(checked.recipe), least_times(checked.recipe)
    checked.order.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{checked.order.out.name}.searching-", dir=checked.order.out.parent
    ) as scratch:
        place = Path(scratch)
        bench = _Bench(checked, settings, place, showing=showing, stopped=stopped, child=child)
        owned = owned_keys(questions.calibration, bench.originals_right(questions.calibration))
        everything = range(len(questions.calibration))
        own = [of_keys(questions.calibration, keys) or list(everything) for keys in owned]
        found: list[list[Tried]] = [[] for _ in bench.refs]
        for candidate in tries:
            stored = bench.stored(dict.fromkeys(bench.refs, candidate))
            right = bench.right(stored, questions.calibration)
            for row, one, hits, places in zip(found, stored, right, own, strict=True):
                row.append(Tried(candidate, int(hits[places].sum()), one.smaller))
        best = [chosen(row, times=times) for row in found]
        numbers = {ref: one.candidate for ref, one in zip(bench.refs, best, strict=True)}
        stored = bench.stored(numbers)
        after, before = bench.right(stored, questions.held_out), bench.originals_right(questions.held_out)
    own = [of_keys(questions.held_out, keys) for keys in owned]
    shown = [
        f"{one.name} density {n.density:g}, alpha {n.alpha:g}, {one.smaller:.1f} times smaller"
        for one, n in zip(stored, numbers.values(), strict=True)
    ]
    why = f"chosen on {len(questions.calibration)} questions: {'; '.join(shown)}; {_loss(after, before, own)}"
    return Found(with_numbers(checked.recipe, numbers), why)


def _loss(after: "Sequence[Right]", before: "Sequence[Right]", own: Sequence[Sequence[int]]) -> str:
    """What experts lose on held-out questions of their own, in words."""
    from orchestrator.evaluation.statistics import paired_difference

    ours, theirs = (
        np.concatenate([row[list(p)] for row, p in zip(r, own, strict=True)]) for r in (after, before)
    )
    if not len(ours):
        return "no held-out question is of their skills"
    apart = paired_difference(ours, theirs)
    return (
        f"{100 * ours.mean():.1f} % right on {len(ours)} held-out questions of their skills, before "
        f"{100 * theirs.mean():.1f} %: {100 * apart.value:+.1f} points "
        f"(95 % interval {100 * apart.low:+.1f} to {100 * apart.high:+.1f})"
    )


class _Run(NamedTuple):
    """How an expert is run: like this one of the pool; as an adapter over the base."""

    like: "Expert | None"
    is_adapter: bool


class _Bench:
    """Stores experts with some numbers, and asks those that come back."""

    def __init__(
        self,
        checked: CheckedOrder,
        settings: "Settings",
        place: Path,
        *,
        showing: Showing,
        stopped: Callable[[], bool],
        child: Child | None,
    ) -> None:
        from orchestrator.bootstrap.app import open_app

        self.refs = [ref for ref in checked.recipe.inputs if ref != checked.recipe.base_model]
        self._checked = checked
        self._place = place
        self._showing = showing
        self._stopped = stopped
        self._child = child
        muster = settings.muster.model_copy(update={"database_url": f"sqlite:///{place / 'search.db'}"})
        self._settings = settings.model_copy(update={"muster": muster})
        inputs = [checked.checked.inputs.models[ref] for ref in self.refs]
        with open_app(settings) as app:
            known = parents_of(checked, app)
            likes = [app.pool.by_id.get(known.get(one.name, "")) for one in inputs]
            self._row = partial(member_row, checked, app)
            self._runs = [
                _Run(like, one.adapter is not None) for like, one in zip(likes, inputs, strict=True)
            ]
            places = [one.weights.folder if one.adapter is None else one.adapter.folder for one in inputs]
            self._originals = [self._member(f"original-{n}", place, n) for n, place in enumerate(places)]

    def stored(self, numbers: Mapping[ModelRef, Candidate]) -> list[_Stored]:
        """Experts as they come back, in the recipe's order; those of the time before are gone."""
        if self._stopped():
            raise MergeStoppedError("the search was stopped.", remedy="Run it again.")
        out = self._place / "store"
        recipe = with_numbers(self._checked.recipe, numbers)
        order = self._checked.order._replace(out=out, force=True)
        report = run_order(
            self._checked._replace(recipe=recipe, order=order),
            stopped=self._stopped,
            child=self._child,
            rebuilds=True,
        )
        if report.merge.sha256 is None:
            raise MergeError(report.verdict)
        described = json.loads((out / STORE_FILE).read_text(encoding="utf-8"))["experts"]
        return [
            _Stored(name, out / REBUILT / name, times_smaller(one["bytes"], one["numbers"]))
            for name, one in described.items()
        ]

    def right(self, stored: Sequence[_Stored], questions: "Sequence[Query]") -> "list[Right]":
        """Questions that stored experts answer right, in their order."""
        return self._right(
            [self._member(TRIED + one.name, one.folder, n) for n, one in enumerate(stored)], questions
        )

    def originals_right(self, questions: "Sequence[Query]") -> "list[Right]":
        """Questions that the experts answered right before they were stored."""
        return self._right(self._originals, questions)

    def _member(self, name: str, folder: Path, number: int) -> MergedExpert:
        run = self._runs[number]
        row = self._row(name, folder, run.like, run.is_adapter)
        return MergedExpert(id=name, member=row, lineage=NO_LINEAGE)

    def _right(self, members: Sequence[MergedExpert], questions: "Sequence[Query]") -> "list[Right]":
        from orchestrator.bootstrap.app import open_app

        ids = [member.id for member in members]
        with open_app(self._settings, applicants=members) as app, self._showing(app) as on_job:
            outcomes = app.profiling.outcomes(questions, experts=ids, on_progress=on_job)
        silent = [expert_id for expert_id in ids if UNKNOWN in outcomes[expert_id]]
        if silent:
            raise MergeError(f"'{silent[0]}' could not be asked all questions.", remedy="See the log.")
        return [np.array(outcomes[expert_id]) == RIGHT for expert_id in ids]
