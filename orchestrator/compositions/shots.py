"""Shots: solved questions that an expert is shown before the one that it is asked.

Sources: Medprompt's nearest solved questions (arXiv:2311.16452), from the profile; Xolver's memory of what
was answered surely or judged right (arXiv:2506.14234), from the questions of the same key.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator import prompts
from orchestrator.domain.assignments import Job
from orchestrator.domain.cards import RIGHT, FloatMatrix, Profile
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import Query, rough_tokens
from orchestrator.ports.clock import Clock
from orchestrator.ports.memory import MemoryReader, Remembered
from orchestrator.ports.skills import Embedder
from orchestrator.settings.shots import ShotSettings

JUDGED_RIGHT = 0.75
"""Mean judgement from which an answer counts as right; below it, the answer is shown to nobody."""
LOOK_S = 30.0
"""Between two looks at what one key's questions were answered."""
MOST_REMEMBERED = 200
"""Latest answered questions that are looked at; of each key."""
MOST_KEYS = 256


class Solved(NamedTuple):
    """Solved questions, S of them.

    Attributes:
        vectors: float32 [S, D], of unit length.
        replies: by expert id, who solves most first; the one who is asked may be among them.
        shares: [S], what the similarity of each is multiplied by, in (0, 1].
    """

    queries: tuple[Query, ...]
    vectors: FloatMatrix
    replies: tuple[Mapping[str, str], ...]
    shares: tuple[float, ...]


NOTHING = Solved((), np.zeros((0, 0), dtype=np.float32), (), ())


class Shots:
    """Chooses the shots of each call. For any number of threads."""

    def __init__(
        self,
        settings: ShotSettings,
        *,
        embedder: Callable[[], Embedder],
        profile: Profile | None,
        memory: MemoryReader | None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._settings = settings
        self._embedder = embedder
        self._memory = memory if settings.taken_from == "memory" else None
        self._profiled = solved_in(profile) if settings.taken_from == "profile" and profile else NOTHING
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Solved]] = OrderedDict()

    def of(self, query: Query, expert: Expert, job: Job) -> tuple[prompts.Shot, ...]:
        """Shots of a call, the nearest last; none where the form of its answer is the request's own, in a
        conversation, and for open questions, which have no right answer."""
        if query.answer_type.is_graded or query.context or query.after or job.raw:
            return ()
        if job.structured_output is not None or job.tools is not None:
            return ()
        solved = self._profiled if self._memory is None else self._of_owner(self._memory, job.owner)
        if not solved.queries:
            return ()
        vector = self._embedder().encode([query.text])[0]
        near = nearest(solved, query, vector, expert_id=expert.id, settings=self._settings)
        return fitting(near, query, expert)

    def _of_owner(self, memory: MemoryReader, owner: str) -> Solved:
        now = self._clock()
        with self._lock:
            seen_at, solved = self._kept.get(owner, (-np.inf, NOTHING))
            if now < seen_at + LOOK_S:
                self._kept.move_to_end(owner)
                return solved
        latest = memory.latest_answered(owner, limit=MOST_REMEMBERED)
        solved = remembered(latest, self._embedder, settings=self._settings)
        with self._lock:
            self._kept[owner] = now, solved
            self._kept.move_to_end(owner)
            while len(self._kept) > MOST_KEYS:
                self._kept.popitem(last=False)
        return solved


def solved_in(profile: Profile) -> Solved:
    """Profile questions that somebody answered right, in the words of all who did.

    Nothing where the texts of the responses were not kept.
    """
    transcript = profile.transcript
    if transcript is None or not transcript.texts:
        return NOTHING
    right = profile.outcomes == RIGHT
    best_first = np.argsort(-right.sum(axis=1), kind="stable").tolist()
    columns = [column for column in range(right.shape[1]) if right[:, column].any()]
    replies = tuple(
        {profile.expert_ids[e]: transcript.texts[e][column] for e in best_first if right[e, column]}
        for column in columns
    )
    return Solved(
        tuple(transcript.queries[column] for column in columns),
        profile.embeddings[columns],
        replies,
        (1.0,) * len(columns),
    )


def remembered(
    latest: Sequence[Remembered], embedder: Callable[[], Embedder], *, settings: ShotSettings
) -> Solved:
    """Remembered questions whose answers may be shown: judged right, or sure enough and not judged. Of equal
    questions the latest counts.

    Args:
        latest: the newest first.
    """
    good: dict[str, Remembered] = {}
    for one in map(_typed, latest):
        if _is_good(one, settings.least_confidence):
            good.setdefault(one.query.content_hash, one)
    if not good:
        return NOTHING
    queries = tuple(one.query for one in good.values())
    shares = tuple(0.5 ** (one.age_days / settings.half_life_days) for one in good.values())
    replies = tuple({one.answer.answered_by or "": one.answer.text} for one in good.values())
    return Solved(queries, embedder().encode([query.text for query in queries]), replies, shares)


def _typed(one: Remembered) -> Remembered:
    """The question with the type that its answer was read as: few that come by chat say one."""
    read_as = one.answer.answer_type
    return one if read_as is None else one._replace(query=one.query.typed(read_as))


def _is_good(one: Remembered, least_confidence: float) -> bool:
    query, answer = one.query, one.answer
    if query.answer_type.is_graded or query.context or query.after:
        return False
    if not answer.text or answer.value is None or answer.tool_calls:
        return False
    if one.score is not None:
        return one.score >= JUDGED_RIGHT
    return (answer.confidence or 0.0) >= least_confidence


def nearest(
    solved: Solved, query: Query, vector: FloatMatrix, *, expert_id: str, settings: ShotSettings
) -> list[prompts.Shot]:
    """The k nearest solved questions of the query's answer type, the nearest last; never the query itself.
    Each in the expert's own words where it solved the question, else in those of whoever solves most.

    Args:
        vector: [D], of unit length.
    """
    likeness = np.round(np.asarray(solved.vectors @ vector, dtype=np.float64), 6)
    worth = likeness * np.asarray(solved.shares)
    found: list[prompts.Shot] = []
    for row in np.argsort(-worth, kind="stable").tolist():
        known, replies = solved.queries[row], solved.replies[row]
        reply = replies.get(expert_id) or next(iter(replies.values()))
        if likeness[row] < settings.floor or known.answer_type is not query.answer_type:
            continue
        if known.text != query.text and len(known.text) + len(reply) <= settings.max_chars:
            found.append(prompts.Shot(known, reply))
        if len(found) == settings.k:
            break
    return found[::-1]


def fitting(shots: Sequence[prompts.Shot], query: Query, expert: Expert) -> tuple[prompts.Shot, ...]:
    """As many of the last shots as leave room for the question and its response in the expert's context."""
    room = expert.engine.max_model_len - expert.max_tokens - rough_tokens(len(query.text))
    room -= rough_tokens(len(expert.system_prompt or ""))
    kept: list[prompts.Shot] = []
    for shot in reversed(shots):
        room -= rough_tokens(len(shot.query.text) + len(shot.reply))
        if room < 0:
            break
        kept.append(shot)
    return tuple(reversed(kept))


def shown(expert_id: str, shots: Sequence[prompts.Shot]) -> str:
    """Note of a decision: what an expert was shown."""
    return f"shown to {expert_id} before the question: {', '.join(shot.query.id for shot in shots)}"
