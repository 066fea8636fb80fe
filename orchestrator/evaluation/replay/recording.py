"""A pool of recorded experts: who they are, and what each answers to which question."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestrator.domain.answers import Answer, FinishReason, Usage
from orchestrator.domain.assignments import Call, CallRole, Response
from orchestrator.domain.cards import ABSTAINED as OUTCOME_ABSTAINED
from orchestrator.domain.cards import GRADED, RIGHT, WRONG, FloatMatrix
from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec, Expert, Pool
from orchestrator.domain.queries import CHARS_PER_TOKEN, AnswerType, Query, rough_tokens
from orchestrator.errors import UnsupportedError
from orchestrator.evaluation.replay.sets import ABSTAINED, IntArray, RecordedExpert, ReplaySet
from orchestrator.ports.skills import Grade, Grader

RECORDED = "recorded"
"""Backend named by the engines of a replayed pool; nothing ever loads one."""

SILENCE = "No answer."
NOT_KEPT = "(These words were not recorded.)"
"""Text of an open answer of which only the score is known."""

NOT_RECORDED = "not_recorded"
"""Error code of a response that nobody knows: the expert could not be asked."""

Floats = npt.NDArray[np.float64]


class Recording:
    """Responses of the experts of one pool.

    A response's text is the recorded one, or a sentence that states the value (`The answer is (C).`),
    right-aligned to the recorded number of characters: a text is as long as it was, whatever of it was
    kept. A text shorter than the sentence states the value more briefly.

    An expert is named by its `row` in `experts`, a question by its `column` in `queries`.

    Args:
        replay: every question of which has its values, or is open.
        pool: name of a pool of the set.
    """

    def __init__(self, replay: ReplaySet, pool: str) -> None:
        rows = replay.rows(pool)
        self.queries = replay.queries
        self.experts = tuple(replay.experts[row] for row in rows)
        self._values = replay.values
        self._right = replay.right
        self._graded = replay.graded
        self._pred = replay.pred[rows].tolist()
        self._samples = replay.samples[:, rows].tolist()
        self._measured = replay.measured[rows].tolist()
        self._chars = replay.chars[rows].tolist()
        self._texts = [replay.texts.get(row) for row in rows]
        self.scores: FloatMatrix | None = None if replay.scores is None else replay.scores[rows]
        self._row = {expert.id: row for row, expert in enumerate(self.experts)}

    @cached_property
    def pool(self) -> Pool:
        """The experts as a pool whose engines are never loaded."""
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

    def best_scores(self, columns: IntArray) -> Floats:
        """Score of the best response of any expert, in [0, 1]; [len(columns)]."""
        rows = range(len(self.experts))
        return np.array([max(self.score(row, c) for row in rows) for c in columns.tolist()])

    def score(self, row: int, column: int) -> float:
        """Score of a first response in [0, 1]: 1 = right, 0 = wrong, silent or not known; of an open question
        as it was graded."""
        if not self._measured[row][column]:
            return 0.0
        if self.scores is not None and self._graded[column]:
            return float(self.scores[row, column])
        return float(self._pred[row][column] in self._right[column])

    def score_of(self, query: Query, answer: Answer) -> float:
        """Score of an answer, in [0, 1].

        Raises:
            UnsupportedError: an answer to an open question that is no expert's own words.
        """
        column = self.column[query.id]
        if not self._graded[column]:
            return float(self._is_right(column, answer.value))
        if answer.error_code is not None:
            return 0.0
        row = self._row.get(answer.answered_by or "")
        if row is None:
            raise UnsupportedError(
                f"the answer to open question '{query.id}' was composed: nobody has graded it.",
                remedy="Replay a composition that hands on one expert's words.",
            )
        return self.score(row, column)

    def n_chars(self, query: Query, answer: Answer) -> int:
        """Characters of the response whose words the answer is, as recorded; 0 where it is nobody's."""
        row = self._row.get(answer.answered_by or "")
        return 0 if row is None else int(self._chars[row][self.column[query.id]])

    def _is_right(self, column: int, value: str | None) -> bool:
        values = self._values[column] or ()
        return value in values and values.index(value) in self._right[column]

    def value(self, row: int, column: int, sample_ix: int = 0) -> str | None:
        """Canonical answer (choice: the letter; open: its words); None = no answer, or not known. Samples
        that were not recorded repeat."""
        if not self._measured[row][column]:
            return None
        if self._graded[column]:
            return self.text(row, column).strip() or None
        return self._indexed(row, column, sample_ix)

    def _indexed(self, row: int, column: int, sample_ix: int) -> str | None:
        pred, values = self._pred, self._values[column]
        if sample_ix and self._samples:
            pred = self._samples[(sample_ix - 1) % len(self._samples)]
        return None if values is None or pred[row][column] == ABSTAINED else values[pred[row][column]]

    def are_values(self, query: Query, *answers: str) -> bool:
        """True if all of them are values of the record: equal where they are the same, and only there."""
        column = self.column.get(query.id)
        values = None if column is None else self._values[column]
        return values is not None and all(answer in values for answer in answers)

    def text(self, row: int, column: int, sample_ix: int = 0) -> str:
        """Text of a response: see the class. No words are kept of further samples: theirs state the value."""
        n_chars, texts = self._chars[row][column], self._texts[row]
        kept = None if texts is None else texts[column]
        if self._graded[column]:
            return (NOT_KEPT if kept is None else kept).rjust(n_chars)
        value = self._indexed(row, column, sample_ix)
        is_letter = self.queries[column].answer_type is AnswerType.CHOICE
        return spelled_out(value, n_chars, None if sample_ix else kept, is_letter=is_letter)

    def outcome(self, row: int, column: int, sample_ix: int = 0) -> Grade | None:
        """The grade of a response; None = not measured."""
        if not self._measured[row][column]:
            return None
        value = self.value(row, column, sample_ix)
        if value is None:
            return Grade(OUTCOME_ABSTAINED, None, "no answer was recorded")
        if self._graded[column]:
            return Grade(GRADED, value)
        return Grade(RIGHT if self._is_right(column, value) else WRONG, value)

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
        row, column = self._row[call.expert_id], self.column[query.id]
        if not self._measured[row][column]:
            return Response(
                expert_id=call.expert_id,
                role=call.role,
                stage=stage,
                sample_ix=call.sample_ix,
                finish_reason=FinishReason.ERROR,
                error_code=NOT_RECORDED,
                error="this response was not recorded",
            )
        text = self.text(row, column, call.sample_ix)
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
        if row is None or column is None or response.role is not CallRole.EXPERT or response.failed:
            return False
        return response.text == self.text(row, column, response.sample_ix)

    def grade_of(self, query: Query, response: Response) -> Grade:
        """The grade of a response of this recording."""
        grade = self.outcome(self._row[response.expert_id], self.column[query.id], response.sample_ix)
        assert grade is not None, "what is not measured has no response"
        return grade


class RecordedGrader:
    """Reads a recorded response as the record says; everything else as the inner grader does.

    The record was read from the whole output by whoever made it; what is kept of a text may be cut.
    """

    def __init__(self, inner: Grader, recording: Recording) -> None:
        self._inner = inner
        self._recording = recording

    def read(self, query: Query, response: Response) -> str | None:
        if self._recording.reads(query, response):
            return self._recording.grade_of(query, response).value
        return self._inner.read(query, response)

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        if self._recording.are_values(query, a, b):
            return a == b
        return self._inner.equivalent(query, a, b)

    def grade(self, query: Query, response: Response) -> Grade:
        if self._recording.reads(query, response):
            return self._recording.grade_of(query, response)
        return self._inner.grade(query, response)


def spelled_out(
    value: str | None, n_chars: int, recorded: str | None = None, *, is_letter: bool = True
) -> str:
    """A response's text of at least `n_chars` characters, or the shortest one that states `value`.

    `("C", 20, None)` -> `"  The answer is (C)."`; `("C", 2, None)` -> `" C"`.
    """
    if recorded is not None:
        return recorded.rjust(n_chars)
    forms: Sequence[str] = (SILENCE, "")
    if value is not None:
        letter = (f"The answer is ({value}).", f"({value})", value)
        forms = letter if is_letter else (f"The answer is {value}.", value)
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
