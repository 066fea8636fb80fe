"""Bad inputs 37 to 57: files of lines, posted to `/v1/jobs`."""

import gzip
import json
from contextlib import suppress

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from orchestrator.bootstrap.app import App
from orchestrator.questions.files import MAX_LINE_BYTES, MAX_LINES
from tests.bad_inputs.conftest import MAX_UPLOAD
from tests.bad_inputs.table import JOBS, JSONL, Bad, chat, name_of, refusal

GOOD = b'{"question": "Why?"}\n'
URL = "/v1/chat/completions"


def lines(*texts: str | dict[str, object]) -> bytes:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in texts).encode()


def batch_line(custom_id: object = "a", **fields: object) -> dict[str, object]:
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": chat(), **fields}


def posted(number: int, what: str, status: int, content: bytes, says: str = "") -> Bad:
    return Bad(number, what, status, content, JOBS, headers=JSONL, says=says)


BAD = [
    posted(37, "empty file", 400, b"", "no questions"),
    posted(38, "blank lines", 400, b"\n \n\t\r\n", "no questions"),
    posted(39, "one bad line among many", 400, GOOD * 5000 + b"x\n" + GOOD * 5000, "line 5001"),
    posted(39, "an unknown model on a line", 400, lines(batch_line(body=chat(model="nobody"))), "line 1"),
    posted(42, "UTF-16", 400, GOOD.decode().encode("utf-16"), "UTF-16"),
    posted(42, "Latin-1", 400, '{"question": "\xe9"}'.encode("latin-1"), "UTF-8"),
    posted(42, "zip", 400, b"PK\x03\x04" + bytes(100), "binary"),
    posted(42, "parquet", 400, b"PAR1" + bytes(100)),
    posted(42, "gzip that is not declared", 400, gzip.compress(GOOD * 100), "compressed"),
    posted(
        43, "a line without end", 413, b'{"question": "' + b"a" * (MAX_LINE_BYTES + 10), "line 1 is longer"
    ),
    posted(44, "a line too many", 413, b"\n".join([b'{"question":"a"}'] * (MAX_LINES + 1))),
    posted(44, "bytes beyond the limit", 413, b" " * (MAX_UPLOAD + 1)),
    posted(45, "custom_id twice", 400, lines(batch_line("a"), batch_line("b"), batch_line("a")), "line 1"),
    *(
        posted(46, f"custom_id {value!r}", 400, lines(batch_line(value)), "custom_id")
        for value in (
            "",
            7,
            None,
            [],
            True,
            "a\0b",
            "a\nb",
            "\ra",
            "\x1b[2J",
            "a\x7f",
            "a\x85b",
            "a\u2028b",
            "\ud800",
        )
    ),
    *(
        posted(
            46,
            f"id {value!r}",
            400,
            GOOD + lines({"id": value, "question": "Why?"}),
            '"line":2,"message":"id',
        )
        for value in ("", None, [], "a\tb", "\x9b2J", "x" * 513)
    ),
    posted(46, "custom_id of 10 KB", 400, lines(batch_line("x" * 10_240)), "512 characters"),
    posted(46, "no custom_id", 400, lines({"method": "POST", "url": URL, "body": chat()}), "line 1"),
    posted(47, "a JSON array", 400, b'[{"question": "a"}, {"question": "b"}]', "JSON array"),
    posted(47, "pretty-printed", 400, json.dumps({"question": "a"}, indent=2).encode(), "pretty-printed"),
    posted(48, "trailing comma", 400, b'{"question": "a",}', "line 1"),
    posted(48, "comment", 400, b'{"question": "a"} // why', "line 1"),
    posted(48, "single quotes", 400, b"{'question': 'a'}", "line 1"),
    *(
        posted(49, f"line {text}", 400, GOOD + text.encode(), "line 2")
        for text in ("null", "[]", '"x"', "{}", "3")
    ),
    posted(50, "an unknown endpoint", 400, lines(batch_line(url="/v1/moderations")), "line 1"),
    posted(50, "an endpoint elsewhere", 400, lines(batch_line(url="http://169.254.169.254/")), "line 1"),
    posted(50, "another method", 400, lines(batch_line(method="GET")), "line 1"),
    posted(50, "a stream", 400, lines(batch_line(body=chat(stream=True))), "line 1"),
    Bad(
        51,
        "declared gzip",
        415,
        gzip.compress(b" " * 10**8),
        JOBS,
        headers={**JSONL, "content-encoding": "gzip"},
    ),
    Bad(52, "a form", 415, b"--x--", JOBS, headers={"content-type": "multipart/form-data; boundary=x"}),
    *(
        Bad(54, f"deadline {value}", 400, GOOD, f"{JOBS}?deadline_s={value}", headers=JSONL)
        for value in ("-5", "0", "0.5", "nan", "inf", "1e12", "soon")
    ),
    *(
        posted(57, f"metadata of {what}", 400, lines(batch_line(body=chat(metadata=value))), "metadata")
        for what, value in {
            "17 pairs": {str(n): "v" for n in range(17)},
            "a key of 65": {"k" * 65: "v"},
            "a value of 513": {"k": "v" * 513},
            "a number": {"k": 3},
        }.items()
    ),
]


@pytest.mark.parametrize("row", BAD, ids=name_of)
def test_a_bad_file_is_refused_as_a_whole(client: TestClient, app: App, row: Bad) -> None:
    before = len(list(app.jobs.jobs(limit=100)))
    response = row.send(client)
    error = refusal(response)
    assert response.status_code == row.status, error
    assert row.says in response.text
    assert len(list(app.jobs.jobs(limit=100))) == before


ACCEPTED = {
    "40 no line break at the end": GOOD + GOOD.strip(),
    "41 CRLF": GOOD.replace(b"\n", b"\r\n") * 2,
    "41 byte order mark": b"\xef\xbb\xbf" + GOOD * 2,
    "46 formula": lines(batch_line("=cmd()|'/c calc'!A0"), batch_line("\u202e@SUM")),
    "55 the same question": GOOD * 2,
}


def answers(client: TestClient, content: bytes) -> list[dict[str, object]]:
    job = client.post(f"{JOBS}?composition=alpha", content=content, headers=JSONL)
    assert job.status_code == 202, job.text
    assert "event: done" in client.get(f"{JOBS}/{job.json()['id']}/events").text
    return [json.loads(line) for line in client.get(f"{JOBS}/{job.json()['id']}/answers").text.splitlines()]


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_an_unusual_file_is_answered_line_by_line(client: TestClient, content: bytes) -> None:
    rows = answers(client, content)
    assert len(rows) == 2
    sent = [json.loads(line).get("custom_id") for line in content.decode("utf-8-sig").splitlines()]
    assert [row.get("custom_id") for row in rows] == sent


def test_56_a_line_that_fits_nobody_fails_alone(client: TestClient) -> None:
    long = {"question": "word " * 30_000}
    first, second = answers(client, lines({"question": "Why?"}, long))
    assert first["error"] is None
    assert first["answer"]
    assert "context" in json.dumps(second["error"])


def test_39_all_bad_lines_are_named(client: TestClient) -> None:
    response = client.post(JOBS, content=(GOOD + b"x\n") * 200, headers=JSONL)
    named = [line["line"] for line in refusal(response)["lines"]]
    assert named == list(range(2, 202, 2))


def test_53_an_upload_that_breaks_off_makes_no_job(client: TestClient, app: App) -> None:
    before = len(list(app.jobs.jobs(limit=100)))
    coming = iter([{"type": "http.request", "body": GOOD, "more_body": True}, {"type": "http.disconnect"}])
    told: list[object] = []

    async def receive() -> dict[str, object]:
        return next(coming)

    async def send(message: dict[str, object]) -> None:
        told.append(message["type"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": JOBS,
        "raw_path": JOBS.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/jsonl")],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "http_version": "1.1",
    }
    with suppress(ClientDisconnect):
        client.portal.call(client.app, scope, receive, send)
    assert len(list(app.jobs.jobs(limit=100))) == before
    assert list(coming) == []
