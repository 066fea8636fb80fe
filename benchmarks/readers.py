"""CPU seconds of every reader of foreign text, around its limit: `python -m benchmarks.readers`.

    reader       what reads; the text that it takes longest for is chosen among hostile ones
    limit_bytes  the largest that it takes
    ms           CPU milliseconds at 1/4, 1/2, 1, 2 and 4 times the limit: least of `--repeat` runs
    worst        largest growth between sizes that are read, per doubling: 2 = linear

What is beyond a limit is refused, and takes next to nothing. A table for docs/results goes to stderr; the
last line of output is one JSON object.
"""

import io
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from aggregators.outputs.verifying.texts import letters, numbers, split_at_statement
from aggregators.outputs.votes import SettledWords
from api.middleware.strict_json import loads
from benchmarks.reporting import finish, option_parser, progress
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.questions.files import MAX_LINE_BYTES, parse_questions
from orchestrator.runtime.files import read_json
from orchestrator.settings.schema import ServerSettings
from orchestrator.settings.yaml_lines import MAX_FILE_BYTES, load_yaml
from skills.grading import code, json_value
from skills.grading.grader import MAX_RESPONSE_CHARS, AnswerGrader
from workers.backends.http.failures import error_details
from workers.backends.http.sse import SseDecoder
from workers.backends.http.wire import StreamReader, read_completion

SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)
BODY_BYTES = ServerSettings().max_body_bytes
RESPONSE_BYTES = 8 << 20
ERROR_BYTES = 65_536
CHUNK = 1_400
LIMITS: Mapping[AnswerType, int] = {AnswerType.CODE: code.MAX_CHARS, AnswerType.JSON: json_value.MAX_CHARS}

Make = Callable[[int], str]
"""A hostile text of about so many bytes."""


class Reader(NamedTuple):
    """What reads foreign text, its limit in bytes, and the texts that it is tried with."""

    limit: int
    read: Callable[[str], object]
    texts: Mapping[str, Make]


def filled(begin: str, pump: str, end: str = "") -> Make:
    return lambda n: begin + pump * max(1, (n - len(begin) - len(end)) // len(pump)) + end


def keyed(end: str) -> Make:
    """An object of many keys."""
    return lambda n: "{" + ",".join(f'"k{i}":1' for i in range(n // 12)) + end


ANSWERS = {
    "blanks": filled("The answer is ", " ", "x"),
    "statements": filled("", "the answer is = "),
    "boxes": filled("", "\\boxed{"),
    "fences": filled("", "```\n"),
    "one fence": filled("```", " \t", "x"),
    "fences of a line": filled("", "```x"),
    "brackets": filled("", "[{"),
    "thoughts": filled("", "<think>a</think>"),
    "letters": filled("", "A is "),
    "digits": filled("answer: ", "1"),
    "numbers": filled("x = ", "1,000 / "),
    "units": filled("answer: 1", "m"),
    "fractions": filled("answer: ", "\\frac{1}{"),
    "lines": filled("", "(B) x\n"),
    "marks": filled("", "**`__"),
}


def graded(kind: AnswerType) -> Reader:
    options = ("red", "blue") if kind is AnswerType.CHOICE else ()
    query = Query(id="q", question="?", answer_type=kind, options=options)
    grader = AnswerGrader()

    def read(text: str) -> object:
        response = Response(
            expert_id="e", role=CallRole.EXPERT, stage=0, text=text, finish_reason=FinishReason.STOP
        )
        return grader.reading(query, response)

    return Reader(LIMITS.get(kind, MAX_RESPONSE_CHARS), read, ANSWERS)


def read_line(text: str) -> object:
    return list(parse_questions(io.BytesIO(text.encode()), "the body"))


def read_stream(text: str) -> object:
    """As it comes from a socket."""
    decoder, raw = SseDecoder(), text.encode()
    reader = StreamReader(prompt_chars=1, on_text=lambda _: None)
    for at in range(0, len(raw), CHUNK):
        for data in decoder.feed(raw[at : at + CHUNK]):
            reader.feed(data)
    return reader.reply()


def read_along(text: str) -> object:
    settle = SettledWords()
    return [settle(text[at : at + 4]) for at in range(0, len(text), 4)]


def read_file(read: Callable[[Path], object]) -> Callable[[str], object]:
    def of_text(text: str) -> object:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            return read(Path(file.name))

    return of_text


def yaml_of(pump: str) -> Make:
    return filled("model_list:\n", pump)


DELTA = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
JSON_TEXTS: Mapping[str, Make] = {
    "keys": keyed("}"),
    "a repeated key": keyed(',"k1":2}'),
    "a long key": lambda n: '{"' + "k" * (n // 2) + '":[' + "1," * (n // 4 - 4) + "1]}",
    "brackets": filled("", "["),
    "digits": filled("[", "1" * 4000 + ",", "1]"),
    "a string": filled('["', "\\u00e9", '"]'),
    "blanks": filled("[", " ", "1]"),
}

READERS: Mapping[str, Reader] = {
    "JSON body": Reader(BODY_BYTES, lambda text: loads(text.encode()), JSON_TEXTS),
    "JSON line": Reader(MAX_LINE_BYTES, read_line, JSON_TEXTS),
    "JSON lines": Reader(
        10 * MAX_LINE_BYTES,
        read_line,
        {"questions": filled("", '{"question": "What is 1 plus 1?"}\n'), "faults": filled("", "{}\n")},
    ),
    "SSE of a server": Reader(
        RESPONSE_BYTES,
        read_stream,
        {
            "words": filled("", DELTA, "data: [DONE]\n\n"),
            "a line without end": filled("data: ", "x"),
            "lines of one event": filled("", "data: x\n"),
            "empty lines": filled("", "\n"),
        },
    ),
    "completion of a server": Reader(
        RESPONSE_BYTES,
        lambda text: read_completion(text.encode(), prompt_chars=1),
        {"choices": filled('{"choices":[', '{"message":1},', "{}]}"), **JSON_TEXTS},
    ),
    "error of a server": Reader(ERROR_BYTES, lambda text: error_details(text.encode()), JSON_TEXTS),
    "words read along": Reader(
        MAX_RESPONSE_CHARS,
        read_along,
        {
            "blanks": filled("a", " "),
            "tags": filled("", "<think>a</think>b"),
            "begun tags": filled("", "<th"),
            "a thought": filled("<think>", "a"),
        },
    ),
    **{f"answer: {kind.value}": graded(kind) for kind in AnswerType},
    "evidence of a text": Reader(
        MAX_RESPONSE_CHARS,
        lambda text: (numbers(text), letters(text), split_at_statement(text)),
        ANSWERS,
    ),
    "pool file": Reader(
        MAX_FILE_BYTES,
        read_file(load_yaml),
        {
            "members": yaml_of("  - {model_name: a, litellm_params: {model: b}}\n"),
            "merges": yaml_of("  - {<<: {a: 1}, b: 2}\n"),
            "one sexagesimal number": filled("a: 1", ":1"),
            "brackets": filled("a: ", "["),
            "a plain text": filled("a: ", "x y "),
        },
    ),
    "configuration of a model": Reader(16 << 20, read_file(read_json), JSON_TEXTS),
}


def cpu_s(read: Callable[[str], object], text: str, *, repeat: int) -> float:
    """Least of several runs; what is refused counts as read."""
    taken = []
    for _ in range(repeat):
        began = time.process_time()
        with suppress(Exception):
            read(text)
        taken.append(time.process_time() - began)
    return min(taken)


def slowest(reader: Reader, *, scale: float) -> str:
    """The name of the text that a quarter of the limit takes longest for."""
    n = int(reader.limit * scale / 4)
    return max(reader.texts, key=lambda name: cpu_s(reader.read, reader.texts[name](n), repeat=1))


def measured(name: str, reader: Reader, *, repeat: int, scale: float) -> dict[str, object]:
    text = slowest(reader, scale=scale)
    ms = [
        1000 * cpu_s(reader.read, reader.texts[text](int(reader.limit * size * scale)), repeat=repeat)
        for size in SIZES
    ]
    read = [max(one, 1.0) for one in ms[:3]]  # below a millisecond nothing grows
    worst = max(b / a for a, b in pairwise(read))
    cells = " | ".join(f"{one:.1f}" for one in ms)
    progress(f"| {name} | {text} | {reader.limit:,} | {cells} | {worst:.1f} |")
    return {
        "reader": name,
        "text": text,
        "limit_bytes": reader.limit,
        "ms": [round(one, 2) for one in ms],
        "worst": round(worst, 2),
    }


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of all limits")
    options = parser.parse_args()
    progress("| reader | text | limit, bytes | 1/4 | 1/2 | 1 | 2 | 4 | growth per doubling |")
    progress("|---|---|---|---|---|---|---|---|---|")
    rows = [measured(n, r, repeat=options.repeat, scale=options.scale) for n, r in READERS.items()]
    worst = max(rows, key=lambda row: float(str(row["worst"])))
    finish({"sizes": SIZES, "worst": worst["worst"], "worst_reader": worst["reader"], "readers": rows})


if __name__ == "__main__":
    main()
