"""Turns of conversations: whom routing chooses, and what staying with the last turn's experts costs.

    python -m benchmarks.conversations [--conversations 400] [--turns 6] [--stay 0.8] [--data DIR]

Conversations are made of the zoo's held-out questions: each turn keeps the topic with the probability
`--stay`, else draws another; `whole` ones ask every question in full, in `short` ones a turn that keeps the
topic says only what is new ("And 936, 7?"). A turn is right if the expert that was chosen first answers the
full question rightly, by the zoo's real models. Rows are compared in pairs with `last`, intervals by turns.

    readings[kind][name]: accuracy, difference from the last turn alone, ci95
    steady[kind][within]: accuracy, difference from choosing anew, ci95, switches per turn that keeps the
        topic, and per turn that changes it

The last line of output is one JSON object.
"""

import random
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.outputs import ZOO, write_pool
from benchmarks.reporting import finish, option_parser, progress
from orchestrator.bootstrap.annotators import SkillParts
from orchestrator.bootstrap.app import App, open_app
from orchestrator.compositions.reading import SkillReader
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.evaluation.statistics import bootstrap_mean
from orchestrator.ports.composing import RoutingInput
from orchestrator.questions.chats import EARLIER_CHARS, LEANING_CHARS, text_read
from orchestrator.questions.files import read_questions
from orchestrator.routing import make_router
from orchestrator.routing.parts.context import RouterContext
from orchestrator.settings.load import load_settings
from skills.grading.grader import AnswerGrader

EVERYBODY = "conversations-everybody"
WITHIN = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 1.0)
NEW = re.compile(r"'[^']*'|\b\w*\d\w*\b")
"""Words of a question that its phrasing does not have."""

Floats = npt.NDArray[np.float64]


class Turn(NamedTuple):
    """A turn as it is asked; `of` names the held-out question that it is, `keeps` whether its topic is the
    last turn's."""

    query: Query
    of: str
    keeps: bool


Conversation = list[Turn]


def conversations(
    questions: Sequence[Query], n: int, n_turns: int, *, stay: float, short: bool
) -> list[Conversation]:
    """Conversations of equally many turns; the same numbers give the same ones, whether short or not."""
    rng = random.Random(0)
    topics: dict[tuple[str, ...], list[Query]] = {}
    for question in questions:
        topics.setdefault(question.skills, []).append(question)
    return [_conversation(topics, n_turns, rng, stay=stay, short=short) for _ in range(n)]


def _conversation(
    topics: Mapping[tuple[str, ...], list[Query]],
    n_turns: int,
    rng: random.Random,
    *,
    stay: float,
    short: bool,
) -> Conversation:
    turns: Conversation = []
    topic = rng.choice(list(topics))
    said: tuple[Message, ...] = ()
    for number in range(n_turns):
        keeps = number > 0 and rng.random() < stay
        if number and not keeps:
            topic = rng.choice([other for other in topics if other != topic])
        question = rng.choice(topics[topic])
        text = _shortened(question.question) if short and keeps else question.text
        query = Query(id=f"turn-{number}", question=text, context=said, answer_type=AnswerType.TEXT)
        turns.append(Turn(query, question.id, keeps))
        said = (*said, Message(role="user", content=text), Message(role="assistant", content="It is so."))
    return turns


def _shortened(question: str) -> str:
    return f"And {', '.join(NEW.findall(question))}?"


class Bench(NamedTuple):
    """Outcomes of every expert on the held-out questions, and the means to route.

    Attributes:
        right: by question and expert.
        within: a router that stays with a conversation's experts within so much accuracy.
    """

    right: Mapping[str, Mapping[str, bool]]
    reader: SkillReader
    within: Callable[[float], Any]

    def read(self, queries: Sequence[Query]) -> list[RoutingInput]:
        return self.reader.read(queries, [()] * len(queries))


def prepared(app: App) -> Bench:
    """A profiled zoo whose experts have all answered the held-out questions."""
    app.profiling.run(read_questions(ZOO / "profile.jsonl"))
    progress("profiled")
    if EVERYBODY not in {job.job.id for job in app.jobs.jobs(limit=10_000)}:
        asked = AskOptions(model="muster/majority_all", job_id=EVERYBODY)
        app.jobs.submit(read_questions(ZOO / "test.jsonl"), asked)
    app.jobs.run(EVERYBODY)
    progress("asked")
    grader = AnswerGrader()
    right = {
        query.id: {r.expert_id: grader.grade(query, r).outcome == RIGHT for r in responses}
        for query, responses in app.store.responses(EVERYBODY)
    }
    known, parts = app.catalogue.knowledge, SkillParts(app.settings)
    context = RouterContext(
        cards=known.cards,
        profile=known.profile,
        expert_ids=tuple(e.id for e in app.pool.answerers),
        experts=app.pool.by_id,
    )
    reader = SkillReader(parts.annotator(known), parts.matcher(known), parts.embedder)
    return Bench(right, reader, lambda within: make_router("posterior", context._replace(within=within)))


def readings(bench: Bench, talks: Sequence[Conversation]) -> dict[str, Any]:
    """Accuracy of the first choice, by what is read of the earlier turns."""
    turns = [turn for talk in talks for turn in talk]
    router = bench.within(0.0)
    rights = {}
    for name, text in READINGS.items():
        plain = [turn.query.replaced(question=text(turn.query), context=()) for turn in turns]
        decisions = router.recruit(bench.read(plain), rng=random.Random(0))
        rights[name] = _rights(bench, turns, [d.expert_ids[0] for d in decisions])
    return {name: _row(right, rights["last"]) for name, right in rights.items()}


def steady(bench: Bench, talks: Sequence[Conversation]) -> dict[str, Any]:
    """The same where a conversation stays with its experts, by the accuracy that may be lacking."""
    turns = [turn for talk in talks for turn in talk]
    chosen = {within: _walk(bench, talks, within) for within in (-1.0, *WITHIN)}
    anew = _rights(bench, turns, chosen[-1.0])
    rows = {}
    for within, experts in chosen.items():
        row = _row(_rights(bench, turns, experts), anew)
        rows["anew" if within < 0 else str(within)] = row | _switches(talks, experts)
    return rows


def _walk(bench: Bench, talks: Sequence[Conversation], within: float) -> list[str]:
    """First choices, talk by talk; `within` < 0 = no turn looks at the last one."""
    router = bench.within(max(within, 0.0))
    columns: list[list[str]] = []
    kept: list[tuple[str, ...]] = [()] * len(talks)
    for number in range(len(talks[0])):
        items = bench.read([talk[number].query for talk in talks])
        if within >= 0:
            items = [item._replace(kept=ids) for item, ids in zip(items, kept, strict=True)]
        decisions = router.recruit(items, rng=random.Random(0))
        kept = [decision.expert_ids for decision in decisions]
        columns.append([decision.expert_ids[0] for decision in decisions])
    return [expert_id for talk in zip(*columns, strict=True) for expert_id in talk]


def _switches(talks: Sequence[Conversation], experts: Sequence[str]) -> dict[str, float]:
    n_turns = len(talks[0])
    moved: dict[bool, list[bool]] = {True: [], False: []}
    for i, talk in enumerate(talks):
        row = experts[i * n_turns : (i + 1) * n_turns]
        for before, now, turn in zip(row, row[1:], talk[1:], strict=False):
            moved[turn.keeps].append(before != now)
    return {
        "switches_in_topic": round(float(np.mean(moved[True])), 4),
        "switches_with_topic": round(float(np.mean(moved[False])), 4),
    }


def _rights(bench: Bench, turns: Sequence[Turn], experts: Sequence[str]) -> Floats:
    found = [bench.right[turn.of][expert_id] for turn, expert_id in zip(turns, experts, strict=True)]
    return np.array(found, dtype=np.float64)


def _row(right: Floats, other: Floats) -> dict[str, Any]:
    gain = bootstrap_mean(right - other)
    told = {"difference": round(gain.value, 4), "ci95": [round(gain.low, 4), round(gain.high, 4)]}
    return {"accuracy": round(float(right.mean()), 4), **told}


def _all(query: Query) -> str:
    """The beginning of all that was said before, the latest first."""
    earlier = [message.content for message in query.context if message.role == "user"]
    return f"{query.text}\n{chr(10).join(reversed(earlier))[:EARLIER_CHARS]}"


READINGS: Mapping[str, Callable[[Query], str]] = {
    "last": lambda query: query.text,
    "all": _all,
    **{f"leaning_{n}": partial(text_read, shorter_than=n) for n in (16, 24, 32, 40)},
}


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--conversations", type=int, default=400)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--stay", type=float, default=0.8)
    parser.add_argument("--data", type=Path, help="keeps the database")
    given = parser.parse_args()
    questions = read_questions(ZOO / "test.jsonl")
    with tempfile.TemporaryDirectory() as fresh:
        folder = given.data or Path(fresh)
        with open_app(load_settings(write_pool(folder, {}))) as app:
            bench = prepared(app)
        report: dict[str, Any] = {"leaning_chars": LEANING_CHARS, "readings": {}, "steady": {}}
        for kind in ("whole", "short"):
            talks = conversations(
                questions, given.conversations, given.turns, stay=given.stay, short=kind == "short"
            )
            report["readings"][kind] = readings(bench, talks)
            report["steady"][kind] = steady(bench, talks)
            progress(f"{kind}: {report['readings'][kind]}")
    finish(report)


if __name__ == "__main__":
    main()
