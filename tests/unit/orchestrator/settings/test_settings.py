from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.settings.load import load_settings

POOL = """\
model_list:
  - model_name: one
    litellm_params: {model: models/one}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "muster.yaml"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    return caught.value


def test_a_file_with_one_model_is_enough(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, POOL))

    assert [m.model_name for m in settings.model_list] == ["one"]
    assert settings.database_url == "sqlite:///.muster/muster.sqlite3"
    assert settings.base_dir == tmp_path


def test_an_unknown_key_names_file_line_and_nearest_key(tmp_path: Path) -> None:
    error = refused(tmp_path, POOL + "muster:\n  scheduler:\n    lease_sec: 3\n")

    assert error.line == 6
    assert error.param == "muster.scheduler.lease_sec"
    assert "muster.yaml:6: unknown key" in str(error)
    assert "Did you mean 'lease_s'?" in str(error)


def test_a_misspelt_key_of_a_member_is_found(tmp_path: Path) -> None:
    error = refused(tmp_path, POOL.replace("{model: models/one}", "{model: models/one, max_token: 5}"))

    assert error.line == 3
    assert "Did you mean 'max_tokens'?" in str(error)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (POOL + "muster: {seed: many}\n", 4, "muster.seed"),
        (POOL + "muster: {server: {port: 99999}}\n", 4, "65535"),
        (POOL + "model_list: []\n", 4, "stands twice"),
        (POOL + "muster: [1]\n", 4, "must be a mapping"),
        ("model_list: []\n", 1, "model_list"),
        ("muster: {}\n", None, "pool is empty"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "not valid YAML"),
        ("a: [1, 2\n", 2, "not valid YAML"),
        (POOL.replace("models/one}", "models/one}\n    model_info: {muster: {max_model_len: 0}}"), 4, "16"),
        (POOL.replace("models/one", "models/one, rpm: -1"), 3, "rpm"),
        (POOL.replace("models/one", "m, api_base: 'http://me:pw@host/v1'"), 3, "credentials"),
    ],
)
def test_bad_values_are_refused_with_their_line(
    tmp_path: Path, text: str, line: int | None, part: str
) -> None:
    error = refused(tmp_path, text)

    assert part in str(error)
    assert error.line == line


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "stands twice" in str(refused(tmp_path, POOL + POOL.removeprefix("model_list:\n")))


@pytest.mark.parametrize(
    "value", ["!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!binary aGk=", "[!!set {b}]"]
)
def test_kinds_of_yaml_that_are_no_json_are_refused_with_their_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(f"x-none: 1\nmodel_list: {value}\n")

    with pytest.raises(ConfigError, match="is not read") as caught:
        load_settings(path)

    assert caught.value.line == 2


def test_alias_bombs_are_refused(tmp_path: Path) -> None:
    aliases = ", ".join(["*a"] * 100)

    assert "aliases" in str(refused(tmp_path, f"a: &a [1]\nb: [{aliases}]\n"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 31)), "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("a: &a {b: *a}\n", "aliases"),
        ("a: {<<: {b: 1}, <<: {c: 1}}\n", "'<<' stands twice"),
        ("a: 1" + ":1" * 2000 + "\n", "longer than any number"),
        ("a: 0x" + "1" * 2000 + "\n", "longer than any number"),
    ],
)
def test_what_grows_when_it_is_written_out_is_refused(tmp_path: Path, text: str, part: str) -> None:
    """31 levels of 2 are two thousand million values; a sum of 60s takes time by the square of its parts."""
    assert part in str(refused(tmp_path, text))


def test_a_path_is_no_longer_than_paths_are(tmp_path: Path) -> None:
    assert "no path" in str(refused(tmp_path, POOL.replace("models/one", "'" + "${" * 3000 + "'")))


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert "deep" in str(refused(tmp_path, "a: " + "[" * 200 + "]" * 200 + "\n"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.yaml")


def test_a_secret_comes_from_the_environment_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_KEY", "s3cret")
    text = POOL.replace("models/one", "models/one, api_key: os.environ/ONE_KEY")

    settings = load_settings(write(tmp_path, text))

    key = settings.model_list[0].litellm_params.api_key
    assert key is not None
    assert key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_a_missing_secret_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONE_KEY", raising=False)

    error = refused(tmp_path, POOL.replace("models/one", "models/one, api_key: os.environ/ONE_KEY"))

    assert "ONE_KEY is not set" in str(error)


def test_a_literal_key_in_a_readable_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, POOL.replace("models/one", "models/one, api_key: sk-123"))
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="other users can read it") as caught:
        load_settings(path)
    assert "sk-123" not in str(caught.value)

    path.chmod(0o600)
    assert load_settings(path).model_list[0].litellm_params.api_key is not None


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SEED", "7")
    monkeypatch.setenv("MUSTER_SERVER__PORT", "9000")

    settings = load_settings(write(tmp_path, POOL + "muster: {seed: 1, server: {host: localhost}}\n"))

    assert settings.muster.seed == 7
    assert settings.muster.server.port == 9000
    assert settings.muster.server.host == "localhost"


def test_a_bad_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SEED", "many")

    assert "MUSTER_SEED" in str(refused(tmp_path, POOL))
