"""docker-compose.yml as Compose reads it: services with commands, environment, mounts and what they wait for.

What stands in the file and is understood neither here nor in `FOR_AN_ENGINE` is an error: a file that grows
is not half carried out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOR_AN_ENGINE = frozenset(
    {
        *("build", "profiles", "restart", "ports", "networks", "network_mode", "deploy"),
        *("read_only", "cap_drop", "cap_add", "security_opt", "pids_limit", "mem_limit", "init"),
    }
)
"""Keys that processes on one machine do not carry out; tests/unit/test_compose_file.py looks at them."""
CARRIED_OUT = frozenset(
    {
        *("image", "entrypoint", "command", "environment", "secrets", "volumes", "tmpfs", "depends_on"),
        *("healthcheck", "stop_grace_period"),
    }
)
CONDITIONS = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
SECRETS_FOLDER = "/run/secrets"
GRACE_S = 10.0
"""Seconds from the signal to stop until SIGKILL, where the file says nothing."""

_VARIABLE = re.compile(r"\$(?:\$|\{([A-Z_]+):-([^}]*)\}|)")
_SPAN = re.compile(r"([0-9]+)(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class Health(NamedTuple):
    """The check of a service: words to run, and how often in vain before it is unhealthy."""

    words: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_s: float

    @property
    def patience_s(self) -> float:
        """Seconds after which whoever waits for the service is told that it is unhealthy."""
        return self.start_s + self.retries * (self.interval_s + self.timeout_s)


class Service(NamedTuple):
    """One service; `mounts` and `secrets` lead from a path in the container to what stands there.

    Attributes:
        words: entrypoint and command; empty = those of the image.
        mounts: a folder of ours (`/…`) or the name of a volume. read_only: those that must not be written.
        needs: services to wait for, with the condition of each.
    """

    name: str
    image: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mapping[str, str]
    read_only: frozenset[str]
    tmpfs: tuple[str, ...]
    needs: Mapping[str, str]
    health: Health | None
    grace_s: float
    is_optional: bool


def read_compose(path: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """All services of a file, in the order in which each finds those that it needs before itself.

    Args:
        variables: what stands in the shell or the file `.env` of whoever calls Compose.

    Raises:
        ValueError: something in the file is not understood.
    """
    document = yaml.safe_load(path.read_text())
    document = {key: value for key, value in document.items() if not key.startswith("x-")}
    _known("the file", document, {"name", "services", "networks", "secrets", "volumes"})
    secrets = {}
    for name, secret in document["secrets"].items():
        _known(f"secret {name}", secret, {"file"})
        secrets[name] = str(path.parent / interpolated(secret["file"], variables))
    volumes = set(document["volumes"])
    services = {
        name: _service(name, _filled(raw, variables), path.parent, secrets, volumes)
        for name, raw in document["services"].items()
    }
    return {name: services[name] for name in _ordered(services)}


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME:-default}` filled in, `$$` as `$`; an empty variable counts as none, as in Compose."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if found[1] is None:
            raise ValueError(f"'{text}': only ${{NAME:-default}} is understood")
        return variables.get(found[1]) or found[2]

    return _VARIABLE.sub(value, text)


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return interpolated(node, variables) if isinstance(node, str) else node


def _service(
    name: str, raw: Mapping[str, Any], folder: Path, secrets: Mapping[str, str], volumes: set[str]
) -> Service:
    _known(f"service {name}", raw, CARRIED_OUT | FOR_AN_ENGINE)
    mounts, read_only = {}, set()
    for mount in raw.get("volumes", ()):
        source, target, *mode = mount.split(":")
        if mode not in ([], ["ro"]):
            raise ValueError(f"service {name}: mount '{mount}' is not understood")
        if source.startswith(("/", ".")):
            source = str((folder / source).resolve())
        elif source not in volumes:
            raise ValueError(f"service {name}: volume '{source}' is not declared")
        mounts[target] = source
        if mode:
            read_only.add(target)
    for secret in raw.get("secrets", ()):
        mounts[f"{SECRETS_FOLDER}/{secret}"] = secrets[secret]
        read_only.add(f"{SECRETS_FOLDER}/{secret}")
    needs = {needed: how["condition"] for needed, how in raw.get("depends_on", {}).items()}
    _known(f"conditions of service {name}", dict.fromkeys(needs.values()), CONDITIONS)
    grace = raw.get("stop_grace_period")
    return Service(
        name=name,
        image=raw["image"],
        words=(*_words(name, raw, "entrypoint"), *_words(name, raw, "command")),
        environment={key: _scalar(value) for key, value in raw.get("environment", {}).items()},
        mounts=mounts,
        read_only=frozenset(read_only),
        tmpfs=tuple(raw.get("tmpfs", ())),
        needs=needs,
        health=_health(name, raw.get("healthcheck")),
        grace_s=GRACE_S if grace is None else _seconds(grace),
        is_optional=bool(raw.get("profiles")),
    )


def _words(name: str, raw: Mapping[str, Any], key: str) -> Sequence[str]:
    """A list of words is carried out as it stands; a text would be split by rules of its own."""
    words = raw.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"service {name}: {key} is not a list of texts")
    return words


def _scalar(value: object) -> str:
    """A value of an environment: Compose wants booleans to be quoted."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"'{value}' is no value of an environment")
    return str(value)


def _health(name: str, raw: Mapping[str, Any] | None) -> Health | None:
    if raw is None or raw == {"disable": True}:
        return None
    _known(f"check of {name}", raw, {"test", "interval", "timeout", "retries", "start_period"})
    how, *words = raw["test"]
    if how not in ("CMD", "CMD-SHELL"):
        raise ValueError(f"check of {name}: '{how}' is not understood")
    return Health(
        words=tuple(words) if how == "CMD" else ("/bin/sh", "-c", *words),
        interval_s=_seconds(raw.get("interval", "30s")),
        timeout_s=_seconds(raw.get("timeout", "30s")),
        retries=raw.get("retries", 3),
        start_s=_seconds(raw.get("start_period", "0s")),
    )


def _seconds(text: str) -> float:
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"'{text}' is no time")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _ordered(services: Mapping[str, Service]) -> Iterator[str]:
    """Names, each after those that it needs."""
    left = dict(services)
    while left:
        ready = [name for name, service in left.items() if not set(service.needs) & set(left)]
        if not ready:
            raise ValueError(f"services wait for each other: {', '.join(left)}")
        for name in ready:
            del left[name]
            yield name


def _known(where: str, found: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
    if strange := set(found) - known:
        raise ValueError(f"{where}: {', '.join(sorted(strange))} is not understood")
