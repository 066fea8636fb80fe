"""`docker-compose.yml` and `Dockerfile`, read as data: what they start exists, and nothing is exposed."""

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

from api.cli.main import app
from orchestrator.domain.metrics import METRICS
from orchestrator.settings.schema import ENV_PREFIX, MusterSettings
from scripts.lock_images import images, locked
from workers.stack.celery_app import SCHEMES

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docker" / "monitoring"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "muster:local"]
RUNNING = [name for name in OURS if name != "migrate"]


def test_every_process_of_the_stack_is_a_service() -> None:
    started = {SERVICES[name]["command"][1] for name in OURS}
    assert started == {"migrate", "serve", "worker", "beat"}


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
    assert {key.partition("__")[0] for key in environment if key.startswith(ENV_PREFIX)} <= fields
    urls = {key: urlsplit(value) for key, value in environment.items() if key.endswith("_URL")}
    assert set(urls) == {"MUSTER_DATABASE_URL"} | ({"MUSTER_BROKER_URL"} if name in RUNNING else set())
    assert {url.hostname for url in urls.values()} <= set(SERVICES)
    assert [url.password for url in urls.values() if url.password is not None] == []
    if name in RUNNING:
        assert urls["MUSTER_BROKER_URL"].scheme in SCHEMES


def test_whoever_migrates_is_told_of_no_broker() -> None:
    assert not [key for key in SERVICES["migrate"]["environment"] if "BROKER" in key]


@pytest.mark.parametrize("name", OURS)
def test_what_an_engine_leaves_behind_is_buried(name: str) -> None:
    """The first process of a container inherits orphans, and Python does not wait for strangers."""
    assert SERVICES[name]["init"] is True


def test_only_the_api_and_grafana_are_published_and_these_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api", "grafana"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


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


def networks(name: str) -> set[str]:
    return set(SERVICES[name].get("networks", ()))


def test_no_network_of_the_published_port_or_of_the_way_out_leads_to_the_database_or_the_broker() -> None:
    outside = {name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")}
    published = set().union(*(networks(name) for name, service in SERVICES.items() if "ports" in service))
    assert published & outside
    for name in ("postgres", "valkey"):
        assert networks(name)
        assert not networks(name) & outside
        assert "ports" not in SERVICES[name]
    assert not networks("postgres") & networks("valkey")
    for name, service in SERVICES.items():  # none is on the default network, which leads everywhere
        assert networks(name) or service.get("network_mode") == "none", name
        assert networks(name) <= set(COMPOSE["networks"])
        assert not networks(name) & outside or "ports" in service, name


def test_who_asks_whom_shares_a_network() -> None:
    for name in OURS:
        assert networks(name) & networks("postgres"), name
        assert name == "migrate" or networks(name) & networks("valkey"), name


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 1024
    assert service["mem_limit"]
    assert not service.get("privileged")
    assert set(service.get("cap_add", ())) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert not [v for v in service.get("volumes", ()) if "docker.sock" in v]


@pytest.mark.parametrize("name", OURS)
def test_services_of_muster_need_no_capability_and_no_superuser(name: str) -> None:
    service = SERVICES[name]
    assert "cap_add" not in service
    user = urlsplit(service["environment"]["MUSTER_DATABASE_URL"]).username
    assert user == ("muster_owner" if name == "migrate" else "muster_app")
    assert user != SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    credentials = {v.split(":")[0] for v in service["volumes"] if "credentials" in v}
    assert credentials == {"owner-credentials" if name == "migrate" else "app-credentials"}
    if name != "migrate":
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_each_file_of_credentials_is_seen_by_one_kind_of_service_and_written_by_one() -> None:
    for volume in (name for name in COMPOSE["volumes"] if name.endswith("credentials")):
        seen = {
            name: mount
            for name, s in SERVICES.items()
            for mount in s.get("volumes", ())
            if mount.startswith(volume)
        }
        assert not seen.pop("credentials").endswith(":ro")
        assert all(mount.endswith(":ro") for mount in seen.values())
        assert set(seen) in ({"postgres"}, {"valkey"}, {"migrate"}, set(OURS) - {"migrate"})


def test_the_broker_knows_one_user_by_a_password_and_nobody_else() -> None:
    assert "--aclfile" in SERVICES["valkey"]["command"]
    nobody, muster = (ROOT / "docker" / "broker-rules").read_text().splitlines()
    assert nobody == "user default off"
    assert muster.startswith("user muster on #@DIGEST@ ")
    assert {"-@admin", "-@dangerous"} <= set(muster.split())
    for name in RUNNING:
        assert SERVICES[name]["environment"]["MUSTER_BROKER_PASSWORD_FILE"].startswith("/run/secrets/")


def test_every_image_of_others_can_be_given_by_digest() -> None:
    tags = images((ROOT / "docker-compose.yml").read_text())
    assert set(tags) == {
        *("POSTGRES_IMAGE", "VALKEY_IMAGE", "PYTHON_IMAGE"),
        *("PROMETHEUS_IMAGE", "GRAFANA_IMAGE"),
    }
    for name, service in SERVICES.items():
        assert service["image"] == "muster:local" or re.match(r"\$\{[A-Z]+_IMAGE:-", service["image"]), name
    from_lines = re.findall("^FROM (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert from_lines == ["${PYTHON_IMAGE}"]
    digest = f"sha256:{'0f' * 32}"
    text = locked(tags, lambda _: digest)
    assert f"VALKEY_IMAGE=valkey/valkey:8-alpine@{digest}\n" in text
    with pytest.raises(ValueError, match="no digest"):
        locked(tags, lambda _: "latest")


def test_what_a_build_is_told_is_asked_for_by_the_image() -> None:
    asked = set(re.findall(r"^ARG (\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {"PYTHON_IMAGE", "TORCH_INDEX"} == set(SERVICES["worker"]["build"]["args"]) <= asked


def test_the_image_holds_every_package_and_the_stack() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \w+$", text, re.MULTILINE))
    assert copied == {"orchestrator", "skills", "workers", "aggregators", "api", "requirements"}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    files = {word for line in re.findall(r"^COPY (.*) \./$", text, re.MULTILINE) for word in line.split()}
    assert {"pyproject.toml", "README.md", "LICENSE"} | {
        f"{name}.py" for name in build["py-modules"]
    } <= files
    assert re.search(r"^RUN scripts/install-locked.sh python requirements/image.txt$", text, re.MULTILINE)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)


def test_numbers_over_time_are_asked_for_by_name_and_see_one_key_only() -> None:
    for name in ("metrics-key", "prometheus", "grafana"):
        assert SERVICES[name]["profiles"] == ["monitoring"]
    assert networks("prometheus") & networks("api") == {"monitoring"}
    assert not networks("grafana") & (networks("postgres") | networks("valkey"))
    scrape = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"][0]
    [target] = scrape["static_configs"][0]["targets"]
    assert target.split(":")[0] in SERVICES
    allowed = SERVICES["api"]["environment"]["MUSTER_SERVER__ALLOWED_HOSTS"]
    assert target.split(":")[0] in json.loads(allowed)
    key = scrape["authorization"]["credentials_file"]
    [mount] = [v for v in SERVICES["prometheus"]["volumes"] if v.startswith("metrics-key:")]
    assert key.startswith(mount.split(":")[1])


def test_every_file_that_a_service_mounts_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def expressions() -> list[str]:
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [
        *(rule["expr"] for group in alerts["groups"] for rule in group["rules"]),
        *(target["expr"] for panel in panels for target in panel["targets"]),
    ]


def test_alerts_and_panels_ask_for_metrics_and_labels_that_there_are() -> None:
    known = {metric.name: {label.value for label in metric.labels} for metric in METRICS}
    asked = set()
    for expression in expressions():
        names = re.findall(r"muster_\w+", expression)
        of = [re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name for name in names]
        asked |= set(of)
        assert set(of) <= set(known), expression
        labels = {label for name in of for label in known[name]} | {"le", "job"}
        for grouping in re.findall(r"by \(([^)]*)\)", expression):
            assert {word.strip() for word in grouping.split(",")} <= labels, expression
        assert set(re.findall(r"(\w+)=\"", expression)) <= labels, expression
    assert asked >= set(known) - {"muster_read_ahead_bytes_total"}
