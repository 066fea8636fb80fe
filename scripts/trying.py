"""Trying a wheel: installed into a new environment, it is used from an empty folder as its user would."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "image.txt"
QUESTION = "Write 1984 in Roman numerals."
LISTENS_WITHIN_S = 180


class ReleaseError(Exception):
    """What is wrong with a release."""


def try_wheel(wheel: Path, folder: Path, *, version: str, packages_of: Path | None) -> None:
    """Install a wheel into an environment of its own in `folder`, and try it.

    Args:
        packages_of: interpreter whose packages stand in for the locked ones, and then without the demo;
            None = the locked ones are installed, and the demo is run.

    Raises:
        ReleaseError: something does not work.
    """
    environment, here = folder / "environment", folder / "here"
    here.mkdir(parents=True)
    python = environment / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(environment)], here)
    if packages_of is None:
        _run([str(ROOT / "scripts" / "install-locked.sh"), str(python), str(LOCK)], ROOT)
    else:
        _lend(packages_of, environment)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", "--no-deps", "--no-index", str(wheel)], here)
    if packages_of is None:
        _run([*pip, "check"], here)
    muster = Installed(environment, here)
    muster.tells(["--version"], f"muster {version}")
    pool = muster.run(["config", "zoo"]).strip()
    if not Path(pool).is_relative_to(environment):
        raise ReleaseError(f"the zoo is not in the installed package: {pool}")
    if packages_of is None:
        muster.run(["demo"])
        report = json.loads((here / "build" / "demo" / "report.json").read_text())
        print(f"muster demo: {report['verdict']}" if "verdict" in report else "muster demo: done")
    muster.tells(["ask", QUESTION, "-c", "roman"], "MCMLXXXIV", MUSTER_CONFIG=pool)
    muster.serves(version, pool)
    print("installed into an environment of its own: it answers, and serves pages")


class Installed:
    """The commands of an environment, run in a folder that has nothing to do with it."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self._muster = str(environment / "bin" / "muster")
        self._folder = folder
        self._env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self._env |= {"HOME": str(folder), "HF_HUB_OFFLINE": "1"}

    def run(self, arguments: list[str], **env: str) -> str:
        """Output of a command."""
        return _run([self._muster, *arguments], self._folder, {**self._env, **env})

    def tells(self, arguments: list[str], first_line: str, **env: str) -> None:
        """
        Raises:
            ReleaseError: the command's first line is another one.
        """
        printed = self.run(arguments, **env)
        if printed.splitlines()[:1] != [first_line]:
            raise ReleaseError(f"muster {' '.join(arguments)} printed {printed!r}")

    def serves(self, version: str, pool: str) -> None:
        """
        Raises:
            ReleaseError: pages, their style or the version are not served.
        """
        log = self._folder / "serve.log"
        command = [self._muster, "--config", pool, "serve", "--port", "0"]
        with (
            log.open("wb") as file,
            subprocess.Popen(command, cwd=self._folder, env=self._env, stdout=file, stderr=file) as server,
        ):
            try:
                address = _address(server, log)
                told = [json.loads(_got(f"{address}{path}"))["version"] for path in ("/version", "/v1")]
                if told != [version, version]:
                    raise ReleaseError(f"the server says that it is {told}")
                page = _got(f"{address}/").decode()
                styles = re.findall(r'href="(/[^"]+\.css[^"]*)"', page)
                if f"Muster {version}" not in page or not styles or not _got(f"{address}{styles[0]}"):
                    raise ReleaseError("the server's first page is not whole")
            finally:
                server.terminate()
                with suppress(subprocess.TimeoutExpired):
                    server.wait(30)
                server.kill()


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where a server listens, once its log says so."""
    until = time.monotonic() + LISTENS_WITHIN_S
    while time.monotonic() < until and server.poll() is None:
        if said := re.search(r"Muster listens\D*(http://[\w.:]+)", log.read_text(errors="replace")):
            return said[1]
        time.sleep(0.2)
    raise ReleaseError(f"the server does not listen:\n{log.read_text(errors='replace')[-2000:]}")


def _got(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        return bytes(response.read())


def _lend(python: Path, environment: Path) -> None:
    """Have an environment find another one's packages behind its own, but not what is linked there."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    lent = _run([str(python.absolute()), "-c", ask], environment).strip()
    own = _run([str(environment / "bin" / "python"), "-c", ask], environment).strip()
    (Path(own) / "lent.pth").write_text(f"{lent}\n")


def _run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout
