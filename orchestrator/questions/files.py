"""Question sets as JSON lines: read with the line number of what is wrong, never skipping a line.

Two kinds of line are accepted: our own (`{"id", "question", "options"?, ...}`) and the batch line of
OpenAI's API (`{"custom_id", "method", "url", "body": {"messages": [...]}}`), of which a `BodyReader`
takes what it needs.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, LimitError
from orchestrator.questions.chats import conversation, parse_messages
from orchestrator.questions.fields import parse_query

MAX_LINE_BYTES = 1_000_000
MAX_LINES = 50_000
MAX_REPORTED = 100

BodyReader = Callable[[dict[str, object]], dict[str, object]]
"""The `body` of an OpenAI line to fields of a query; raises InputError saying what is wrong with it."""


class LineError(NamedTuple):
    line: int
    message: str


class NotQuestionsError(InputError):
    """A file that is no question set at all: empty, binary, or JSON of another shape."""

    code = "invalid_jsonl"


class QuestionFileError(InputError):
    """A file with bad lines; `errors` holds the first hundred, the message the first five."""

    code = "invalid_jsonl"

    def __init__(self, path: str, errors: list[LineError]) -> None:
        shown = "; ".join(f"line {e.line}: {e.message}" for e in errors[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(f"{path}: {shown}{more}.", remedy="Nothing was run; mend the file and try again.")
        self.errors = errors


def read_questions(path: Path, *, max_lines: int = MAX_LINES) -> list[Query]:
    """All queries of a file, in order; raises as `check_questions`."""
    check_questions(path, max_lines=max_lines)
    return list(iter_questions(path))


def check_questions(path: Path, *, max_lines: int = MAX_LINES, read_body: BodyReader | None = None) -> int:
    """Read the whole file once, in constant memory but for the ids; returns the number of queries.

    Raises:
        QuestionFileError: bad lines, with their numbers.
        LimitError: more lines than allowed, or a line that is too long.
        InputError: unreadable, empty, or not JSON lines at all.
    """
    return sum(1 for _ in _checked(_scan(path, read_body), str(path), max_lines=max_lines))


def parse_questions(
    file: IO[bytes], name: str, *, max_lines: int = MAX_LINES, read_body: BodyReader | None = None
) -> Iterator[Query]:
    """The queries of an open file, checked as they are read: for who can take back what was yielded.

    Args:
        name: what messages call the file.

    Raises:
        InputError: as `check_questions`, after the last good line or as soon as it is certain.
    """
    return _checked(_scan_lines(file, name, read_body), name, max_lines=max_lines)


def _checked(items: Iterable[tuple[int, Query | LineError]], name: str, *, max_lines: int) -> Iterator[Query]:
    """Yields until the first bad line; then only looks for more of them, to report them together."""
    errors: list[LineError] = []
    seen: dict[str, int] = {}
    count = 0
    for number, item in items:
        count += 1
        if count > max_lines:
            raise LimitError(f"{name} has more than {max_lines} lines.", remedy="Split the file.")
        if isinstance(item, LineError):
            errors.append(item)
        elif item.id in seen:
            errors.append(LineError(number, f"id '{item.id}' stands on line {seen[item.id]} already"))
        else:
            seen[item.id] = number
            if not errors:
                yield item
        if len(errors) >= MAX_REPORTED:
            break
    if errors:
        raise QuestionFileError(name, errors)
    if not count:
        raise NotQuestionsError(f"{name} holds no questions.", remedy="Write one JSON object per line.")


def iter_questions(path: Path, *, read_body: BodyReader | None = None) -> Iterator[Query]:
    """The queries of a file that was checked before, streamed."""
    for _, item in _scan(path, read_body):
        if isinstance(item, LineError):
            raise QuestionFileError(str(path), [item])
        yield item


def _scan(path: Path, read_body: BodyReader | None) -> Iterator[tuple[int, Query | LineError]]:
    try:
        with path.open("rb") as file:
            yield from _scan_lines(file, str(path), read_body)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error


def _scan_lines(
    file: IO[bytes], name: str, read_body: BodyReader | None
) -> Iterator[tuple[int, Query | LineError]]:
    for number, raw in numbered_lines(file, name):
        try:
            yield number, parse_line(raw, number, read_body=read_body)
        except InputError as error:
            yield number, LineError(number, str(error).rstrip("."))


def numbered_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their 1-based numbers; a line without end is not read into memory.

    Raises:
        LimitError: a line longer than a million bytes.
        NotQuestionsError: another format than JSON lines.
    """
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise LimitError(f"{name}: line {number} is longer than {MAX_LINE_BYTES} bytes.")
        if number == 1:
            _refuse_other_formats(raw, name)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.strip():
            yield number, raw


def _refuse_other_formats(head: bytes, name: str) -> None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotQuestionsError(f"{name} is UTF-16.", remedy="Save it as UTF-8.")
    if head[:4] in (b"PK\x03\x04", b"PAR1") or head[:2] == b"\x1f\x8b":
        raise NotQuestionsError(f"{name} is a binary or compressed file.", remedy="Give plain JSON lines.")
    start = head.removeprefix(b"\xef\xbb\xbf").strip()
    if start.startswith(b"["):
        raise NotQuestionsError(f"{name} is a JSON array.", remedy="Write one JSON object per line (JSONL).")
    if start == b"{":
        raise NotQuestionsError(
            f"{name} is pretty-printed JSON.", remedy="Write each object on a single line (JSONL)."
        )


def parse_line(raw: bytes, number: int, *, read_body: BodyReader | None = None) -> Query:
    """One line to a query; without `id`, the line number is its id.

    Args:
        read_body: None takes the messages and nothing else.

    Raises:
        InputError: saying what is wrong with the line.
    """
    data = parse_object(raw)
    if "custom_id" in data or "body" in data:
        data = _from_openai(data, read_body or _messages_only)
    data.setdefault("id", f"line-{number}")
    if data.get("options") and "answer_type" not in data:
        data["answer_type"] = "choice"
    return parse_query(data)


def parse_object(raw: bytes) -> dict[str, object]:
    """The JSON object of one line.

    Raises:
        InputError: saying what is wrong with the line.
    """
    data = _parse_json(raw)
    if not isinstance(data, dict):
        raise InputError(f"is {_json_kind(data)}, not an object")
    return data


def _parse_json(raw: bytes) -> object:
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text") from None
    except RecursionError:
        raise InputError("is nested too deeply") from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"is not JSON ({reason})") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _json_kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _from_openai(data: dict[str, object], read_body: BodyReader) -> dict[str, object]:
    unknown = set(data) - {"custom_id", "method", "url", "body"}
    if unknown:
        raise InputError(f"unknown field '{sorted(unknown)[0]}' in a batch line", param=sorted(unknown)[0])
    if data.get("method") not in (None, "POST"):
        raise InputError("method must be POST", param="method")
    if data.get("url") not in (None, "/v1/chat/completions"):
        raise InputError("url must be /v1/chat/completions", param="url")
    custom_id, body = data.get("custom_id"), data.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise InputError("custom_id must be a non-empty string", param="custom_id")
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise InputError("body.messages must be a list of messages", param="body.messages")
    if body.get("stream"):
        raise InputError("stream is not possible in a batch", param="body.stream")
    return {**read_body(body), "id": custom_id}


def _messages_only(body: dict[str, object]) -> dict[str, object]:
    messages = body["messages"]
    assert isinstance(messages, list), "checked by _from_openai"
    return conversation(parse_messages(messages))
