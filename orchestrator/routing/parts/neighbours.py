"""The profile as the data-driven routers see it: eligible experts only, and queries as vectors.

Shapes: E eligible experts, N profile questions, Q queries, D embedding width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.domain.answers import Decision, SkillEvidence
from orchestrator.domain.cards import GRADED, RIGHT, UNKNOWN, FloatMatrix, Profile, Tally, deck_hash
from orchestrator.domain.posteriors import LEAST_PRIOR, MOST_PRIOR, Interval, beta_bounds
from orchestrator.errors import NotProfiledError, RoutingError
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing.parts.context import RouterContext
from orchestrator.routing.parts.decisions import DecisionWriter, Verdict, accuracy_needed, clamp
from orchestrator.routing.parts.deck import Floats, global_accuracy
from orchestrator.routing.parts.draws import preference

_Lines = dict[int, SkillEvidence]
"""Evidence by expert row."""


class ProfileView:
    """Outcomes of the eligible experts, in pool order.

    Attributes:
        right, known: float64 [N, E]; 1 where the expert was right, or its grade; 1 where it was measured.
        prior: global accuracy of each expert, [E]; 0.5 where nothing was measured.
        embeddings: float32 [N, D], unit length.

    Raises:
        NotProfiledError: the pool has not been profiled here.
    """

    def __init__(self, router: str, context: RouterContext) -> None:
        profile = require_profile(router, context)
        rows = {expert_id: row for row, expert_id in enumerate(profile.expert_ids)}
        unmeasured = np.full(len(profile.texts), UNKNOWN, dtype=np.int8)
        outcomes = [
            profile.outcomes[rows[expert_id]] if expert_id in rows else unmeasured
            for expert_id in context.expert_ids
        ]
        stacked = np.array(outcomes, dtype=np.int8).reshape(len(outcomes), len(profile.texts)).T
        self.router = router
        self.expert_ids = context.expert_ids
        self.version = deck_hash(context.cards)
        self.embeddings = profile.embeddings
        grades = _grades(profile, [rows.get(expert_id) for expert_id in context.expert_ids])
        is_graded = ~np.isnan(grades)
        self.right = np.where(is_graded, grades, stacked == RIGHT)
        self.known = (is_graded | ((stacked != UNKNOWN) & (stacked != GRADED))).astype(np.float64)
        self.prior = _overall(self.right, self.known)
        self.profiled = [bool(column.any()) for column in self.known.T]

    def vectors(self, batch: Sequence[RoutingInput]) -> FloatMatrix:
        """float32 [Q, D].

        Raises:
            RoutingError: the queries were not embedded, or by another model than the profile was.
        """
        width = self.embeddings.shape[1]
        for item in batch:
            if item.embedding.shape != (width,):
                raise RoutingError(
                    f"router '{self.router}' needs embeddings of width {width}, as in the profile; "
                    f"the query has {item.embedding.shape}.",
                    remedy="Set an embedder, the one the pool was profiled with, or profile again.",
                )
        return np.array([item.embedding for item in batch], dtype=np.float32).reshape(len(batch), width)


def _grades(profile: Profile, rows: Sequence[int | None]) -> Floats:
    """Grades of some rows of a profile, [N, E]; nan where there is none."""
    grades = np.full((len(profile.texts), len(rows)), np.nan)
    if profile.scores is not None:
        for place, row in enumerate(rows):
            if row is not None:
                grades[:, place] = profile.scores[row]
    return grades


def _overall(right: Floats, known: Floats) -> Floats:
    """Global accuracy of each expert, [E]."""
    columns = zip(right.sum(axis=0).tolist(), known.sum(axis=0).tolist(), strict=True)
    tallies = [Tally(n_right=of_expert, n_wrong=max(n - of_expert, 0.0)) for of_expert, n in columns]
    return np.array([global_accuracy(one) for one in tallies])


def require_profile(router: str, context: RouterContext) -> Profile:
    """The profile, which has questions.

    Raises:
        NotProfiledError: the pool was not profiled here.
    """
    if context.profile is None or not context.profile.texts:
        raise NotProfiledError(
            f"router '{router}' needs a profile of the pool.",
            remedy="Run `muster profile` first, or use the router 'symbolic'.",
        )
    return context.profile


class LocalAccuracy:
    """Accuracy on a neighbourhood of each query, shrunk to the global accuracy; [Q, E] throughout.

    Args:
        right, n: (weighted) number of right answers, and of measured ones, in the neighbourhood.
        prior: [E], global accuracies.
        prior_strength: > 0, pseudo-observations.
    """

    def __init__(self, right: Floats, n: Floats, *, prior: Floats, prior_strength: float) -> None:
        # Queries are embedded and compared in float32: further digits are noise of the batch's shape.
        right, n = np.round(right, 3), np.round(n, 3)
        centre = np.clip(prior, LEAST_PRIOR, MOST_PRIOR)
        self._a = centre * prior_strength + right
        self._b = (1 - centre) * prior_strength + n - right
        self._n = n
        self.mean: Floats = np.round(self._a / (self._a + self._b), 6)

    def evidence(self, columns: Sequence[Sequence[int]], labels: Sequence[str]) -> list[_Lines]:
        """Per query: a line for each expert in `columns[query]`; all intervals computed in one go."""
        queries = np.repeat(np.arange(len(columns)), [len(of_query) for of_query in columns])
        experts = np.array([row for of_query in columns for row in of_query], dtype=np.int64)
        a, b = self._a[queries, experts], self._b[queries, experts]
        low, high = (bound.tolist() for bound in beta_bounds(a, b))
        mean, n = self.mean[queries, experts].tolist(), self._n[queries, experts].tolist()
        lines: list[_Lines] = [{} for _ in columns]
        for i, (query, row) in enumerate(zip(queries.tolist(), experts.tolist(), strict=True)):
            lines[query][row] = SkillEvidence(
                skill=labels[query],
                weight=1.0,
                score=mean[i],
                n=n[i],
                accuracy=mean[i],
                interval=Interval(low[i], high[i]),
            )
        return lines


class Choice(NamedTuple):
    """Recruits of a router for one query, by row.

    Attributes:
        picks: best first.
        runner_up: best row left out; None = nobody is.
        scores: what was ranked by, [E].
        would_change: what would have let the runner-up in.
        notes: said of this decision only.
    """

    picks: list[int]
    runner_up: int | None
    scores: list[float]
    would_change: str | None
    notes: tuple[str, ...] = ()


class LocalWriter:
    """Writes decisions whose reason is the accuracy in the query's neighbourhood; recruits weigh by it."""

    def __init__(self, view: ProfileView, *, notes: tuple[str, ...] = ()) -> None:
        self._notes = notes
        self._writer = DecisionWriter(view.router, view.expert_ids, view.profiled, view.version)

    def write(
        self,
        batch: Sequence[RoutingInput],
        choices: Sequence[Choice],
        local: LocalAccuracy,
        labels: Sequence[str],
    ) -> list[Decision]:
        """Decisions in the order of the batch; `labels`: what the neighbourhood of each query is called."""
        shown = [c.picks if c.runner_up is None else [*c.picks, c.runner_up] for c in choices]
        columns = zip(batch, choices, local.mean.tolist(), local.evidence(shown, labels), strict=True)
        return self._writer.write_all(self._verdict(*column) for column in columns)

    def _verdict(self, item: RoutingInput, choice: Choice, means: list[float], lines: _Lines) -> Verdict:
        return Verdict(
            picks=choice.picks,
            runner_up=choice.runner_up,
            shares=means,
            scores=choice.scores,
            accuracy=means,
            evidence=lambda row: (lines[row],),
            skills=item.skills,
            would_change=choice.would_change,
            notes=(*self._notes, *choice.notes),
        )


class AccuracyDecider:
    """Recruits the k experts with the highest local accuracy, best first."""

    def __init__(self, view: ProfileView, *, k: int) -> None:
        self._k, notes = clamp(k, len(view.expert_ids))
        self._writer = LocalWriter(view, notes=notes)

    def decide(
        self, batch: Sequence[RoutingInput], local: LocalAccuracy, labels: Sequence[str]
    ) -> list[Decision]:
        """Decisions in the order of the batch; `labels`: what the neighbourhood of each query is called."""
        ranked = preference(local.mean)[:, : self._k + 1].tolist()
        columns = zip(ranked, local.mean.tolist(), labels, strict=True)
        return self._writer.write(batch, [self._choice(*column) for column in columns], local, labels)

    def _choice(self, ranked: list[int], means: list[float], label: str) -> Choice:
        picks, left_out = ranked[: self._k], ranked[self._k :]
        if not left_out:
            return Choice(picks, None, means, None)
        gap = means[picks[-1]] - means[left_out[0]]
        return Choice(picks, left_out[0], means, accuracy_needed(gap, label))
