"""Servers of the stack: PostgreSQL and Redis of our own, which may be stopped, killed, emptied and starved;
and the RabbitMQ of the machine."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.harness.processes import Process, free_port
from tests.harness.waiting import wait_for

DATABASE_PASSWORD = "pw-planted-4c1f9e"
RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:5672//"
USER = "muster"


class Postgres:
    """A throw-away cluster; as root its server runs as user `postgres`.

    Args:
        address: where it is reached from other hosts, too.
        password: of `USER`; then every role is asked for its own over the network. None = nobody is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str | None = None,
        password: str | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self._password = password
        self._data = folder / "postgres"
        self._log = folder / "postgres.log"
        self._data.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self._data, "postgres")
            self._log.touch()
            shutil.chown(self._log, "postgres")
            folder.chmod(0o755)
            folder.parent.chmod(0o755)
        self._run("initdb", "-D", str(self._data), *self._access(folder), "-E", "UTF8", "--no-sync")
        settings = {
            "listen_addresses": f"'{','.join(filter(None, ['127.0.0.1', address]))}'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self._data}'",
            "fsync": "off",  # the machine does not crash here, only processes do
            "max_connections": "100",
        }
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in settings.items())
        if address is not None:
            with (self._data / "pg_hba.conf").open("a") as access:
                access.write("host all all samenet trust\n")

    def _access(self, folder: Path) -> list[str]:
        if self._password is None:
            return ["-A", "trust", "-U", USER]
        file = folder / "password"
        file.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(file, "postgres")
        return ["--auth-local=trust", "--auth-host=scram-sha-256", "-U", USER, f"--pwfile={file}"]

    @property
    def socket_folder(self) -> Path:
        """Where it is reached without a password."""
        return self._data

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    @property
    def pid(self) -> int:
        """Of the process that all others of the server descend from."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def url(self, database: str) -> str:
        """With a password, which trust authentication ignores: it must never show up in a log."""
        return f"postgresql://{USER}:{self._password or DATABASE_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` = as after a crash: recovery runs at the next start."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "-t", "60", "stop")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def create(self, database: str, *, template: str | None = None) -> None:
        suffix = f" TEMPLATE {template}" if template else ""
        with self.connect("postgres") as admin:
            admin.execute(f"CREATE DATABASE {database}{suffix}".encode())

    def drop(self, database: str) -> None:
        with self.connect("postgres") as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")

    def _run(self, tool: str, *arguments: str) -> None:
        command = [postgres_tool(tool), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, tool, done.stdout, done.stderr)


def postgres_is_installed() -> bool:
    return _found_tool("initdb") is not None


def postgres_tool(name: str) -> str:
    """Path of a program of PostgreSQL."""
    found = _found_tool(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: the fault suite needs PostgreSQL's server programs"
        )
    return found


def _found_tool(name: str) -> str | None:
    return shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )


class Redis:
    """A server without persistence: what it held is gone when it was killed.

    Args:
        password: what it asks for; None = nothing.
        rules: who may do what, as its access list has it; `user` is the one whom we are.
        address: where it is reached from other hosts, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        user: str = "",
        rules: str | None = None,
        address: str | None = None,
    ) -> None:
        self._bound = ["127.0.0.1", *([address] if address else [])]
        self.port = free_port()
        self._folder = folder
        self._password = password
        self._user = user
        self._rules = rules
        self._process: Process | None = None

    @property
    def url(self) -> str:
        login = f"{self._user}:{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def process(self) -> Process:
        assert self._process is not None, "Redis was not started"
        return self._process

    def start(self, *options: str) -> None:
        command = [redis_program(), "--port", str(self.port), "--bind", *self._bound, "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self._folder)]
        if self._rules is not None:
            access = self._folder / "users.acl"
            access.write_text(self._rules)
            command += ["--aclfile", str(access)]
        elif self._password:
            command += ["--requirepass", self._password]
        self._process = Process("redis", [*command, *options], env={}, log=self._folder / "redis.log").start()
        wait_for("redis answers", self._answers, within_s=10)

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def kill(self) -> None:
        """-9: all that it held is lost."""
        self.process.kill()

    def empty_restart(self) -> None:
        self.kill()
        self.start()

    def stop_answering(self) -> None:
        """Accepts connections and says nothing."""
        self.process.signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        self.process.signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def open_redis(folder: Path) -> Iterator[Redis]:
    """A Redis that asks for no password."""
    server = Redis(folder)
    server.start()
    try:
        yield server
    finally:
        server.close()


def redis_is_installed() -> bool:
    return _redis_program() is not None


def redis_program() -> str:
    found = _redis_program()
    if found is None:
        raise FileNotFoundError("redis-server is not installed: the stack needs its program on the path")
    return found


def _redis_program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def rabbitmq_is_installed() -> bool:
    """A missing server is excused only where none is installed."""
    return shutil.which("rabbitmq-server") is not None


def rows(conn: psycopg.Connection[tuple[Any, ...]], sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
    """All rows of a statement; `%s` stands for a value."""
    return conn.execute(sql.encode(), values or None).fetchall()
