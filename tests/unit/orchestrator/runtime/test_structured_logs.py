"""Records as JSON: one object a line, whatever they say, with the ids of what is done, without secrets."""

import contextvars
import io
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.redaction import remember
from orchestrator.runtime.context import bind, bound, bound_now
from orchestrator.runtime.logs import FORMAT, JsonLine, OneLine


def written(formatter: logging.Formatter, message: str, *args: object, error: Exception | None = None) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    trace = None if error is None else (type(error), error, error.__traceback__)
    handler.handle(logging.LogRecord("api", logging.ERROR, __file__, 1, message, args, trace))
    return out.getvalue()


@given(st.text())
def test_a_record_is_one_line_of_plain_ascii_that_says_what_was_said(text: str) -> None:
    line = written(JsonLine(), "%s", text)
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert json.loads(line)["message"] == text


def test_a_record_says_when_who_and_how_bad() -> None:
    said = json.loads(written(JsonLine(), "hello"))
    assert said["level"] == "ERROR"
    assert said["logger"] == "api"
    assert said["time"].endswith("+00:00")


def test_a_stack_trace_is_within_the_object() -> None:
    try:
        raise ValueError('x\n{"message": "forged"}')
    except ValueError as error:
        said = json.loads(written(JsonLine(), "failed", error=error))
    assert said["message"] == "failed"
    assert "ValueError" in said["error"]


def test_ids_stand_in_both_forms_while_they_are_bound() -> None:
    with bound(request="req_1", key="key_2", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"), bound(job="ask-3"):
        said = json.loads(written(JsonLine(), "m"))
        line = written(OneLine(FORMAT), "m")
    assert (said["request"], said["key"], said["job"], said["trace"]) == ("req_1", "key_2", "ask-3", "a" * 32)
    assert line.rstrip().endswith(f"m [request=req_1 job=ask-3 key=key_2 trace={'a' * 32}]")
    assert "request" not in json.loads(written(JsonLine(), "m"))


def test_ids_follow_a_context_into_its_threads_and_not_out_of_them() -> None:
    def inner() -> str:
        bind(job="inner")
        return bound_now().request

    with bound(request="outer"), ThreadPoolExecutor(1) as threads:
        context = contextvars.copy_context()
        assert threads.submit(context.run, inner).result() == "outer"
        assert bound_now().job == ""
    assert bound_now().request == ""


@pytest.mark.parametrize("formatter", [JsonLine(), OneLine(FORMAT)])
def test_secrets_are_redacted_in_message_trace_and_ids(formatter: logging.Formatter) -> None:
    remember("s3cret-of-this-test")
    try:
        raise ValueError("s3cret-of-this-test")
    except ValueError as error:
        with bound(job="s3cret-of-this-test"):
            text = written(formatter, "key %s", "s3cret-of-this-test", error=error)
    assert "s3cret-of-this-test" not in text


def test_processes_that_one_starts_write_in_the_same_form() -> None:
    code = """
import logging, subprocess, sys
from orchestrator.runtime.logs import setup_logs, write_logs_as
setup_logs(level=logging.INFO)
write_logs_as("json")
logging.getLogger("outer").info("a")
inner = ("import logging; from orchestrator.runtime.logs import setup_logs;"
         "setup_logs(level=logging.INFO); logging.getLogger('inner').info('b')")
subprocess.run([sys.executable, "-c", inner], check=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line)["logger"] for line in run.stderr.splitlines()] == ["outer", "inner"]
