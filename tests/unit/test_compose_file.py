"""`docker-compose.yml` and `Dockerfile`, read as data: what they start exists, and nothing is exposed."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

from api.cli.main import app
from orchestrator.settings.schema import ENV_PREFIX, MusterSettings
from workers.stack.celery_app import SCHEMES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "muster:local"]


def test_every_process_of_the_stack_is_a_service() -> None:
    started = {SERVICES[name]["command"][1] for name in OURS}
    assert started == {"serve", "worker", "beat"}


@pytest.mark.parametrize("name", OURS)
def test_commands_and_their_options_are_those_of_the_command_line(name: str) -> None:
    program, command, *arguments = SERVICES[name]["command"]
    group = typer.main.get_command(app)
    assert program == "muster"
    # Parses, and runs nothing; an option that does not exist is a usage error.
    group.commands[command].make_context(command, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", OURS)
def test_settings_are_known_and_urls_name_services_without_passwords(name: str) -> None:
    environment = SERVICES[name]["environment"]
    fields = {ENV_PREFIX + field.upper() for field in MusterSettings.model_fields} | {"MUSTER_CONFIG"}
    assert {key for key in environment if key.startswith(ENV_PREFIX)} <= fields
    broker, database = (urlsplit(environment[f"MUSTER_{kind}_URL"]) for kind in ("BROKER", "DATABASE"))
    assert broker.scheme in SCHEMES
    assert {broker.hostname, database.hostname} <= set(SERVICES)
    assert broker.password is None
    assert database.password is None


def test_only_the_api_is_published_and_that_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|SECRET|TOKEN|KEY", key)
            assert not secret or value.startswith("/run/secrets/"), key
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_the_broker_keeps_what_it_has_and_drops_nothing_silently() -> None:
    command = SERVICES["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")


def test_named_volumes_and_dependencies_are_declared() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith(("$", ".")), volume
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]


def test_the_image_holds_every_package_and_the_stack() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \w+$", text, re.MULTILINE))
    assert copied == {"orchestrator", "skills", "workers", "aggregators", "api", "requirements"}
    assert re.search(r"^RUN scripts/install-locked.sh python requirements/image.txt$", text, re.MULTILINE)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
