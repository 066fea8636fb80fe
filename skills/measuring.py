"""Makes outcomes of experts on labelled queries known: asks what is not, grades, stores."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import CallRole, Job, JobProgress, JobState, Response
from orchestrator.domain.cards import ABSTAINED
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.queries import Query
from orchestrator.domain.values import content_hash
from orchestrator.errors import NotFoundError, UnsupportedError
from orchestrator.ports.cards import CardStore, OutcomeRow
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import JobStore
from orchestrator.ports.skills import Grader

logger = logging.getLogger(__name__)

KIND = "profile"
MAX_JOBS = 1000
"""Running jobs that are looked through for those of earlier runs."""
MAX_ATTEMPTS = 8

ProgressCallback = Callable[[JobProgress], None]


class Coverage(NamedTuple):
    """Number of expert-question pairs that were asked, and how many had been measured before.

    Attributes:
        failures: the last error of experts whose calls failed for no fault of theirs.
        cut_off: responses of experts that ended at their longest length without a readable answer.
    """

    n_asked: int
    n_reused: int
    failures: Mapping[str, str]
    cut_off: Mapping[str, int]


class Heard(NamedTuple):
    """Responses by query hash, and the error codes of those that failed."""

    replies: dict[str, tuple[Response, ...]]
    codes: frozenset[str]

    @property
    def lacks_feature(self) -> bool:
        """True if the engine cannot do what was asked of it beside plain text."""
        return UnsupportedError.code in self.codes


class Measurer:
    """Runs profile jobs and keeps their graded responses, by expert fingerprint and question.

    Args:
        seed: of generation; part of a job's identity.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        cards: CardStore,
        dispatcher: Dispatcher,
        grader: Grader,
        pool: Pool,
        seed: int,
    ) -> None:
        self._jobs = jobs
        self._cards = cards
        self._dispatcher = dispatcher
        self._grader = grader
        self._pool = pool
        self._seed = seed
        self._failures: dict[str, str] = {}
        self._cut_off: Counter[str] = Counter()

    def known(self, expert: Expert, queries: Sequence[Query]) -> dict[str, OutcomeRow]:
        """Outcomes on the books of the expert as it is now (its fingerprint), by query hash."""
        return self._cards.known_outcomes(expert.fingerprint, [q.content_hash for q in queries])

    def missing(self, expert: Expert, queries: Sequence[Query]) -> list[Query]:
        """Queries without such an outcome, in order."""
        known = self.known(expert, queries)
        return [query for query in queries if query.content_hash not in known]

    def measure(
        self,
        experts: Sequence[Expert],
        queries: Sequence[Query],
        *,
        composition: str,
        on_progress: ProgressCallback | None,
    ) -> Coverage:
        """Make the outcomes of experts x queries known, as far as the infrastructure lets it.

        Blocks until all is asked. Jobs that an earlier run left unfinished are gone on with, or ended.

        Args:
            queries: each different, with a reference answer if it is not open.
            composition: name of the one that asks, such as the roll call.
            on_progress: told of each job's progress; None = nobody is.
        """
        groups = self._groups(experts, queries)
        while abandoned := self._abandoned(groups, queries, composition):
            for job in abandoned:
                self._take_over(job)
            groups = self._groups(experts, queries)
        n_asked = sum(len(group) * len(missing) for group, missing in groups)
        self._failures, self._cut_off = {}, Counter()
        for group, missing in groups:
            self._ask(group, missing, composition, on_progress)
        n_reused = len(experts) * len(queries) - n_asked
        return Coverage(n_asked, n_reused, dict(self._failures), dict(self._cut_off))

    def regrade(self, experts: Sequence[Expert], queries: Sequence[Query]) -> None:
        """Grade stored responses again, for questions whose reference answer may have changed.

        An abstention stays one: reading a response does not depend on the reference.

        Raises:
            SkillError: a reference answer is missing, or cannot be read.
        """
        by_hash = {query.content_hash: query for query in queries}
        for expert in experts:
            rows = [row for row in self.known(expert, queries).values() if row.value is not None]
            graded = [self._regraded(expert, by_hash[row.query_hash], row) for row in rows]
            changed = [new for new, old in zip(graded, rows, strict=True) if new != old]
            if changed:
                self._cards.save_outcomes(changed)

    def _regraded(self, expert: Expert, query: Query, row: OutcomeRow) -> OutcomeRow:
        response = Response(expert_id=expert.id, role=CallRole.EXPERT, stage=0, text=row.text)
        grade = self._grader.grade(query, response)
        return row._replace(outcome=grade.outcome, value=grade.value)

    def generate(
        self, queries: Sequence[Query], *, composition: str, on_progress: ProgressCallback | None
    ) -> dict[str, tuple[Response, ...]]:
        """Responses by query hash of a job that names no experts; not graded, not kept.

        Blocks until all is asked.

        Args:
            composition: name of the one that asks, and knows whom.
            on_progress: told of the job's progress; None = nobody is.
        """
        job = self._job(composition, (), queries, attempt=0)
        self._jobs.submit(job, queries)
        self._dispatcher.run(job.id, on_progress=on_progress)
        return {query.content_hash: responses for query, responses in self._jobs.responses(job.id)}

    def heard(
        self,
        expert: Expert,
        queries: Sequence[Query],
        *,
        composition: str,
        basis: str,
        logprobs: int | None = None,
        on_progress: ProgressCallback | None,
    ) -> Heard:
        """Responses of one expert, not graded; a run that was stopped is gone on with, and one that ended is
        read again. Where only the infrastructure answered, there is none; the next run asks once more.

        Args:
            composition: name of the one that asks.
            basis: all that the calls depend on beside what the queries ask.
            logprobs: likeliest tokens whose probabilities are asked for; None = no probabilities.
        """
        found: dict[str, tuple[Response, ...]] = {}
        codes: set[str] = set()
        attempt = 0
        while queries:
            job = self._job(composition, [expert], queries, attempt=attempt, basis=f"{basis} {logprobs}")
            job = job.replaced(logprobs=logprobs)
            ended = self._has_ended(job.id)
            if not ended:
                self._end_others(job, queries)
                self._jobs.submit(job, queries)
                self._dispatcher.run(job.id, on_progress=on_progress)
            for query, responses in self._jobs.responses(job.id):
                if responses and all(r.is_experts_own for r in responses):
                    found[query.content_hash] = responses
                codes.update(r.error_code for r in responses if r.error_code is not None)
            left = [query for query in queries if query.content_hash not in found]
            if not ended or UnsupportedError.code in codes:
                break
            attempt = attempt + 1 if len(left) == len(queries) else 0
            queries = left
        return Heard(found, frozenset(codes))

    def _end_others(self, mine: Job, queries: Sequence[Query]) -> None:
        """End jobs of earlier runs, for the same composition on some of these queries, that nobody reads."""
        hashes = {query.content_hash for query in queries}
        for job in self._running(mine.composition):
            asked = {q.content_hash for q, _ in self._jobs.responses(job.id)}
            if job.id != mine.id and not asked.isdisjoint(hashes):
                self._jobs.cancel(job.id)
                logger.warning("profile job %s was left unfinished by an earlier run: ended", job.id)

    def _running(self, composition: str) -> list[Job]:
        """Jobs under way that measure experts so."""
        jobs = [p.job for p in self._jobs.jobs(limit=MAX_JOBS) if p.state is JobState.RUNNING]
        return [job for job in jobs if job.kind == KIND and job.composition == composition and job.experts]

    def _abandoned(
        self, groups: Sequence[tuple[list[Expert], list[Query]]], queries: Sequence[Query], composition: str
    ) -> list[Job]:
        """Running jobs of earlier runs on these questions that this one would not go on with."""
        mine = {
            self._job(composition, group, missing, attempt=attempt).id
            for group, missing in groups
            for attempt in range(MAX_ATTEMPTS)
        }
        hashes = {query.content_hash for query in queries}
        others = [job for job in self._running(composition) if job.id not in mine]
        return [job for job in others if {q.content_hash for q, _ in self._jobs.responses(job.id)} <= hashes]

    def _take_over(self, job: Job) -> None:
        """End an abandoned job; what it has measured is kept, where the experts are what they were."""
        self._jobs.cancel(job.id)
        by_id = self._pool.by_id
        group = [by_id[expert_id] for expert_id in job.experts if expert_id in by_id]
        queries = [query for query, _ in self._jobs.responses(job.id)]
        is_same = any(
            self._job(job.composition, group, queries, attempt=attempt).id == job.id
            for attempt in range(MAX_ATTEMPTS)
        )
        if is_same:
            self._collect(job.id, group)
        kept = "what it measured is kept" if is_same else "its experts have changed since"
        logger.warning("profile job %s was left unfinished by an earlier run: ended; %s", job.id, kept)

    def _groups(
        self, experts: Sequence[Expert], queries: Sequence[Query]
    ) -> list[tuple[list[Expert], list[Query]]]:
        """Experts with the same unanswered questions, together: one job each."""
        groups: dict[tuple[str, ...], list[Expert]] = defaultdict(list)
        for expert in experts:
            groups[tuple(q.content_hash for q in self.missing(expert, queries))].append(expert)
        by_hash = {q.content_hash: q for q in queries}
        return [(group, [by_hash[h] for h in hashes]) for hashes, group in groups.items() if hashes]

    def _ask(
        self,
        group: Sequence[Expert],
        queries: Sequence[Query],
        composition: str,
        on_progress: ProgressCallback | None,
    ) -> None:
        """Run the group's job; one that an earlier run finished is read again, not run again.

        If such a job holds no outcome for some questions (their engine failed then), these are asked
        by a job of their own, with an id that the next run would choose as well.
        """
        attempt = 0
        while queries:
            job = self._job(composition, group, queries, attempt=attempt)
            ended = self._has_ended(job.id)
            if not ended:
                self._jobs.submit(job, queries)
                self._dispatcher.run(job.id, on_progress=on_progress)
            self._collect(job.id, group)
            if not ended:
                return
            left = self._unmeasured(group, queries)
            attempt = attempt + 1 if len(left) == len(queries) else 0
            queries = left

    def _unmeasured(self, group: Sequence[Expert], queries: Sequence[Query]) -> list[Query]:
        hashes = {query.content_hash for expert in group for query in self.missing(expert, queries)}
        return [query for query in queries if query.content_hash in hashes]

    def _job(
        self,
        composition: str,
        group: Sequence[Expert],
        queries: Sequence[Query],
        *,
        attempt: int,
        basis: str = "",
    ) -> Job:
        prints = [expert.fingerprint for expert in group]
        content: list[object] = [composition, prints, [q.content_hash for q in queries], self._seed, attempt]
        if basis:
            content += [basis, self._pool.fingerprint]
        return Job(
            id=f"profile-{content_hash(content)}",
            kind=KIND,
            composition=composition,
            experts=tuple(expert.id for expert in group),
            seed=self._seed,
            config_hash=self._pool.fingerprint,
            label=f"{composition}: {len(queries)} questions, {len(group)} experts",
        )

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.job(job_id).state.is_over
        except NotFoundError:
            return False

    def _collect(self, job_id: str, group: Sequence[Expert]) -> None:
        """Grade and store a job's responses, a question at a time."""
        fingerprints = {expert.id: expert.fingerprint for expert in group}
        for query, responses in self._jobs.responses(job_id):
            mine = [r for r in responses if r.expert_id in fingerprints]
            self._failures |= {
                r.expert_id: r.error or r.error_code or "" for r in mine if not r.is_experts_own
            }
            own = [r for r in mine if r.is_experts_own]
            rows = [self._graded(fingerprints[r.expert_id], query, r) for r in own]
            self._cut_off.update(
                r.expert_id
                for r, row in zip(own, rows, strict=True)
                if row.outcome == ABSTAINED and r.finish_reason is FinishReason.LENGTH
            )
            if rows:
                self._cards.save_outcomes(rows)

    def _graded(self, fingerprint: str, query: Query, response: Response) -> OutcomeRow:
        grade = self._grader.grade(query, response)
        return OutcomeRow(
            fingerprint=fingerprint,
            query_hash=query.content_hash,
            outcome=grade.outcome,
            value=grade.value,
            text=response.text,
            completion_tokens=response.usage.completion_tokens,
            latency_ms=response.latency_ms,
        )
