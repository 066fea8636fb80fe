"""What starts docker-compose.yml as processes carries out all of it, or says what it does not know."""

from pathlib import Path

import pytest

from tests.harness.compose import interpolated, read_compose
from tests.harness.containers import Containers
from tests.harness.processes import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()


def opened(folder: Path, text: str = TEXT) -> Containers:
    (folder / "docker-compose.yml").write_text(text)
    (folder / "secrets").mkdir()
    services = read_compose(folder / "docker-compose.yml", {"SECRETS_DIR": "secrets"})
    (folder / "stack").mkdir()
    return Containers(services, folder / "stack")


def test_each_service_stands_after_those_that_it_needs(tmp_path: Path) -> None:
    services = opened(tmp_path).services
    order = list(services)
    assert all(order.index(need) < order.index(name) for name in order for need in services[name].needs)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a", "a"), ("${A:-b}/c", "b/c"), ("${B:-b}", "given"), ("$$A", "$A"), ("${EMPTY:-b}", "b")],
)
def test_variables_are_filled_in(text: str, value: str) -> None:
    assert interpolated(text, {"B": "given", "EMPTY": ""}) == value


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    tmpfs: [/tmp]\n    mem_limit: 512m",
            "    user: nobody",
            "service valkey: user is not understood",
        ),
        ("condition: service_healthy}", "condition: soon}", "soon is not understood"),
        ("{disable: true}", "{disable: true, test: [NONE]}", "disable is not understood"),
        ("[CMD-SHELL,", "[SHELL,", "'SHELL' is not understood"),
        ("interval: 5s", "interval: often", "'often' is no time"),
        ("${WORKER_MEMORY:-8g}", "${WORKER_MEMORY}", "only .* is understood"),
        ("- data:/data", "- other:/data", "volume 'other' is not declared"),
        ("app:ro", "app:z", "is not understood"),
        ("[muster, beat]", "muster beat", "service beat: command is not a list"),
        ('"yes", --maxmemory', "yes, --maxmemory", "service valkey: command is not a list"),
        (
            '{file: "${SECRETS_DIR:-.secrets}/broker"}',
            "{name: it}",
            "name is not understood",
        ),
        ('"8321"]', "8321]", "service api: command is not a list"),
        ("DATA_DIR: /data", "DATA_DIR: true", "'True' is no value of an environment"),
        (
            "credentials: {condition: service_completed_successfully}",
            "migrate: {condition: service_started}",
            "wait for each other: .*migrate",
        ),
    ],
)
def test_what_is_not_understood_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("api", "MUSTER_DATA_DIR: /data", "MUSTER_DATA_DIR: /srv", "'/srv' of '/srv' is nowhere"),
        ("migrate", "/secrets/owner/pgpass", "/secrets/app/pgpass", "is nowhere in the container"),
        ("credentials", "[sh, /credentials.sh]", "[sh, /other.sh]", "'/other.sh' is nowhere"),
        ("worker", "@valkey:6379", "@valkey:6380", "the address 'valkey:6380' is in no table"),
        ("beat", "@postgres:5432", "@api:8321", "the address"),
        ("beat", "[muster, beat]", "[celery, beat]", "its image has no program 'celery'"),
    ],
)
def test_what_a_container_would_not_find_is_an_error(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    containers = opened(tmp_path, TEXT.replace(old, new))
    with pytest.raises(ValueError, match=message):
        containers.command(name), containers.environment(name)


def test_an_image_that_nothing_stands_in_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="service beat: nothing stands in for the image 'other'"):
        opened(tmp_path, TEXT.replace("  beat:\n", "  beat:\n    image: other\n"))


def test_what_is_written_beside_the_mounts_is_found(tmp_path: Path) -> None:
    containers = opened(tmp_path)
    for name in ("home/own", "app/cache", "data/kept", "tmp/scratch"):
        (containers.root("worker") / name).write_text("")
    assert set(containers.strays("worker")) == {"home/own", "app/cache"}
    assert (containers.volume("data") / "kept").exists()
