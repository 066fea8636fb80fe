"""The roles of docker/roles.sql on a real server: the stack works with the least of them, and it is least."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestrator.errors import StoreError
from orchestrator.store import open_database
from tests.harness.processes import ROOT
from tests.harness.servers import Postgres, Redis, postgres_is_installed, postgres_tool, redis_is_installed
from tests.harness.stack import Stack
from tests.integration.scripted_pool import question, write_pool

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (postgres_is_installed() and redis_is_installed()), reason="no server programs are installed"
    ),
]


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scripts of the stack make: secrets of the host, and a folder for each service."""
    folder = tmp_path_factory.mktemp("credentials")
    subprocess.run([ROOT / "scripts" / "stack-secrets.sh", folder / "secrets"], check=True)
    for service in ("app", "owner", "roles", "broker"):
        (folder / "out" / service).mkdir(parents=True)
    env = {
        **os.environ,
        "SECRETS": str(folder / "secrets"),
        "OUT": str(folder / "out"),
        "RULES": str(ROOT / "docker" / "broker-rules"),
        "MUSTER_UID": str(os.getuid()),
    }
    for _ in range(2):  # as after a restart
        subprocess.run(["sh", ROOT / "docker" / "credentials.sh"], check=True, env=env)
    return folder


@pytest.fixture(scope="module")
def server(credentials: Path) -> Iterator[Postgres]:
    """A cluster of its own, as roles belong to all databases of one; where its user may look."""
    with tempfile.TemporaryDirectory(prefix="muster-roles-") as folder:
        postgres = Postgres(Path(folder) / "cluster")
        try:
            postgres.start()
            postgres.create("muster")
            for _ in range(2):  # may be run again
                make_roles(postgres.url("muster"), credentials)
            yield postgres
        finally:
            postgres.close()


def make_roles(url: str, credentials: Path) -> None:
    command = [
        postgres_tool("psql"),
        "--no-psqlrc",
        "-q",
        "-d",
        url,
        "-f",
        str(ROOT / "docker" / "roles.sql"),
    ]
    env = {**os.environ, "ROLES": str(credentials / "out" / "roles")}
    subprocess.run(command, check=True, env=env)


def url_of(postgres: Postgres, role: str, database: str = "muster") -> str:
    return f"postgresql://{role}@127.0.0.1:{postgres.port}/{database}"


def test_secrets_and_credentials_are_for_who_needs_them(credentials: Path) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(credentials / "secrets") == 0o700
    secrets = {path.name: path.read_text() for path in (credentials / "secrets").iterdir()}
    assert set(secrets) == {"postgres", "database-owner", "database", "broker", "grafana"}
    assert len(set(secrets.values())) == 5
    assert {len(secret) for secret in secrets.values()} == {48}
    out = credentials / "out"
    for path in (*(credentials / "secrets").iterdir(), out / "app" / "pgpass", out / "owner" / "pgpass"):
        assert mode(path) == 0o600
    for service, inside in (("app", "database"), ("app", "broker"), ("owner", "database-owner")):
        texts = "".join(path.read_text() for path in (out / service).iterdir())
        assert secrets[inside] in texts
    texts = "".join(path.read_text() for path in out.glob("a*/*"))
    assert secrets["database-owner"] not in texts
    assert secrets["postgres"] not in "".join(path.read_text() for path in out.glob("*/*"))
    assert secrets["broker"] not in (out / "broker" / "users.acl").read_text()
    subprocess.run([ROOT / "scripts" / "stack-secrets.sh", credentials / "secrets"], check=True)
    assert {path.name: path.read_text() for path in (credentials / "secrets").iterdir()} == secrets


def test_the_stack_answers_with_the_least_role(server: Postgres, credentials: Path, tmp_path: Path) -> None:
    owner, app = url_of(server, "muster_owner"), url_of(server, "muster_app")
    with pytest.raises(StoreError, match="run `muster migrate` as their owner"):
        open_database(app)
    write_pool(tmp_path)
    out = credentials / "out" / "broker"
    password = (credentials / "secrets" / "broker").read_text()
    broker = Redis(tmp_path, user="muster", password=password, rules=(out / "users.acl").read_text())
    broker.start()
    env = {"MUSTER_BROKER_PASSWORD_FILE": str(credentials / "out" / "app" / "broker")}
    url = f"redis://muster@127.0.0.1:{broker.port}/0"
    try:
        with Stack(tmp_path / "pool.yaml", tmp_path, database_url=app, broker_url=url, env=env) as stack:
            migration = stack.process("migrate", "migrate", env={"MUSTER_DATABASE_URL": owner}).start()
            assert migration.wait() == 0, migration.tail()
            stack.launch("beat", "beat")
            stack.launch("worker", "worker", "--device", "cpu")
            stack.launch_api()
            lines = [{"id": f"q{i}", "question": question(i)} for i in range(30)]
            job = stack.submit_lines(lines, composition="muster/majority_all")
            ended = stack.job_when(job)
            assert ended["counts"] == {"total": 30, "completed": 30, "failed": 0, "waiting": 0}
            feedback = stack.post("/v1/feedback", {"job": job, "query": "q1", "right": True})
            assert feedback.status_code == 200, feedback.text
            assert stack.http.delete(f"/v1/jobs/{job}").status_code < 300
            assert stack.ask(question(3), "alpha").status_code == 200
            logs = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
            assert "permission denied" not in logs
            assert "NOPERM" not in logs
            assert [s for s in secrets_of(credentials) if s in logs] == []
    finally:
        broker.close()


def secrets_of(credentials: Path) -> list[str]:
    return [path.read_text() for path in (credentials / "secrets").iterdir()]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE job ADD COLUMN x int",
        "DROP TABLE answer",
        "TRUNCATE job CASCADE",
        "CREATE INDEX ON job (pk)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER t BEFORE INSERT ON job EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE ROLE other SUPERUSER",
        "ALTER ROLE muster_app SUPERUSER",
        "SET ROLE muster_owner",
        "SET ROLE muster",
        "CREATE DATABASE other",
        "CREATE EXTENSION dblink",
        "COPY job TO PROGRAM 'cat'",
        "COPY job TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "GRANT ALL ON job TO PUBLIC",
    ],
)
def test_the_role_of_the_services_can_only_read_and_write_rows(server: Postgres, statement: str) -> None:
    open_database(url_of(server, "muster_owner")).close()
    with psycopg.connect(url_of(server, "muster_app"), autocommit=True) as conn:
        assert conn.execute("SELECT count(*) FROM job").fetchone() is not None
        if statement.startswith("GRANT"):  # a warning, and nothing is granted
            conn.execute(statement.encode())
            granted = conn.execute("SELECT has_table_privilege('public', 'job', 'SELECT')").fetchone()
            assert granted == (False,)
            return
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement.encode())


def test_neither_role_is_more_than_it_must_be(server: Postgres) -> None:
    with server.connect("muster") as admin:
        found = admin.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname LIKE 'muster\\_%'"
        ).fetchall()
        members = admin.execute(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member "
            "WHERE r.rolname LIKE 'muster\\_%'"
        ).fetchone()
        passwords = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'muster\\_%'"
        ).fetchall()
    assert found == [(False,) * 5] * 2
    assert members == (0,)
    assert all(str(password).startswith("SCRAM-SHA-256$") for (password,) in passwords)


def test_tables_that_a_superuser_made_go_to_their_owner(server: Postgres, credentials: Path) -> None:
    """An installation of before had one user, a superuser."""
    server.create("older")
    open_database(server.url("older")).close()
    make_roles(server.url("older"), credentials)
    for role in ("muster_owner", "muster_app"):
        open_database(url_of(server, role, "older")).close()
    with server.connect("older") as admin:
        owners = admin.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [("muster_owner",)]
