"""What compressing responses costs and saves: `python -m benchmarks.stored_texts FOLDER` (a minute).

FOLDER is a replay set with whole outputs (`texts_all.jsonl.xz`: a line of experts, then one per question with
`texts`). Each text becomes a stored response; rows go to a PostgreSQL of the benchmark's own by COPY and come
back, in each of these ways, the shorter and the longer half of the texts apart:

    plain   as they are: PostgreSQL compresses nothing
    pglz    PostgreSQL's default: rows of more than 2 kB are compressed, the longest values first
    lz4     the same by `default_toast_compression = lz4`
    zlib    compressed here, level 1, one by one, and stored as bytes

    bytes     in the database per response, its share of the table and of what is kept beside it
    write_us  processor time per response of this process and of the server's, written
    read_us   the same, read

The last line is one JSON object.
"""

import json
import lzma
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import add_replay_set, finish, option_parser, progress
from benchmarks.stack import open_postgres
from orchestrator.domain.answers import Usage
from orchestrator.domain.assignments import CallRole, Response
from tests.harness.processes import cpu_s

TEXTS = "texts_all.jsonl.xz"
ROUNDS = 3

Stored = str | bytes


class Way(NamedTuple):
    """A way to keep a response: its column, and how it is written and read."""

    column: str
    pack: Callable[[str], Stored]
    unpack: Callable[[Stored], str]


def _same(text: str) -> Stored:
    return text


def _text(stored: Stored) -> str:
    return str(stored)


WAYS = {
    "plain": Way("TEXT STORAGE EXTERNAL", _same, _text),
    "pglz": Way("TEXT COMPRESSION pglz", _same, _text),
    "lz4": Way("TEXT COMPRESSION lz4", _same, _text),
    "zlib": Way(
        "BYTEA STORAGE EXTERNAL",
        lambda text: zlib.compress(text.encode(), 1),
        lambda stored: zlib.decompress(stored if isinstance(stored, bytes) else stored.encode()).decode(),
    ),
}


def responses(folder: Path, *, most: int) -> list[str]:
    """Up to `most` responses as they are stored, the shortest first."""
    found = []
    for text in _texts(folder / TEXTS):
        usage = Usage(prompt_tokens=100, completion_tokens=len(text) // 4)
        response = Response(expert_id="expert-0", role=CallRole.EXPERT, stage=0, text=text, usage=usage)
        found.append(response.model_dump_json(exclude_defaults=True))
        if len(found) == most:
            break
    return sorted(found, key=len)


def _texts(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt") as lines:
        next(lines)
        for line in lines:
            yield from (text.replace("\0", "") for text in json.loads(line)["texts"] if text)


def measured(
    conn: psycopg.Connection[tuple[object, ...]], way: Way, given: Sequence[str]
) -> dict[str, float]:
    """The figures of one way."""
    written, read = [], []
    for _ in range(ROUNDS):
        conn.execute("DROP TABLE IF EXISTS kept")
        conn.execute(f"CREATE TABLE kept (pk BIGINT, response {way.column.split()[0]})".encode())
        conn.execute(_altered(way).encode())
        written.append(_spent(conn, lambda: _write(conn, way, given)))
        read.append(_spent(conn, lambda: _read(conn, way, given)))
    [(size,)] = conn.execute("SELECT pg_total_relation_size('kept')").fetchall()
    n = len(given)
    return {
        "bytes": round(int(str(size)) / n),
        "write_us": round(1e6 * min(written) / n, 1),
        "read_us": round(1e6 * min(read) / n, 1),
    }


def _altered(way: Way) -> str:
    setting, value = way.column.split()[1:]
    return f"ALTER TABLE kept ALTER COLUMN response SET {setting} {value}"


def _write(conn: psycopg.Connection[tuple[object, ...]], way: Way, given: Sequence[str]) -> None:
    with conn.cursor() as cursor, cursor.copy("COPY kept (pk, response) FROM STDIN") as copy:
        for pk, response in enumerate(given):
            copy.write_row((pk, way.pack(response)))


def _read(conn: psycopg.Connection[tuple[object, ...]], way: Way, given: Sequence[str]) -> None:
    rows = conn.execute("SELECT response FROM kept ORDER BY pk", binary=True).fetchall()
    for (stored,), response in zip(rows, given, strict=True):
        assert isinstance(stored, str | bytes)
        assert way.unpack(stored) == response


def _spent(conn: psycopg.Connection[tuple[object, ...]], work: Callable[[], None]) -> float:
    """Processor seconds of this process and of the server's that works for it."""
    pid = conn.info.backend_pid
    before = time.process_time() + cpu_s(pid)
    work()
    return time.process_time() + cpu_s(pid) - before


def connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Nothing is prepared: the table is another one each time."""
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, prepare_threshold=None)


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    add_replay_set(parser)
    parser.add_argument("--most", type=int, default=20_000, help="responses")
    options = parser.parse_args(argv)
    given = responses(options.folder, most=options.most)
    halves = {"shorter": given[: len(given) // 2], "longer": given[len(given) // 2 :]}
    report: dict[str, object] = {}
    with open_postgres() as (_, url), connected(url) as conn:
        for half, texts in halves.items():
            chars = round(sum(map(len, texts)) / len(texts))
            report[half] = {"chars": chars} | {name: measured(conn, way, texts) for name, way in WAYS.items()}
            progress({half: report[half]})
    finish(report)


if __name__ == "__main__":
    main()
