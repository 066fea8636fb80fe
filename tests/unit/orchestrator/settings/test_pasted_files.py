"""Files of LiteLLM as people have them, and YAML as people write it."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, MistakesError
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import Settings

PASTED = """\
x-defaults: &defaults
  api_base: http://127.0.0.1:9/v1
  rpm: os.environ/LIMIT
  stream_timeout: 10
model_list:
  - model_name: gpt
    litellm_params:
      <<: *defaults
      model: azure/gpt
      api_version: "2024-02-01"
      organization: org-1
      aws_region_name: eu-1
      x-note: ours
    model_info:
      mode: chat
      supports_vision: true
      supports_function_calling: true
      litellm_provider: azure
      base_model: azure/gpt
      max_input_tokens: 8000
  - model_name: embedder
    litellm_params: {model: e}
    model_info: {mode: embedding}
litellm_settings: {drop_params: true, set_verbose: true}
environment_variables: {REDIS_HOST: h}
router_settings: {routing_strategy: simple-shuffle, fallbacks: [{gpt: [other]}], num_retries: 1}
general_settings: {store_model_in_db: true, database_url: os.environ/DATABASE}
"""


def load(folder: Path, text: str) -> Settings:
    path = folder / "muster.yaml"
    path.write_text(text)
    return load_settings(path)


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIT", "60")
    monkeypatch.setenv("DATABASE", "sqlite:///x")


@pytest.mark.usefixtures("variables")
def test_a_pasted_file_works_and_says_once_what_does_nothing(tmp_path: Path) -> None:
    settings = load(tmp_path, PASTED)

    [member] = settings.model_list
    assert member.litellm_params.rpm == 60
    assert member.litellm_params.api_base == "http://127.0.0.1:9/v1"
    assert settings.database_url == "sqlite:///x"
    idle, left_out = settings.remarks
    for key in (
        "litellm_params.stream_timeout",
        "model_info.supports_vision",
        "litellm_settings",
        "environment_variables",
        "router_settings.fallbacks",
        "general_settings.store_model_in_db",
    ):
        assert idle.count(key) == 1
    assert "x-" not in idle
    assert "num_retries" not in idle
    assert left_out.endswith("embedder.")


def test_every_missing_variable_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIMIT", raising=False)
    monkeypatch.setenv("DATABASE", "")

    error = refused(tmp_path, PASTED)

    assert isinstance(error, MistakesError)
    assert [(m.line, m.param) for m in error.mistakes] == [
        (3, "model_list.0.litellm_params.rpm"),
        (27, "general_settings.database_url"),
    ]
    assert "LIMIT is not set" in str(error)


def test_a_variable_that_only_the_file_sets_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("N", raising=False)
    text = "model_list: [{model_name: a, litellm_params: {model: os.environ/N}}]\n"
    text += "environment_variables: {N: x}\n"

    assert "does not set `environment_variables`" in str(refused(tmp_path, text))


def test_what_a_variable_holds_is_checked_at_its_place_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("N", "s3cret")

    error = refused(
        tmp_path, "model_list:\n- model_name: a\n  litellm_params: {model: m, rpm: os.environ/N}\n"
    )

    assert (error.line, error.param) == (3, "model_list.0.litellm_params.rpm")
    assert "s3cret" not in str(error)


ONE = "model_list: [{model_name: a, litellm_params: {model: m%s}, model_info: {%s}}]\n"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        (ONE % (", max_token: 5", ""), "max_tokens"),
        (ONE % (", stream_timout: 5", ""), "stream_timeout"),
        (ONE % (", aws_regoin_name: x", ""), "aws_region_name"),
        (ONE % ("", "suports_vision: true"), "supports_vision"),
        (ONE % ("", "muster: {promt: plain}"), "prompt"),
        (ONE % ("", "") + "router_setings: {}\n", "router_settings"),
        (ONE % ("", "") + "router_settings: {fallback: []}\n", "fallbacks"),
        (ONE % ("", "") + "general_settings: {databse_url: x}\n", "database_url"),
        (ONE % ("", "") + "muster: {servr: {}}\n", "server"),
    ],
)
def test_a_misspelt_key_of_ours_or_of_litellms_is_refused_with_the_nearest(
    text: str, near: str, tmp_path: Path
) -> None:
    assert f"Did you mean '{near}'?" in str(refused(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (ONE % ("", "") + "general_settings: {master_key: sk-1234}\n", "127.0.0.1"),
        (ONE % ("", "") + "general_settings: {allowed_ips: [127.0.0.1]}\n", "proxy"),
        (ONE % ("", "") + "general_settings: {enable_jwt_auth: true}\n", "proxy"),
        (ONE % ("", "") + "guardrails: []\n", "no guardrails"),
        (ONE % ("", "") + "include: [other.yaml]\n", "one file"),
        (ONE % ("", "") + "litellm_settings: {max_budget: 10}\n", "budget"),
        (ONE % (", max_budget: 10", ""), "budget"),
        (ONE % (", litellm_credential_name: x", ""), "api_key: os.environ/NAME"),
        (ONE % (", base_url: 'http://h'", ""), "api_base"),
    ],
)
def test_what_would_protect_and_does_not_is_refused_with_a_remedy(
    text: str, remedy: str, tmp_path: Path
) -> None:
    error = refused(tmp_path, text)

    assert remedy in str(error)
    assert "sk-1234" not in str(error)
    assert error.line is not None


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("4", "a number"),
        ("no", "a yes or no"),
        ("on", "a yes or no"),
        ("010", "a number"),
        ("1.0e+3", "a number"),
        ("0x1f", "a number"),
        ("1:30", "a number"),
        ("2024-01-01", "a date"),
        ("1_000", "a number"),
        (".5", "a number"),
    ],
)
def test_words_that_yaml_takes_for_something_else_want_quotes(word: str, kind: str, tmp_path: Path) -> None:
    error = refused(tmp_path, f"model_list:\n- model_name: {word}\n  litellm_params: {{model: m}}\n")

    assert error.line == 2
    assert "quotes are missing" in str(error)
    assert f"reads `{word}` as {kind}" in str(error)
    assert f'Write `model_name: "{word}"`.' in str(error)


def test_quotes_are_missed_wherever_text_is_wanted(tmp_path: Path) -> None:
    text = ONE % (", api_key: 1234567", "muster: {revision: 20240101, dtype: no, options: {day: 2024-01-01}}")
    path = tmp_path / "muster.yaml"
    path.touch(mode=0o600)

    error = refused(tmp_path, text)

    assert isinstance(error, MistakesError)
    assert str(error).count("quotes are missing") == 4
    assert "1234567" not in str(error)


def test_keys_are_names_as_they_are_written(tmp_path: Path) -> None:
    spec = "{router: all, aggregator: first}"

    settings = load(
        tmp_path, ONE % ("", "") + f"muster: {{compositions: {{no: {spec}, 4: {spec}, on: {spec}}}}}\n"
    )

    assert list(settings.muster.compositions) == ["no", "4", "on"]


def test_a_key_without_value_is_not_set(tmp_path: Path) -> None:
    settings = load(tmp_path, ONE % (", rpm: ", "") + "muster:\n  server:\n  seed:\nrouter_settings:\n")

    assert settings.muster.server.port == 8321
    assert settings.model_list[0].litellm_params.rpm is None


def test_a_name_without_value_is_missing(tmp_path: Path) -> None:
    error = refused(tmp_path, "model_list:\n- model_name:\n  litellm_params: {model: m}\n")

    assert str(error).endswith("muster.yaml:2: model_list.0.model_name is missing.")


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        """\
model_list:
  - model_name: 4
    litellm_params: {modell: m}
muster:
  sed: 1
  server: {port: 99999}
general_settings: {master_key: x}
""",
    )

    assert isinstance(error, MistakesError)
    assert [m.line for m in error.mistakes] == [2, 3, 3, 5, 6, 7]
    assert error.line == 2


def test_home_and_variables_in_paths_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("WEIGHTS", "/weights")
    text = ONE.replace("model: m%s", "model: $WEIGHTS/m%s") % ("", "base_model: '${WEIGHTS}/b'")

    settings = load(tmp_path, text + "muster: {data_dir: ~/muster, embedder: {model: ~/e}}\n")

    assert settings.model_list[0].litellm_params.model == "/weights/m"
    assert settings.model_list[0].model_info.base_model == "/weights/b"
    assert settings.muster.data_dir == Path("/home/me/muster")
    assert settings.muster.embedder.model == "/home/me/e"


def test_a_variable_in_a_path_that_is_not_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEIGHTS", raising=False)

    error = refused(tmp_path, "model_list:\n- model_name: a\n  litellm_params: {model: $WEIGHTS/m}\n")

    assert error.line == 3
    assert "WEIGHTS is not set" in str(error)
