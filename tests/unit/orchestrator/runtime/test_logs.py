"""What is logged is one line of printable characters, whoever wrote it."""

import io
import logging
import subprocess
import sys

import pytest

from orchestrator.runtime.logs import FORMAT, OneLine, escaped

FORGED = "2026-01-01 00:00:00,000 INFO api: all is well"


def logged(message: str, *args: object, error: Exception | None = None) -> str:
    """What a handler writes of one record."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(OneLine(FORMAT))
    trace = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("api", logging.ERROR, __file__, 1, message, args, trace)
    handler.handle(record)
    return out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        *("\n", "\r", "\r\n", "\v", "\f", "\t", "\x00", "\x08", "\x1b[2J", "\x1b]0;title\x07", "\x7f"),
        *("\x85", "\x9b31m", "\u2028", "\u2029"),
        *("\u202e", "\u202d", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\ufeff"),
        *("\ud800", "\udfff", "\U000e0041"),
    ],
)
def test_a_record_is_one_line_without_control_characters(text: str) -> None:
    line = logged("GET %s", f"/a{text}{FORGED}")
    assert line.endswith("\n")
    body = line[:-1]
    assert body.isprintable()
    assert len(body.splitlines()) == 1
    assert body.endswith(FORGED)


def test_what_can_be_read_stays_as_it_is() -> None:
    for text in ("plain", "Größe 漢字 ok", "a\u00a0b", "emoji 🙂", "back\\slash", ""):
        assert escaped(text) == text


def test_a_stack_trace_cannot_hold_a_line_that_looks_like_a_record() -> None:
    try:
        raise ValueError(f"no such thing: x\n{FORGED}\r{FORGED}\u2028{FORGED}")
    except ValueError as error:
        text = logged("failed", error=error)
    head, *trace = text.splitlines()
    assert head.endswith("ERROR api: failed")
    assert trace
    assert all(line.startswith("    ") for line in trace)


def test_a_name_of_a_logger_is_escaped_too() -> None:
    record = logging.LogRecord("a\nb", logging.INFO, __file__, 1, "m", (), None)
    assert OneLine(FORMAT).format(record).endswith("a\\nb: m")


def test_a_trace_that_another_handler_formatted_is_not_taken_over() -> None:
    record = logging.LogRecord("api", logging.INFO, __file__, 1, "m", (), None)
    record.exc_text = f"Error: x\n{FORGED}"
    assert FORGED not in OneLine(FORMAT).format(record).splitlines()


def test_the_command_line_and_celery_write_their_records_this_way() -> None:
    """Celery would give `celery.task` a handler of its own."""
    code = """
import logging
from orchestrator.runtime.logs import setup_logs
from orchestrator.settings.schema import Settings
from workers.stack.celery_app import make_celery
setup_logs(level=logging.INFO)
settings = Settings.model_validate({
    "model_list": [{"model_name": "a", "litellm_params": {"model": "m"}}],
    "muster": {"broker_url": "redis://127.0.0.1:1/0"},
})
make_celery(settings).log.setup(logging.INFO)
for name in ("celery", "celery.task", "celery.worker", "uvicorn.access", "uvicorn.error", "muster"):
    logging.getLogger(name).info("%s says a\\nb\\x1b[0m", name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = run.stderr.splitlines()
    assert len(lines) == 6
    assert all(line.endswith(r"says a\nb\x1b[0m") for line in lines)
