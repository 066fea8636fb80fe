"""A database as an earlier version left it, killed in the middle of a job: this version goes on with it.

tests/upgrades holds its dump; `python -m scripts.earlier_database COMMIT` makes one.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from sqlalchemy import Boolean, Connection, MetaData, create_engine, text

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings
from orchestrator.store import migrations, open_database
from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.harness.waiting import wait_for

UPGRADES = Path(__file__).parents[1] / "upgrades"
REVISION = "0019"
MADE = json.loads((UPGRADES / "made.json").read_text())
DAY_S = 86_400
EMPTY = {"merge_job", "merged_expert", "shared_key"}
"""Tables of the dump without rows: of merges, and of keys that stacks share."""
NEEDS_POSTGRES = [
    pytest.mark.postgres,
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL server"),
]


def earlier(path: str) -> sqlite3.Connection:
    """The database of the dump, as if it had been left a minute ago: what is old is deleted after a while."""
    conn = sqlite3.connect(path)
    conn.executescript((UPGRADES / f"{REVISION}.sql").read_text())
    shift = int(time.time()) - 60 - MADE["made_at"]
    for table in tables(conn):
        for _, column, *_ in conn.execute(f"PRAGMA table_info('{table}')").fetchall():
            low, high = MADE["made_at"] - DAY_S, MADE["made_at"] + 40 * DAY_S
            more, bounds = (shift // DAY_S, (0, high)) if column == "day" else (shift, (low, high))
            conn.execute(
                f'UPDATE "{table}" SET "{column}" = "{column}" + ? '
                f"WHERE typeof(\"{column}\") IN ('integer', 'real') AND \"{column}\" BETWEEN ? AND ?",
                (more, *bounds),
            )
    conn.commit()
    return conn


def tables(conn: sqlite3.Connection) -> list[str]:
    rows = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in rows]


def copied(source: sqlite3.Connection, url: str) -> None:
    """The same rows in PostgreSQL, in the tables that its migrations made."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, REVISION)
        meta = MetaData()
        meta.reflect(conn)
        for table in meta.sorted_tables:
            conn.execute(table.delete())
            columns = [column.name for column in table.columns]
            names = ", ".join(f'"{name}"' for name in columns)
            rows = source.execute(f'SELECT {names} FROM "{table.name}"').fetchall()
            are_bool = [isinstance(column.type, Boolean) for column in table.columns]
            if rows:
                conn.execute(
                    table.insert(),
                    [dict(zip(columns, converted(row, are_bool), strict=True)) for row in rows],
                )
            count_on(conn, table.name, columns)
    engine.dispose()


def converted(row: tuple[Any, ...], are_bool: list[bool]) -> list[Any]:
    return [
        bool(value) if is_bool and value is not None else value
        for value, is_bool in zip(row, are_bool, strict=True)
    ]


def count_on(conn: Connection, table: str, columns: list[str]) -> None:
    """New rows get numbers that no row has."""
    for column in columns:
        sequence = conn.scalar(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table, "c": column})
        if sequence is not None:
            last = conn.scalar(text(f'SELECT coalesce(max("{column}"), 0) + 1 FROM "{table}"'))
            conn.execute(text("SELECT setval(:s, :n, false)"), {"s": sequence, "n": last})


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=NEEDS_POSTGRES)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The earlier database, not upgraded yet; its pool file lies in the working directory."""
    for name in ("pool.yaml", "log.jsonl"):
        shutil.copy(UPGRADES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        earlier(f"{tmp_path}/data/muster.sqlite3").close()
        yield f"sqlite:///{tmp_path}/data/muster.sqlite3"
        return
    with fresh_postgres(migrated=False) as url:
        source = earlier(":memory:")
        copied(source, url)
        source.close()
        yield url


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("MUSTER_DATABASE_URL", url)
    with (
        open_app(load_settings(Path("pool.yaml")), background=True) as app,
        TestClient(create_app(app)) as client,
    ):
        client.headers["Authorization"] = f"Bearer {MADE['keys']['admin']}"
        yield client


def test_what_was_there_is_shown_and_what_was_begun_is_finished(client: TestClient) -> None:
    jobs = {job["id"]: job for job in client.get("/v1/jobs", params={"limit": 100}).json()["data"]}
    assert {MADE["job"], MADE["batch"], MADE["unfinished"]} <= set(jobs)
    answers = client.get(f"/v1/jobs/{MADE['job']}/answers").text.splitlines()
    assert [json.loads(line)["value"] for line in answers[:2]] == ["4", "4"]
    assert len(answers) == 6

    def all_four() -> bool:
        return client.get(f"/v1/jobs/{MADE['unfinished']}").json()["counts"]["completed"] == 4

    wait_for("the job that was left is finished", all_four, within_s=90)
    lines = client.get(f"/v1/jobs/{MADE['unfinished']}/answers").text.splitlines()
    assert {json.loads(line)["id"]: json.loads(line)["value"] for line in lines} == {
        "h0": "4",
        "h1": "4",
        "k0": "4",
        "k1": "4",
    }

    card = client.get("/v1/experts/ada/card").json()
    assert card["expert"] == "ada"
    assert 5 < card["total"]["n_right"] <= 6, "five were measured, and one judged, which fades"
    assert card["stored_at"] is None, "it is from before dates were kept"
    [measurement] = client.get("/v1/experts/ada/history").json()["data"]
    assert (measurement["stored_at"], measurement["is_current"]) == (None, True)

    batch = client.get(f"/v1/batches/{MADE['batch']}").json()
    assert (batch["status"], batch["output_file_id"]) == ("completed", MADE["output_file"])
    (line,) = client.get(f"/v1/files/{MADE['output_file']}/content").text.splitlines()
    assert json.loads(line)["custom_id"] == "one"

    assert {key["name"] for key in client.get("/v1/keys").json()["data"]} == {"admin", "ask"}
    (eve,) = (one for one in client.get("/v1/experts").json()["data"] if one["id"] == "eve")
    assert eve["paused"]["reason"] == "on leave"

    client.headers["Authorization"] = f"Bearer {MADE['keys']['ask']}"
    assert client.get(f"/v1/responses/{MADE['response']}").json()["output"]
    assert client.get(f"/v1/jobs/{MADE['question']}").json()["state"] == "done"
    assert client.get(f"/v1/jobs/{MADE['job']}").status_code == 404, "it is another key's"
    body = {"model": "bob", "messages": [{"role": "user", "content": "What is 2 plus 2?"}]}
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    client.headers["Authorization"] = "Bearer sk-muster-none"
    assert client.get("/v1/jobs").status_code == 401


def test_every_table_of_the_earlier_version_has_rows_but_for_those_that_are_known_to_have_none() -> None:
    conn = earlier(":memory:")
    empty = {name for name in tables(conn) if not conn.execute(f'SELECT 1 FROM "{name}"').fetchone()}
    open_queries = "SELECT count(*) FROM query WHERE state = 'open'"
    assert conn.execute(open_queries).fetchone() == (2,), "it was killed in the middle"
    conn.close()
    assert empty == EMPTY


def test_every_row_is_there_after_the_upgrade(url: str) -> None:
    source = earlier(":memory:")
    counts = {name: source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables(source)}
    source.close()
    database = open_database(url)
    with database.read() as conn:
        for name, n in counts.items():
            assert conn.execute(text(f'SELECT count(*) FROM "{name}"')).scalar() == n, name
    database.close()
