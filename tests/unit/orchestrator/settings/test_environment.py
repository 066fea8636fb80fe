"""Variables that are settings, those of Kubernetes, misspelt, empty and malformed ones."""

import os
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, MistakesError
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import MusterSettings, Settings

POOL = "model_list: [{model_name: one, litellm_params: {model: m}}]\n"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("MUSTER_")]:
        monkeypatch.delenv(name)


def load(folder: Path, text: str = POOL) -> Settings:
    path = folder / "muster.yaml"
    path.write_text(text)
    return load_settings(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_PORT", "tcp://10.0.0.7:8321"),
        ("MUSTER_SERVICE_HOST", "10.0.0.7"),
        ("MUSTER_SERVICE_PORT", "8321"),
        ("MUSTER_SERVICE_PORT_HTTP", "8321"),
        ("MUSTER_PORT_8321_TCP", "tcp://10.0.0.7:8321"),
        ("MUSTER_PORT_8321_TCP_PROTO", "tcp"),
        ("MUSTER_PORT_8321_TCP_ADDR", "10.0.0.7"),
        ("MUSTER_PORT_53_UDP", "udp://10.0.0.7:53"),
        ("MUSTER_API_SERVICE_HOST", "10.0.0.7"),
        ("MUSTER_SERVER_PORT", "tcp://10.0.0.7:8321"),
        ("MUSTER_DB_PORT_5432_TCP_PORT", "5432"),
    ],
)
def test_what_kubernetes_injects_for_services_is_left_alone(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    settings = load(tmp_path)

    assert settings.remarks == ()
    assert settings.muster == MusterSettings()


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("MUSTER_SEEDS", "7", "MUSTER_SEED"),
        ("MUSTER_PORT", "8080", "MUSTER_SERVER__PORT"),
        ("MUSTER_SERVER__PROT", "8080", "MUSTER_SERVER__PORT"),
        ("MUSTER_SERVER_PORT", "8080", "MUSTER_SERVER__PORT"),
        ("MUSTER_BROKER", "redis://h", "MUSTER_BROKER_URL"),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest_and_does_nothing(
    name: str, value: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    settings = load(tmp_path)

    [remark] = settings.remarks
    assert name in remark
    assert f"did you mean {near}?" in remark
    assert settings.muster == MusterSettings()


@pytest.mark.parametrize(
    "name",
    [
        "MUSTER_BROKER_URL",
        "MUSTER_SEED",
        "MUSTER_SERVER__PORT",
        "MUSTER_COMPOSITIONS",
        "MUSTER_DATA_DIR",
        "MUSTER_NO",
    ],
)
def test_an_empty_variable_is_not_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    settings = load(tmp_path)

    assert settings.muster == MusterSettings()
    assert not settings.is_stack
    assert settings.remarks == ()


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        (
            "MUSTER_SERVER",
            "8080",
            'a JSON object, such as {"host": …}; or set one member: MUSTER_SERVER__HOST=…',
        ),
        ("MUSTER_SERVER", "{port: 8080}", "JSON object"),
        ("MUSTER_SKILLS", '["builtin"]', "MUSTER_SKILLS__ANNOTATOR"),
        ("MUSTER_COMPOSITIONS", "careful", "MUSTER_COMPOSITIONS__NAME=…"),
        ("MUSTER_COMPOSITIONS__X__EXPERTS", "a,b", 'a JSON list, such as ["a", "b"]'),
        ("MUSTER_COMPOSITIONS__X__ROUTER_OPTIONS", "k=3", "JSON object"),
    ],
)
def test_a_malformed_nested_value_names_the_variable_and_the_form(
    name: str, value: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path)

    assert str(caught.value).startswith(f"{name}: must be ")
    assert form in str(caught.value)
    assert caught.value.param == name


def test_nested_values_of_every_form_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SERVER", '{"port": 1}')
    monkeypatch.setenv("MUSTER_COMPOSITIONS__X", '{"router": "all", "aggregator": "first"}')
    monkeypatch.setenv("MUSTER_COMPOSITIONS__X__ROUTER_OPTIONS", '{"k": 3}')
    monkeypatch.setenv("muster_seed", "5")

    muster = load(tmp_path).muster

    assert (muster.server.port, muster.seed) == (1, 5)
    assert muster.compositions["x"].router == "all"
    assert muster.compositions["x"].router_options == {"k": 3}


@pytest.mark.parametrize(
    ("name", "value"),
    [("MUSTER_SERVER__PORT", "many"), ("MUSTER_SERVER", '{"port": "many"}'), ("MUSTER_SEED", "1.5")],
)
def test_a_bad_value_is_blamed_on_its_variable_where_the_file_sets_the_key_too(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, POOL + "muster: {seed: 1, server: {port: 80}}\n")

    assert str(caught.value).startswith(f"{name}: ")
    assert caught.value.line is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MUSTER_SERVER", '{"prt": 1}', "unknown key 'muster.server.prt'. Did you mean 'port'?"),
        ("MUSTER_COMPOSITIONS", '{"a": {"router": 5}}', "(compositions.a.router)"),
        ("MUSTER_COMPOSITIONS__A", '{"router": 5}', "(compositions.A.router)"),
        ("MUSTER_COMPOSITIONS", '{"a": {"aggregator": "first"}}', "Field required (compositions.a.router)"),
        ("MUSTER_COMPOSITIONS__X__ROUTER_OPTIONS", "[" * 50 + "]" * 50, "nested deeper than 32"),
        ("MUSTER_COMPOSITIONS__X__ROUTER_OPTIONS__K", '{"a":' * 5000 + "1" + "}" * 5000, "nested deeper"),
    ],
)
def test_a_mistake_inside_a_variable_names_it_and_the_member(
    name: str, value: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, POOL + "muster:\n  server: {port: 80}\n")

    assert str(caught.value).startswith(f"{name}: ")
    assert told.lower() in str(caught.value).lower()
    assert (caught.value.line, caught.value.param) == (None, name)


def test_a_mistake_of_the_file_is_not_blamed_on_a_variable_of_the_same_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_SERVER", '{"port": 1}')

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, POOL + "muster:\n  server:\n    hosst: a\n")

    assert (caught.value.param, caught.value.line is None) == ("muster.server.hosst", False)


def test_all_mistakes_of_the_environment_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_SERVER", "x")
    monkeypatch.setenv("MUSTER_SKILLS", "y")

    with pytest.raises(MistakesError) as caught:
        load(tmp_path)

    assert [mistake.param for mistake in caught.value.mistakes] == ["MUSTER_SERVER", "MUSTER_SKILLS"]


@pytest.mark.parametrize(
    "name",
    [
        *("MUSTER_MASTER_KEY", "MUSTER_API_KEY", "muster_master_key", "MUSTER_API_KEYS", "MUSTER_TOKEN"),
        *("MUSTER_SERVER__API_KEY", "MUSTER_ADMIN_PASSWORD", "MUSTER_SERVER__AUTH", "MUSTER_ALLOWED_IPS"),
    ],
)
def test_a_variable_that_would_protect_and_does_not_is_refused_without_its_value(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(ConfigError, match="nothing is protected") as refused:
        load(tmp_path)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_a_seed_that_no_library_takes_is_told_with_its_variable(
    seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_SEED", seed)
    with pytest.raises(ConfigError, match="MUSTER_SEED"):
        load(tmp_path)


def test_a_name_that_stands_twice_is_told_with_the_line_of_the_second(tmp_path: Path) -> None:
    member = "  - {model_name: one, litellm_params: {model: m}}\n"
    with pytest.raises(ConfigError, match=r"muster.yaml:3: .*'one' stands twice"):
        load(tmp_path, "model_list:\n" + member + member)
