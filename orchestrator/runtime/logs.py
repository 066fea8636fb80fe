"""Logs that cannot be forged and show no secret: whatever a record says, it is one printable line.

A path, a header, an expert's text or an error's message may hold line breaks, escape codes of terminals, or
marks that turn the direction of writing. All processes of Muster write their records through this module.
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO, cast

from orchestrator.redaction import redact
from orchestrator.runtime.context import bound_now

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LogFormat = Literal["console", "json"]
FORMAT_VARIABLE = "_MUSTER_LOG_FORMAT"
"""Environment variable that tells processes that this one starts how to write their records."""
_INDENT = "    "
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories: controls, formats (bidi, zero width), surrogates, private use, separators of lines."""


class SafeStream:
    """A stream whose texts are redacted: for what libraries write past logging, such as their tracebacks.

    Attributes:
        inner: where the texts go.
        written_at: when the last one came, by the monotonic clock; 0 = none has.
    """

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner
        self.written_at = 0.0

    def write(self, text: str) -> int:
        """Write the redacted text; returns the length of the text as it was given."""
        self.written_at = time.monotonic()
        self.inner.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the texts, each redacted by itself."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@contextmanager
def safe_stderr() -> Iterator[None]:
    """Redact all that is written to stderr inside, by whomever, also in processes that are forked there."""
    before = sys.stderr
    if before is not None:  # it may be closed from the start
        sys.stderr = cast(TextIO, SafeStream(before))
    try:
        yield
    finally:
        sys.stderr = before


def setup_logs(*, level: int, form: str = FORMAT) -> None:
    """Records of this process go to stderr, unless whoever runs it has set logging up already.

    Args:
        level: of `logging`: records below it are not written.
        form: of a line for people; programs get JSON where the environment says so.
    """
    # Records are redacted by their form already.
    handler = logging.StreamHandler(sys.stderr.inner if isinstance(sys.stderr, SafeStream) else sys.stderr)
    is_json = form is FORMAT and os.environ.get(FORMAT_VARIABLE) == "json"
    handler.setFormatter(JsonLine() if is_json else OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = _write_uncaught
    threading.excepthook = _log_uncaught


def write_logs_as(form: LogFormat) -> None:
    """From now on records are lines for people, or JSON objects; so are those of processes that this one
    starts."""
    os.environ[FORMAT_VARIABLE] = form
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, OneLine):
            handler.setFormatter(JsonLine() if form == "json" else OneLine(FORMAT))


def safe_traceback(error: BaseException) -> str:
    """The traceback of an error without secrets, for people."""
    return redact("".join(traceback.format_exception(error)))


class OneLine(logging.Formatter):
    """A record as one line. A stack trace follows, each of its lines indented: none looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, redacted and escaped; see the class."""
        record.message = redact(record.getMessage())
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        return "\n".join([escaped(self.formatMessage(record) + _ids()), *self._traces(record)])

    def _traces(self, record: logging.LogRecord) -> list[str]:
        """Not `exc_text`: another handler may have left it there as it is."""
        texts = [
            self.formatException(record.exc_info) if record.exc_info else record.exc_text,
            self.formatStack(record.stack_info) if record.stack_info else None,
        ]
        return [f"{_INDENT}{escaped(line)}" for text in texts if text for line in redact(text).split("\n")]


class JsonLine(OneLine):
    """A record as one JSON object on a line, its stack trace in it; all but plain ASCII is escaped.

    `time` is UTC; the ids of what was done when the record was written stand beside its message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record, redacted; see the class."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **{name: redact(value) for name, value in bound_now().ids.items()},
        }
        if traces := self._traces(record):
            said["error"] = "\n".join(line.removeprefix(_INDENT) for line in traces)
        return json.dumps(said)


def _ids() -> str:
    """` [request=req_1 job=ask-2]`; nothing where nothing is bound."""
    ids = bound_now().ids
    return redact(f" [{' '.join(f'{name}={value}' for name, value in ids.items())}]") if ids else ""


def _write_uncaught(
    kind: type[BaseException],  # noqa: ARG001 -- the hook's form
    error: BaseException,
    trace: TracebackType | None,  # noqa: ARG001
) -> None:
    if sys.stderr is not None:
        sys.stderr.write(safe_traceback(error))


def _log_uncaught(arguments: threading.ExceptHookArgs) -> None:
    """Of a thread that ended by an error."""
    error, thread = arguments.exc_value, arguments.thread
    if error is not None and not isinstance(error, SystemExit):
        logging.getLogger(__name__).critical(
            "thread %s ended", thread.name if thread else "?", exc_info=error
        )


def escaped(text: str) -> str:
    """The text with everything that is not shown as itself written as Python would (`\\n`, `\\x1b`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
