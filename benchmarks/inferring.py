"""Types of questions that say none: how often they are inferred, and how rightly.

    python -m benchmarks.inferring [--embedder minilm|hash] [--profile FILE] [--exact FILE] [--open FILE]

The profile is the zoo's unless a file is named; `--exact` (default: the zoo's held-out questions) holds
questions with a type, asked without it and without options, `--open` further requests without an exact
answer. The built-in lists were written after the built-in prose: `SUMS` are worded otherwise than the zoo's,
`PROSE` has no exact answer, and `TOPICAL` neither, but is about what the zoo's questions are about.

    exact: n, inferred (share that is given an exact type), right (share of these that have it)
    sums: the same, and missed: those that are open
    prose, topical, open: n, inferred (share that is given an exact type: too many), and these types

The last line of output is one JSON object.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.outputs import ZOO
from benchmarks.reporting import finish, option_parser, progress
from orchestrator.compositions.nearest import NearestTypes
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.ports.skills import Embedder
from orchestrator.questions.files import read_questions
from orchestrator.questions.prose import PROSE as KNOWN_PROSE
from skills.embedding import embedder_of

SUMS = (
    "What is 63 plus 58?",
    "What is 12 % of 1,450?",
    "How much is 9 times 17?",
    "Subtract 48 from 200.",
    "What is half of 378?",
    "A box holds 24 bottles. How many bottles are in 15 boxes?",
    "Lena has 50 euros and buys three books for 12 euros each. How much is left?",
    "How many minutes are there in three and a half hours?",
    "A cyclist rides 18 km in one hour. How far does she get in 4 hours at the same speed?",
    "A class has 28 pupils, and a quarter of them are absent. How many are present?",
    "What is 7 squared plus 1?",
    "If 8 metres of rope cost 20 dollars, what do 14 metres cost?",
    "How many centimetres are 3.2 metres?",
    "The sum of two numbers is 90 and one of them is 37. What is the other?",
    "A film starts at 20:15 and lasts 105 minutes. At what hour, in minutes after 20:00, does it end?",
    "A farmer plants 6 rows of 45 carrots and loses 30 of them. How many are left?",
    "What is the average of 4, 9 and 14?",
    "Divide 945 by 7.",
    "A phone costs 320 euros after a discount of 20 percent. What was its price before?",
    "How many legs do 9 cows and 6 hens have together?",
)
PROSE = (
    "Write a bedtime story about a mouse who wants to fly.",
    "What makes a good leader?",
    "Explain how a bicycle stays upright.",
    "Give me three dinner ideas for a hot day.",
    "How should I tell my friend that I cannot come to her wedding?",
    "Compose a thank-you note to a teacher.",
    "Which sights should I not miss in Vienna?",
    "Why do cats purr?",
    "Write a short speech in favour of public libraries.",
    "Help me to understand what a mortgage is.",
    "Describe a storm at sea in a few sentences.",
    "What are the advantages of learning two languages as a child?",
    "Suggest a plot for a detective story in a small village.",
    "How do I remove red wine from a carpet?",
    "Summarise the idea behind the theory of evolution.",
    "Give advice to somebody who moves to a new city alone.",
    "Write a dialogue between a tourist and a waiter.",
    "What is the difference between jam and marmalade?",
    "Draft an announcement that our office closes early on Friday.",
    "Tell me about the culture of Japan.",
    "How can a team get better at giving feedback?",
    "Write song lyrics about the last day of summer.",
    "Explain to a beginner how to read a weather map.",
    "Should children have mobile phones? Discuss.",
    "Recommend exercises against back pain.",
    "What would a world without money look like?",
    "Correct my text and explain the mistakes: Yesterday I go to school by feet.",
    "Prepare a list of questions for a customer survey.",
    "How does a computer virus spread?",
    "Write a motivational message for runners before a race.",
    "Paint a picture in words of a market in the morning.",
    "What is the role of a mayor?",
    "Explain why bread rises.",
    "Invent a new holiday and describe how it is celebrated.",
    "How do I get over stage fright?",
    "Describe how to change a tyre.",
    "Write a formal invitation to a garden party.",
    "What do critics say about social media?",
    "Give me a summary of the story of Odysseus.",
    "How can I make my balcony friendly to bees?",
)
TOPICAL = (
    "What are Roman numerals and where are they still used?",
    "How does binary code work, and why do computers use it?",
    "Describe the metric system and why some countries do not use it.",
    "Why is the ISO date format useful?",
    "What does a phone keypad have to do with letters?",
    "Explain bitwise operations to a beginner.",
    "How can I round numbers in a spreadsheet, and when should I?",
    "How do I teach a child to subtract?",
    "Write a rhyme about addition.",
    "What is the history of the alphabet?",
    "Give me tips for sorting my books.",
    "Why do people write in capital letters when they are angry?",
    "What are palindromes and why are they fun?",
    "Compare hexadecimal and binary notation in plain words.",
    "Write a story in which a date is misread.",
    "Why are there 100 cents in a euro? Tell me its history.",
)


def nearest(queries: Sequence[Query], embedder: Embedder) -> NearestTypes:
    """What questions are compared with, as of a pool that was profiled on these queries."""
    kept = [query for query in queries if query.answer_type is not AnswerType.CHOICE]
    vectors = embedder.encode([query.text for query in kept])
    return NearestTypes(vectors, [query.answer_type for query in kept], embedder.encode(KNOWN_PROSE))


def inferred(of: NearestTypes, embedder: Embedder, texts: Sequence[str]) -> list[AnswerType]:
    return [inference.answer_type for inference in of.infer(embedder.encode(texts))]


def share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / max(len(flags), 1), 4)


def exact_report(found: Sequence[AnswerType], types: Sequence[AnswerType]) -> dict[str, object]:
    pairs = [(said, real) for said, real in zip(found, types, strict=True) if not said.is_graded]
    return {
        "n": len(found),
        "inferred": share([not answer_type.is_graded for answer_type in found]),
        "right": share([said is real for said, real in pairs]),
    }


def open_report(found: Sequence[AnswerType]) -> dict[str, object]:
    exact = [answer_type for answer_type in found if not answer_type.is_graded]
    return {"n": len(found), "inferred": round(len(exact) / max(len(found), 1), 4), "types": Counter(exact)}


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--profile", type=Path, default=ZOO / "profile.jsonl")
    parser.add_argument("--exact", type=Path, default=ZOO / "test.jsonl")
    parser.add_argument("--open", type=Path, default=None)
    options = parser.parse_args()
    embedder = embedder_of(options.embedder)
    progress(f"embedding {options.profile.name}, {options.exact.name}")
    of = nearest(read_questions(options.profile), embedder)
    exact = [query for query in read_questions(options.exact) if query.answer_type is not AnswerType.CHOICE]
    found = inferred(of, embedder, [query.question for query in exact])
    of_sums = inferred(of, embedder, SUMS)
    report = {
        "embedder": options.embedder,
        "exact": exact_report(found, [query.answer_type for query in exact]),
        "sums": {
            **exact_report(of_sums, [AnswerType.NUMBER] * len(SUMS)),
            "missed": [text for text, said in zip(SUMS, of_sums, strict=True) if said.is_graded],
        },
        "prose": open_report(inferred(of, embedder, PROSE)),
        "topical": open_report(inferred(of, embedder, TOPICAL)),
    }
    if options.open is not None:
        questions = [json.loads(line)["question"] for line in options.open.read_text().splitlines()]
        report["open"] = open_report(inferred(of, embedder, questions))
    finish(report)


if __name__ == "__main__":
    main()
