"""A pool of recorded experts: who they are, and what each answers to which question."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestrator.domain.answers import Usage
from orchestrator.domain.assignments import Call, CallRole, Response
from orchestrator.domain.cards import ABSTAINED as OUTCOME_ABSTAINED
from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec, Expert, Pool
from orchestrator.domain.queries import CHARS_PER_TOKEN, LETTERS, Query, rough_tokens
from orchestrator.errors import UnsupportedError
from orchestrator.evaluation.replay.files import ABSTAINED, IntArray, RecordedExpert, ReplaySet
from orchestrator.ports.skills import Grade, Grader

RECORDED = "recorded"
"""Backend named by the engines of a replayed pool; nothing ever loads one."""

SILENCE = "No answer."


class Recording:
    """Responses of the experts of one pool.

    A response's text is the recorded one, or a sentence that states the option (`The answer is (C).`),
    right-aligned to the recorded number of characters: a text is as long as it was, whatever of it was
    kept. A text shorter than the sentence states the option more briefly.

    Args:
        pool: name of a pool of the set.
    """

    def __init__(self, replay: ReplaySet, pool: str) -> None:
        rows = replay.rows(pool)
        self.queries = replay.queries
        self.experts = tuple(replay.experts[row] for row in rows)
        self._pred = replay.pred[rows].tolist()
        self._samples = replay.samples[:, rows].tolist()
        self._chars = replay.chars[rows].tolist()
        self._texts = [replay.texts.get(row) for row in rows]
        self._row = {expert.id: row for row, expert in enumerate(self.experts)}

    @cached_property
    def pool(self) -> Pool:
        return Pool(experts=tuple(_expert(expert) for expert in self.experts))

    @cached_property
    def column(self) -> dict[str, int]:
        """Query id to its column."""
        return {query.id: column for column, query in enumerate(self.queries)}

    @property
    def has_texts(self) -> bool:
        """True if the words of every expert were recorded."""
        return all(texts is not None for texts in self._texts)

    @property
    def n_samples(self) -> int:
        """Answers recorded of each expert on each question."""
        return 1 + len(self._samples)

    def any_right(self, columns: IntArray) -> npt.NDArray[np.bool_]:
        """True where any expert was right, per column."""
        answers = np.array([self.queries[c].answer for c in columns.tolist()])
        return np.asarray((np.array(self._pred)[:, columns] == answers).any(axis=0))

    def value(self, row: int, column: int, sample_ix: int = 0) -> str | None:
        """Letter of the option chosen; None = no answer. Samples that were not recorded repeat."""
        pred = self._pred
        if sample_ix and self._samples:
            pred = self._samples[(sample_ix - 1) % len(self._samples)]
        return None if pred[row][column] == ABSTAINED else LETTERS[pred[row][column]]

    def text(self, row: int, column: int, sample_ix: int = 0) -> str:
        n_chars, texts = self._chars[row][column], self._texts[row]
        recorded = texts[column] if texts is not None and not sample_ix else None
        return spelled_out(self.value(row, column, sample_ix), n_chars, recorded)

    def outcome(self, row: int, column: int) -> Grade:
        value = self.value(row, column)
        if value is None:
            return Grade(OUTCOME_ABSTAINED, None, "no answer was recorded")
        return Grade(RIGHT if LETTERS.index(value) == self.queries[column].answer else WRONG, value)

    def respond(self, call: Call, query: Query, *, stage: int) -> Response:
        """The response that a call would have brought back.

        Raises:
            UnsupportedError: a call that was not recorded: to annotate, or to aggregate.
        """
        if call.role is not CallRole.EXPERT:
            raise UnsupportedError(
                f"a recorded pool cannot {call.role}: only experts' answers were recorded.",
                remedy="Replay a composition whose annotator and aggregator ask no model.",
            )
        text = self.text(self._row[call.expert_id], self.column[query.id], call.sample_ix)
        return Response(
            expert_id=call.expert_id,
            role=call.role,
            stage=stage,
            sample_ix=call.sample_ix,
            text=text,
            usage=Usage(prompt_tokens=rough_tokens(len(query.text)), completion_tokens=n_tokens(len(text))),
        )

    def reads(self, query: Query, response: Response) -> bool:
        """True if a response is one of this recording."""
        row, column = self._row.get(response.expert_id), self.column.get(query.id)
        if row is None or column is None or response.role is not CallRole.EXPERT:
            return False
        return response.text == self.text(row, column, response.sample_ix)

    def value_of(self, query: Query, response: Response) -> str | None:
        return self.value(self._row[response.expert_id], self.column[query.id], response.sample_ix)


class RecordedGrader:
    """Reads a recorded response as the record says; everything else as the inner grader does.

    The record was read from the whole output by whoever made it; what is kept of a text may be cut.
    """

    def __init__(self, inner: Grader, recording: Recording) -> None:
        self._inner = inner
        self._recording = recording

    def read(self, query: Query, response: Response) -> str | None:
        if self._recording.reads(query, response):
            return self._recording.value_of(query, response)
        return self._inner.read(query, response)

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        return self._inner.equivalent(query, a, b)

    def grade(self, query: Query, response: Response) -> Grade:
        if not self._recording.reads(query, response):
            return self._inner.grade(query, response)
        value = self._recording.value_of(query, response)
        if value is None:
            return Grade(OUTCOME_ABSTAINED, None, "no answer was recorded")
        return Grade(RIGHT if LETTERS.index(value) == query.answer else WRONG, value)


def spelled_out(value: str | None, n_chars: int, recorded: str | None = None) -> str:
    """A response's text of at least `n_chars` characters, or the shortest one that states `value`.

    `("C", 20, None)` -> `"  The answer is (C)."`; `("C", 2, None)` -> `" C"`.
    """
    if recorded is not None:
        return recorded.rjust(n_chars)
    forms: Sequence[str] = (
        (SILENCE, "") if value is None else (f"The answer is ({value}).", f"({value})", value)
    )
    return next((form for form in forms if len(form) <= n_chars), forms[-1]).rjust(n_chars)


def n_tokens(n_chars: int) -> int:
    """Rough number of tokens of a text; at least one where there is text."""
    return -(-n_chars // CHARS_PER_TOKEN)


def _expert(expert: RecordedExpert) -> Expert:
    cost = expert.cost_per_mtok / 1e6
    return Expert(
        id=expert.id,
        engine=EngineSpec(id=expert.id, backend=RECORDED, model=expert.id, max_model_len=LONGEST_CONTEXT),
        params_b=expert.params_b,
        input_cost_per_token=cost,
        output_cost_per_token=cost,
    )
