"""Services of docker-compose.yml as processes of this machine: same commands, environment, files and order.

Only what must differ differs, and it stands in the tables below. Each service has a folder that is its `/`:
in it its mounts are links, and whatever else it leaves there was written where a container could not write.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.harness.compose import Service
from tests.harness.processes import ROOT, Process, free_port
from tests.harness.servers import Postgres, postgres_tool, redis_program
from tests.harness.waiting import wait_for

PATIENCE_S = 120.0
OUR_PATHS = frozenset({"/bin/sh"})
"""Paths of a container that are the same on this machine."""
SCRIPT_PATHS: Mapping[str, Mapping[str, str]] = {
    "credentials": {"SECRETS": "/run/secrets", "OUT": "/out", "RULES": "/broker-rules"},
    "postgres": {"ROLES": "/run/roles"},
}
"""Variables that tell scripts where their container's folders are here; the value is what they take else."""
INIT_FOLDER = "/docker-entrypoint-initdb.d"


class Image(NamedTuple):
    """What an image brings along: programs by name, variables, and where its processes start."""

    programs: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]
    folder: str = "/"


def _of_dockerfile(instruction: str) -> list[str]:
    """Words of all lines with this instruction."""
    text = (ROOT / "Dockerfile").read_text()
    return [word for line in re.findall(f"^{instruction} (.*)$", text, re.MULTILINE) for word in line.split()]


class Containers:
    """All services of a file, over ports of their own. They end with the block.

    Args:
        services: as `read_compose` orders them. folder: where all their files go; others may look into it.
    """

    def __init__(self, services: Mapping[str, Service], folder: Path) -> None:
        self.services = dict(services)
        self.folder = folder
        folder.chmod(0o755)
        self.ports = {"postgres:5432": free_port(), "valkey:6379": free_port(), "8321": free_port()}
        self.processes: dict[str, Process] = {}
        self.database: Postgres | None = None
        self._once: list[Process] = []
        for name in self.services:
            self._make_root(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed([*self.processes.values(), *self._once]):
            process.kill()
        if self.database is not None:
            self.database.close()

    @property
    def url(self) -> str:
        """Where the API is published."""
        return f"http://127.0.0.1:{self.ports['8321']}"

    # ── what Compose does ─────────────────────────────────────────────────────────────────────────

    def up(self, *names: str) -> None:
        """`docker compose up NAMES`: what does not run, each after what it waits for.

        Args:
            names: with all that they need; none = every service without a profile.
        """
        asked = {each for name in names for each in (*self._all_needs(name), name)}
        for name, service in self.services.items():
            if (name in asked or not (names or service.is_optional)) and not self.is_running(name):
                self._await_needs(name)
                self.start(name)

    def run(self, name: str, *words: str, env: Mapping[str, str] | None = None) -> Process:
        """`docker compose run --rm [-e …] NAME WORDS`: other words in a service's place, until they end."""
        for needed in self._all_needs(name):
            if needed not in self.processes and not self.is_running(needed):
                self._await_needs(needed)
                self.start(needed)
        self._await_needs(name)
        process = self._process(name, words, log=f"{name}-run-{len(self._once)}", env=env)
        self._once.append(process)
        process.start()
        wait_for(f"{name} {shlex.join(words)} ends", lambda: not process.is_alive, within_s=PATIENCE_S)
        return process

    def start(self, name: str) -> None:
        """A service without what it waits for; it need not be ready yet."""
        service = self.services[name]
        if name == "postgres" and not service.words:
            self._start_database()
            return
        if name not in self.processes:
            self.processes[name] = self._process(name, service.words)
        self.processes[name].start()

    def stop(self, name: str) -> int | None:
        """`docker compose stop NAME`: the exit code, None where it had to be killed."""
        if name == "postgres":
            assert self.database is not None
            self.database.stop("fast")  # its image asks for SIGINT
            return 0
        return self.processes[name].stop(within_s=self.services[name].grace_s)

    def down(self) -> dict[str, int | None]:
        """`docker compose down`, volumes stay: exit codes of those that ran, in the order of their end."""
        running = [name for name in self.services if self.is_running(name)]
        return {name: self.stop(name) for name in reversed(running)}

    def is_running(self, name: str) -> bool:
        if name == "postgres":
            return self.database is not None and self.database.is_running
        return name in self.processes and self.processes[name].is_alive

    def await_healthy(self, name: str) -> None:
        """Until the check of a service passes, no longer than Compose waits.

        Raises:
            RuntimeError: the service ended. TimeoutError: it is unhealthy.
        """
        health = self.services[name].health
        assert health is not None, f"{name} has no check"

        def look() -> bool:
            if not self.is_running(name):
                raise RuntimeError(f"{name} ended: {self.processes[name].tail()}")
            return self.check(name).returncode == 0

        wait_for(f"{name} is healthy", look, within_s=health.patience_s, every_s=0.2)

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """The check of a service, once, as it is written."""
        health = self.services[name].health
        assert health is not None, f"{name} has no check"
        return self.execute(name, *health.words)

    def execute(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec NAME WORDS`."""
        return subprocess.run(
            self.command(name, words),
            env=self.environment(name),
            cwd=self._folder(name),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    # ── what they leave behind ────────────────────────────────────────────────────────────────────

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def strays(self, name: str) -> list[str]:
        """Files of a service outside its mounts: a container's `/` is read-only."""
        root = self.root(name)
        tmpfs = [root / path.lstrip("/") for path in self.services[name].tmpfs]
        found = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
        mounts = {root / target.lstrip("/") for target in self.services[name].mounts}
        return [
            str(path.relative_to(root))
            for path in found
            if path not in mounts and root / "bin" != path.parent and not set(path.parents) & set(tmpfs)
        ]

    # ── where things are ──────────────────────────────────────────────────────────────────────────

    def root(self, name: str) -> Path:
        return self.folder / name

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    def _make_root(self, name: str) -> None:
        service, root = self.services[name], self.root(name)
        for folder in ("bin", "home", *(path.lstrip("/") for path in service.tmpfs)):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for target, source in service.mounts.items():
            if not source.startswith("/"):
                self.volume(source).mkdir(parents=True, exist_ok=True)
            link = root / target.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source if source.startswith("/") else self.volume(source))
        image = self._image(name)
        (root / image.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for program, words in image.programs.items():
            file = root / "bin" / program
            file.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            file.chmod(0o755)

    def _folder(self, name: str) -> Path:
        return self.root(name) / self._image(name).folder.lstrip("/")

    def _image(self, name: str) -> Image:
        """What stands in for a service's image.

        Raises:
            ValueError: nothing does.
        """
        image = self.services[name].image.partition(":")[0]
        match image:
            case "muster":
                programs = Path(sys.executable).parent
                own = dict(word.split("=", 1) for word in _of_dockerfile("ENV"))
                code = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
                [folder] = _of_dockerfile("WORKDIR")
                stands_in = {name: [str(programs / name)] for name in ("muster", "python")}
                return Image(stands_in, own | code, folder)
            case "postgres":
                return Image({name: [postgres_tool(name)] for name in ("pg_isready", "psql")}, {})
            case "valkey/valkey":
                port = str(self.ports["valkey:6379"])
                server = [redis_program(), "--port", port, "--bind", "127.0.0.1"]
                cli = shutil.which("redis-cli") or shutil.which("valkey-cli") or "valkey-cli"
                return Image({"valkey-server": server, "valkey-cli": [cli, "-p", port]}, {}, "/data")
        if self.services[name].is_optional:
            return Image({}, {})
        raise ValueError(f"service {name}: nothing stands in for the image '{image}'")

    def command(self, name: str, words: Sequence[str] | None = None) -> list[str]:
        """What runs in a service's place; without `words` those of the file.

        Raises:
            ValueError: a path, an address or a program of theirs is not there.
        """
        program, *more = (
            self._translated(name, word) for word in (self.services[name].words if words is None else words)
        )
        found = shutil.which(program, path=self.environment(name)["PATH"])
        if found is None:
            raise ValueError(f"service {name}: its image has no program '{program}'")
        return [found, *more]

    def environment(self, name: str) -> dict[str, str]:
        """All variables of a service's processes: of its image, of the file, and of the tables above."""
        root, service, image = self.root(name), self.services[name], self._image(name)
        told = {key: self._translated(name, path) for key, path in SCRIPT_PATHS.get(name, {}).items()}
        if name == "credentials":
            told |= {"MUSTER_UID": str(os.getuid()), "DATABASE": self._translated(name, "postgres:5432")}
        if name == "postgres" and self.database is not None:
            told |= {"PGHOST": str(self.database.socket_folder), "PGPORT": str(self.database.port)}
        return {
            "PATH": f"{root / 'bin'}:/usr/bin:/bin",
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            **image.environment,
            **{key: self._translated(name, value) for key, value in service.environment.items()},
            **told,
        }

    def _translated(self, name: str, text: str) -> str:
        """A word or a value with addresses and paths as they are here.

        Raises:
            ValueError: a path that no mount of the service has, or an address that no table knows.
        """
        service = self.services[name]
        mounted = (*service.mounts, *service.tmpfs, *SCRIPT_PATHS.get(name, {}).values())

        def here(found: re.Match[str]) -> str:
            path = found[0]
            if path in OUR_PATHS:
                return path
            if not any(path == mount or path.startswith(f"{mount}/") for mount in mounted):
                raise ValueError(f"service {name}: '{path}' of '{text}' is nowhere in the container")
            return f"{self.root(name)}{path}"

        text = re.sub(r"(?<![\w./:])/\w[\w./-]*", here, text)
        for address, port in self.ports.items():
            at = f"127.0.0.1:{port}" if ":" in address else str(port)
            text = re.sub(rf"(?<![\w.]){address}\b", at, text)
        if strange := re.search(rf"\b({'|'.join(self.services)}):[0-9]+", text):
            raise ValueError(f"service {name}: the address '{strange[0]}' is in no table")
        return text

    # ── how they start ────────────────────────────────────────────────────────────────────────────

    def _process(
        self,
        name: str,
        words: Sequence[str],
        *,
        log: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        return Process(
            name,
            self.command(name, words),
            env={**self.environment(name), **(env or {})},
            inherits=False,
            log=self.folder / f"{log or name}.log",
            cwd=self._folder(name),
        )

    def _start_database(self) -> None:
        """What the entrypoint of PostgreSQL's image does: an empty volume becomes a cluster."""
        if self.database is not None:
            self.database.start()
            return
        wanted = self.environment("postgres")
        password = Path(wanted["POSTGRES_PASSWORD_FILE"]).read_text()
        self.database = Postgres(self.folder / "cluster", password=password, port=self.ports["postgres:5432"])
        self.database.start()
        self.database.create(wanted["POSTGRES_DB"])
        psql = [
            "psql",
            "-v",
            "ON_ERROR_STOP=1",
            "--no-psqlrc",
            "--no-password",
            "-U",
            wanted["POSTGRES_USER"],
        ]
        scripts = self.root("postgres") / INIT_FOLDER.lstrip("/")
        for number, script in enumerate(sorted(scripts.iterdir())):
            words = [*psql, "-d", wanted["POSTGRES_DB"], "-f", f"{INIT_FOLDER}/{script.name}"]
            process = self._process("postgres", words, log=f"postgres-init-{number}").start()
            if process.wait():
                raise RuntimeError(f"{script.name} failed: {process.tail()}")

    def _await_needs(self, name: str) -> None:
        for needed, condition in self.services[name].needs.items():
            if condition == "service_healthy":
                self.await_healthy(needed)
            elif condition == "service_completed_successfully":
                process = self.processes[needed]
                wait_for(f"{needed} ends", lambda one=process: not one.is_alive, within_s=PATIENCE_S)
                if process.returncode:
                    raise RuntimeError(f"{needed} ended with {process.returncode}: {process.tail()}")

    def _all_needs(self, name: str) -> Iterator[str]:
        """What a service needs, and what that needs, in the order of the start."""
        wanted, queue = set(), [name]
        while queue:
            needs = set(self.services[queue.pop()].needs) - wanted
            wanted |= needs
            queue += needs
        return (each for each in self.services if each in wanted)
