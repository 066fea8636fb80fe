"""Question sets as JSON lines: read with the line number of what is wrong, never skipping a line.

Two kinds of line are accepted: our own (`{"id", "question", "options"?, ...}`) and the batch line of
OpenAI's API (`{"custom_id", "method", "url", "body": {...}}`). A `BodyReader` makes a query of either.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, NoReturn, Protocol

from pydantic import JsonValue

from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, LimitError, SkillError
from orchestrator.questions.chats import conversation, parse_messages
from orchestrator.questions.fields import ON_THE_BOOKS, check_id, parse_query
from orchestrator.questions.file_forms import NotQuestionsError, refuse_other_forms
from orchestrator.questions.json_checks import RepeatedKeyError, first_flaw, unique_keys
from orchestrator.runtime.files import open_readable

MAX_LINE_BYTES = 1_000_000
MAX_LINES = 50_000
MAX_BLANK_LINES = 1_000_000
MAX_REPORTED = 100
MAX_SPOOL_BYTES = 200_000_000
STANDARD = "-"
"""Stands for standard input, and as an output for standard output."""
STANDARD_INPUT = "standard input"

CHAT_ENDPOINT = "/v1/chat/completions"
"""Endpoint of a line of OpenAI's form that names none."""
OWN_FORM = ""
"""Stands for the endpoint of lines of our own form."""

BodyReader = Callable[[str, dict[str, object]], dict[str, object]]
"""Endpoint and `body` of an OpenAI line to fields of a query; of `OWN_FORM`, a whole line. Raises InputError
saying what is wrong with it."""


ReferenceCheck = Callable[[Query], None]
"""Takes a query that has a reference answer. Raises SkillError saying why that cannot be read."""


class Readable(Protocol):
    """Source of lines."""

    def readline(self, limit: int, /) -> bytes:
        """The next line, with its end; cut after `limit` bytes, b"" at the end of the source."""


class Source(NamedTuple):
    """A question set that may be read more than once.

    Attributes:
        path: where its bytes are.
        name: what messages call it.
        n_spooled: bytes that were kept from a pipe; None = a file of its own.
    """

    path: Path
    name: str
    n_spooled: int | None = None


class Checked(NamedTuple):
    """Findings of one reading of a question set.

    Attributes:
        digest: SHA-256 of its bytes.
    """

    n: int
    digest: str


class LineError(NamedTuple):
    """A bad line. `param`: the field at fault; None = the line as a whole."""

    line: int
    message: str
    code: str = InputError.code
    param: str | None = None


class BadLineError(InputError):
    """A line that is no JSON object."""

    code = "invalid_json_line"


class LongLineError(LimitError):
    """A line that is longer than any may be: nothing after it is read."""

    def __init__(self, name: str, line: int) -> None:
        super().__init__(f"{name}: line {line} is longer than {MAX_LINE_BYTES} bytes.")
        self.line = line


class QuestionFileError(InputError):
    """A file with bad lines; `errors` holds the first hundred, the message the first five."""

    code = "invalid_jsonl"

    def __init__(self, path: str, errors: list[LineError]) -> None:
        shown = "; ".join(f"line {e.line}: {e.message}" for e in errors[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(f"{path}: {shown}{more}.", remedy="Nothing was run; mend the file and try again.")
        self.errors = errors


def read_questions(
    path: Path, *, max_lines: int = MAX_LINES, check: ReferenceCheck | None = None
) -> list[Query]:
    """All queries of a file or pipe (`-` = standard input), in order, in one reading.

    Args:
        check: of reference answers, for who grades by them.

    Raises:
        InputError: as `check_questions`.
    """
    name = STANDARD_INPUT if str(path) == STANDARD else str(path)
    with opened(path, name) as file:
        return list(parse_questions(file, name, max_lines=max_lines, check=check))


def check_questions(
    source: Path | Source, *, max_lines: int = MAX_LINES, read_body: BodyReader | None = None
) -> Checked:
    """Read a whole file once, in constant memory but for the ids.

    Raises:
        QuestionFileError: bad lines, with their numbers.
        LimitError: more lines than allowed, or a line that is too long.
        InputError: unreadable, empty, or not JSON lines at all.
    """
    path, name, _ = _source(source)
    with opened(path, name) as file:
        return check_lines(file, name, max_lines=max_lines, read_body=read_body)


def check_lines(
    file: Readable, name: str, *, max_lines: int = MAX_LINES, read_body: BodyReader | None = None
) -> Checked:
    """`check_questions` of an open file, which messages call `name`."""
    hashed = _Hashed(file)
    n = sum(1 for _ in parse_questions(hashed, name, max_lines=max_lines, read_body=read_body))
    return Checked(n, hashed.digest.hexdigest())


@contextmanager
def spooled(path: Path, *, max_bytes: int = MAX_SPOOL_BYTES) -> Iterator[Source]:
    """A file as it is; what can be read only once (standard input, a pipe) from a copy that ends with this.

    Raises:
        LimitError: more than `max_bytes` come out of the pipe.
        InputError: it cannot be read.
    """
    name = STANDARD_INPUT if str(path) in (STANDARD, "/dev/stdin") else str(path)
    if str(path) != STANDARD and (path.is_file() or not path.exists()):
        yield Source(path, name)
        return
    with tempfile.NamedTemporaryFile(prefix="muster-", suffix=".jsonl") as copy:
        n_bytes = 0
        with opened(path, name) as pipe:
            while chunk := pipe.read(1 << 20):
                n_bytes += len(chunk)
                if n_bytes > max_bytes:
                    raise LimitError(
                        f"{name} holds more than {max_bytes} bytes.", remedy="Split it, or give a file."
                    )
                copy.write(chunk)
        copy.flush()
        yield Source(Path(copy.name), name, n_bytes)


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A file, or standard input for `-`, which messages call `name`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if str(path) == STANDARD:
            if sys.stdin is None:
                raise InputError("standard input is closed.", remedy="Give a file.")
            yield sys.stdin.buffer
        else:
            with open_readable(path) as file:
                yield file
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}.") from error


def _source(source: Path | Source) -> Source:
    return source if isinstance(source, Source) else Source(source, str(source))


class _Hashed:
    """Lines of a file, hashed as they are read."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readline(self, limit: int, /) -> bytes:
        line = self._file.readline(limit)
        self.digest.update(line)
        return line


def parse_questions(
    file: Readable,
    name: str,
    *,
    max_lines: int = MAX_LINES,
    read_body: BodyReader | None = None,
    check: ReferenceCheck | None = None,
) -> Iterator[Query]:
    """The queries of an open file, checked as they are read: for who can take back what was yielded.

    Args:
        name: what messages call the file.
        check: of reference answers; a line whose answer it refuses is a bad line.

    Raises:
        InputError: as `check_questions`, after the last good line or as soon as it is certain.
    """
    lines = _scan_lines(file, name, read_body)
    found = lines if check is None else ((number, _graded_by(item, number, check)) for number, item in lines)
    return _checked(found, name, max_lines=max_lines)


def _graded_by(item: Query | LineError, number: int, check: ReferenceCheck) -> Query | LineError:
    """A query whose reference answer can be read, or what is wrong with it."""
    if isinstance(item, LineError) or item.answer is None:
        return item
    try:
        check(item)
    except SkillError as error:
        return LineError(number, str(error).rstrip("."), param="answer")
    return item


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
            errors.append(_repeated(number, item, first=seen[item.id]))
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


def _repeated(number: int, query: Query, *, first: int) -> LineError:
    field = "custom_id" if query.endpoint else "id"
    message = f"{field} '{query.id}' stands on line {first} already"
    return LineError(number, message, "duplicate_custom_id", field)


def iter_questions(source: Path | Source, *, read_body: BodyReader | None = None) -> Iterator[Query]:
    """The queries of a file that was checked before, streamed."""
    path, name, _ = _source(source)
    with opened(path, name) as file:
        yield from iter_lines(file, name, read_body=read_body)


def iter_lines(file: Readable, name: str, *, read_body: BodyReader | None = None) -> Iterator[Query]:
    """`iter_questions` of an open file, which messages call `name`.

    Raises:
        QuestionFileError: at the first wrong line.
    """
    for _, item in _scan_lines(file, name, read_body):
        if isinstance(item, LineError):
            raise QuestionFileError(name, [item])
        yield item


def _scan_lines(
    file: Readable, name: str, read_body: BodyReader | None
) -> Iterator[tuple[int, Query | LineError]]:
    for number, raw in numbered_lines(file, name):
        try:
            yield number, parse_line(raw, number, read_body=read_body)
        except InputError as error:
            yield number, LineError(number, str(error).rstrip("."), error.code, error.param)


def numbered_lines(file: Readable, name: str) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their 1-based numbers; a line without end is not read into memory.

    Raises:
        LimitError: a line longer than a million bytes, or more than a million blank ones.
        NotQuestionsError: another format than JSON lines.
    """
    number = n_blank = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise LongLineError(name, number)
        if number == 1:
            refuse_other_forms(raw, name)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.strip():
            yield number, raw
            continue
        n_blank += 1
        if n_blank > MAX_BLANK_LINES:
            raise LimitError(f"{name}: more than {MAX_BLANK_LINES:,} blank lines.")


def parse_line(raw: bytes, number: int, *, read_body: BodyReader | None = None) -> Query:
    """One line to a query; without `id`, the line number is its id.

    Args:
        read_body: None takes the messages of chats and nothing else.

    Raises:
        InputError: saying what is wrong with the line.
    """
    data = parse_object(raw)
    read = read_body or _messages_only
    if "custom_id" in data or "body" in data:
        data = _from_openai(data, read)
    else:
        for field in sorted(ON_THE_BOOKS & data.keys()):
            raise InputError(f"{field}: unknown field", param=field)
        data = read(OWN_FORM, data)
    given = data.setdefault("id", f"line-{number}")
    if isinstance(given, str):
        check_id(given, "id")
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
        raise BadLineError(f"is {_json_kind(data)}, not an object")
    flaw = first_flaw(data)
    if flaw is not None:
        raise InputError(f"{flaw.place}: {flaw.text}" if flaw.place else flaw.text, param=flaw.place)
    return {**data}


def _parse_json(raw: bytes) -> JsonValue:
    try:
        document: JsonValue = json.loads(
            raw.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_refuse_constant
        )
        return document
    except UnicodeDecodeError:
        raise BadLineError("is not UTF-8 text") from None
    except RecursionError:
        raise BadLineError("is nested too deeply") from None
    except RepeatedKeyError as error:
        raise BadLineError(str(error), param=error.key) from None
    except ValueError as error:
        reason = _what_is_wrong(error) if isinstance(error, json.JSONDecodeError) else str(error)
        if "integer string conversion" in reason:
            reason = "a number with too many digits"
        raise BadLineError(f"is not JSON ({reason})") from None


def _what_is_wrong(error: json.JSONDecodeError) -> str:
    if error.msg != "Extra data":
        return error.msg
    if not error.doc[error.pos :].startswith("{"):
        return "more follows on the same line"
    return "another object follows on the same line; curl keeps lines apart with --data-binary, not with -d"


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
    url = data.get("url", CHAT_ENDPOINT)
    if not isinstance(url, str) or url == OWN_FORM:
        raise InputError("url must be a path", param="url")
    body, custom_id = data.get("body"), data.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise InputError("custom_id must be a non-empty string", param="custom_id")
    check_id(custom_id, "custom_id")
    if not isinstance(body, dict):
        raise InputError("body must be an object", param="body")
    if body.get("stream"):
        raise InputError("body.stream: a batch is not streamed; leave it out", param="body.stream")
    return {**read_body(url, body), "endpoint": url, "id": custom_id}


def refuse_endpoint(endpoint: str, known: Iterable[str]) -> NoReturn:
    """Refuse the endpoint that a line names.

    Raises:
        InputError: naming those that lines may have.
    """
    raise InputError(f"url must be {' or '.join(known)}, not '{endpoint[:80]}'", param="url")


def _messages_only(endpoint: str, body: dict[str, object]) -> dict[str, object]:
    if endpoint == OWN_FORM:
        return body
    if endpoint != CHAT_ENDPOINT:
        refuse_endpoint(endpoint, [CHAT_ENDPOINT])
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise InputError("body.messages must be a list of messages", param="body.messages")
    return conversation(parse_messages(messages))
