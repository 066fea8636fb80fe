"""In-memory stores and a dispatcher that answers from a table: what profiling needs of the outside."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import CallRole, Job, JobProgress, JobState, Response
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import EngineSpec, Expert, ExpertRole, Pool
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.errors import NotFoundError
from orchestrator.ports.cards import OutcomeRow, ScoreKey, ScoreRow


def make_expert(expert_id: str, *roles: ExpertRole, weights_hash: str = "w", max_tokens: int = 512) -> Expert:
    return Expert(
        id=expert_id,
        engine=EngineSpec(id=f"{expert_id}-engine", backend="scripted", model="/m"),
        roles=frozenset(roles or {ExpertRole.EXPERT}),
        weights_hash=weights_hash,
        max_tokens=max_tokens,
    )


def make_pool(*experts: Expert) -> Pool:
    return Pool(experts=experts)


class Script(NamedTuple):
    """What an expert does when asked: a text, or an error code."""

    text: str = ""
    error_code: str | None = None
    finish_reason: FinishReason = FinishReason.STOP


Answerer = Callable[[str, Query], Script]
"""(expert id, query) -> what comes back."""


class FakeCardStore:
    """`ports.CardStore` in dictionaries."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str], OutcomeRow] = {}
        self.scores: dict[tuple[GradeSource, str, str, str], ScoreRow] = {}
        self.saved_cards: list[CompetenceCard] = []
        self.sets: dict[str, list[tuple[Query, tuple[SkillTag, ...]]]] = {}

    def known_outcomes(self, fingerprint: str, query_hashes: Sequence[str]) -> dict[str, OutcomeRow]:
        found = {h: self.outcomes.get((fingerprint, h)) for h in query_hashes}
        return {h: row for h, row in found.items() if row is not None}

    def save_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        self.outcomes.update({(row.fingerprint, row.query_hash): row for row in rows})

    def known_scores(
        self, source: GradeSource, judge: str, fingerprint: str, query_hashes: Sequence[str]
    ) -> dict[str, ScoreRow]:
        found = {h: self.scores.get((source, judge, fingerprint, h)) for h in query_hashes}
        return {h: row for h, row in found.items() if row is not None}

    def save_scores(self, rows: Sequence[ScoreRow], *, forgotten: Sequence[ScoreKey] = ()) -> None:
        self.scores.update({row[:4]: row for row in rows})
        for key in forgotten:
            self.scores.pop(key, None)

    def save_card(self, card: CompetenceCard) -> None:
        self.saved_cards.append(card)

    def cards(self, profile_hash: str | None = None) -> dict[str, CompetenceCard]:
        wanted = profile_hash or self.latest_profile_hash()
        return {card.expert_id: card for card in self.saved_cards if card.profile_hash == wanted}

    def save_profile_set(
        self, profile_hash: str, queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]
    ) -> None:
        self.sets.pop(profile_hash, None)
        self.sets[profile_hash] = list(zip(queries, skills, strict=True))

    def profile_set(self, profile_hash: str) -> list[tuple[Query, tuple[SkillTag, ...]]] | None:
        return self.sets.get(profile_hash)

    def latest_profile_hash(self) -> str | None:
        return next(reversed(self.sets), None)


class _StoredJob(NamedTuple):
    job: Job
    queries: tuple[Query, ...]
    responses: dict[str, tuple[Response, ...]]
    ended: list[bool]


class FakeJobs:
    """The parts of `ports.JobStore` and `ports.Dispatcher` that profiling uses.

    Args:
        answer: what each expert does with each query.
        roles: what each composition asks for; a job without experts is answered by `annotator`.
    """

    def __init__(self, answer: Answerer, *, annotator: str = "annotator") -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        self.interrupt_after: int | None = None
        self.tells_logprobs = True
        self._annotator = annotator
        self._stored: dict[str, _StoredJob] = {}

    @property
    def submitted(self) -> list[Job]:
        return [stored.job for stored in self._stored.values()]

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        items = tuple(queries)
        if job.id in self._stored:
            assert self._stored[job.id].job == job, "a job id with other content"
            return len(items)
        self._stored[job.id] = _StoredJob(job, items, {}, [False])
        return len(items)

    def job(self, job_id: str) -> JobProgress:
        if job_id not in self._stored:
            raise NotFoundError(f"no job {job_id}")
        stored = self._stored[job_id]
        state = JobState.DONE if stored.ended[0] else JobState.RUNNING
        n_done = len(stored.responses)
        return JobProgress(job=stored.job, state=state, total=len(stored.queries), completed=n_done, failed=0)

    def jobs(self, *, limit: int = 100, owner: str | None = None) -> list[JobProgress]:
        return [self.job(job_id) for job_id in self._stored][:limit]

    def cancel(self, job_id: str) -> None:
        self._stored[job_id].ended[0] = True

    def responses(self, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
        stored = self._stored[job_id]
        for query in stored.queries:
            yield query, stored.responses.get(query.content_hash, ())

    def run(self, job_id: str, *, on_progress: Callable[[JobProgress], None] | None = None) -> JobProgress:
        """Answer what is unanswered; `interrupt_after` questions the process is stopped, once."""
        stored = self._stored[job_id]
        for query in stored.queries:
            if query.content_hash in stored.responses:
                continue
            if self.interrupt_after is not None and self.interrupt_after <= len(stored.responses):
                self.interrupt_after = None
                raise KeyboardInterrupt
            experts = stored.job.experts or (self._annotator,)
            stored.responses[query.content_hash] = tuple(
                self._ask(e, shown, stored.job, place)
                for e in experts
                for place, shown in enumerate(_shown(query, stored.job))
            )
        stored.ended[0] = True
        progress = self.job(job_id)
        if on_progress:
            on_progress(progress)
        return progress

    @contextmanager
    def expect(self, job_id: str, *, timeout_s: float) -> Iterator[Iterator[None]]:
        yield iter((None,))

    def wait(self, job_id: str, *, timeout_s: float) -> JobProgress:
        return self.job(job_id)

    def _ask(self, expert_id: str, query: Query, job: Job, place: int) -> Response:
        self.asked.append((expert_id, query.id))
        script = self.answer(expert_id, query)
        if job.logprobs is not None and not self.tells_logprobs:
            script = Script(error_code="unsupported")
        roles: Mapping[str, CallRole] = {
            "exam": CallRole.AGGREGATE,
            "annotate": CallRole.ANNOTATE,
            "grading": CallRole.JUDGE,
            "regrading": CallRole.JUDGE,
        }
        return Response(
            expert_id=expert_id,
            role=roles.get(job.composition, CallRole.EXPERT),
            stage=0,
            sample_ix=place,
            text=script.text,
            error_code=script.error_code,
            finish_reason=script.finish_reason,
            usage=Usage(prompt_tokens=10, completion_tokens=4),
            latency_ms=50.0,
        )


def _shown(query: Query, job: Job) -> tuple[Query, ...]:
    """The query as each call of a job shows it: a pair that is graded in both orders."""
    if job.composition != "grading" or len(query.candidates) < 2:
        return (query,)
    return query, query.model_copy(update={"candidates": query.candidates[::-1]})
