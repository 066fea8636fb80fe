"""Slips in pool files that other programs' files lead to: each is told with its line and what to write."""

from pathlib import Path

import pytest

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.experts import EngineSpec, Expert
from orchestrator.errors import ConfigError
from orchestrator.settings.load import load_settings
from orchestrator.settings.members import LitellmParams, MemberOptions, ModelInfo
from orchestrator.settings.unfilled import unfilled

MEMBER = "  - model_name: a\n    litellm_params: {model: m}\n    model_info: {muster: {engine: scripted}}\n"
POOL = "model_list:\n" + MEMBER


def refused(folder: Path, text: str | bytes) -> str:
    """What is said of a file that only its owner reads, without its name."""
    path = folder / "pool.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        check_pool_file(path)
    return str(caught.value).replace(f"{path}", "")


def with_param(line: str) -> str:
    """A server in line 4, the parameter in line 5."""
    place = "model: m\n" if line.startswith("api_base") else "model: m, api_base: http://127.0.0.1:9/v1\n"
    params = "".join(f"      {one.strip()}\n" for one in (*place.split(", "), line))
    muster = "    model_info: {muster: {engine: server}}\n"
    return f"model_list:\n  - model_name: a\n    litellm_params:\n{params}{muster}"


@pytest.mark.parametrize(
    "form",
    [
        "${KEY}",
        "${KEY:-none}",
        "${KEY?unset}",
        "$KEY",
        '"{{KEY}}"',
        '"{{ env.KEY }}"',
        '"%KEY%"',
        "ENV[KEY]",
        "env:KEY",
        "os.environ[KEY]",
        "os.environ['KEY']",
        'os.getenv("KEY")',
        'os.environ.get("KEY")',
        "os.environ.KEY",
        "OS.ENVIRON/KEY",
        "process.env.KEY",
        "${{ secrets.KEY }}",
    ],
)
def test_a_variable_in_another_form_is_no_key(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sk-0123456789")
    said = refused(tmp_path, with_param(f"api_key: {form}"))
    assert said == (
        ":6: model_list.0.litellm_params.api_key: a variable in this form is not filled in here. "
        "Write the whole value as `os.environ/KEY`."
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("api_base: http://${HOST}:8000/v1", "HOST"),
        ("api_base: ${BASE_URL}", "BASE_URL"),
        ("api_base: $BASE_URL/v1", "BASE_URL"),
        ('api_base: "http://{{HOST}}/v1"', "HOST"),
        ("rpm: ${LIMIT}", "LIMIT"),
        ("timeout: $SECONDS", "SECONDS"),
    ],
)
def test_nor_is_it_an_address_or_a_number(line: str, name: str, tmp_path: Path) -> None:
    assert f"Write the whole value as `os.environ/{name}`." in refused(tmp_path, with_param(line))


@pytest.mark.parametrize("url", ["${DB}", "$DATABASE_URL", "os.environ[DB]"])
@pytest.mark.parametrize(
    "key", ["muster: {database_url", "general_settings: {database_url", "muster: {broker_url"]
)
def test_nor_a_database_or_a_broker(key: str, url: str, tmp_path: Path) -> None:
    assert "not filled in here. Write the whole value as `os.environ/D" in refused(
        tmp_path, f'{POOL}{key}: "{url}"}}\n'
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key", "sk-$ecret"),
        ("api_key", "$2b$10$abcdefgh"),
        ("api_key", "os.environ/KEY"),
        ("api_base", "http://h/a%20b/v1"),
        ("database_url", "postgresql://u:p$WORD@h/db"),
        ("system_prompt", "${NAME}"),
        ("model", "$HOME/m"),
    ],
)
def test_other_values_are_values(key: str, value: str) -> None:
    assert unfilled(key, value) is None


@pytest.mark.parametrize("name", ["", "$KEY", "KEY ", "{KEY}"])
def test_a_reference_without_a_name_is_told(name: str, tmp_path: Path) -> None:
    said = refused(tmp_path, with_param(f'api_key: "os.environ/{name}"'))
    assert said.endswith("api_key: what follows `os.environ/` is no name. Write os.environ/NAME.")


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("${NOWHERE:-/models}/m", "'${NOWHERE:-/models}' is more than a name (NOWHERE is not set)"),
        (
            "${HOME:-/root}/m",
            "'${HOME:-/root}' is more than a name (HOME is set); write $HOME",
        ),
        ("${}/m", "'${}' names no variable; write $NAME"),
        ("a\\0b", "holds a NUL character"),
    ],
)
def test_what_is_no_variable_in_a_path_is_told(
    path: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert part in refused(
        tmp_path, f'model_list:\n  - model_name: a\n    litellm_params: {{model: "{path}"}}\n'
    )


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("rpm: yes", "must be a number, and YAML reads yes, no, on and off as true and false"),
        ("temperature: off", "must be a number, and YAML reads"),
        ("rpm: 1e3", "must be a whole number. Write digits alone, without a unit, as in 4096."),
        ("max_tokens: 4k", "must be a whole number. Write digits alone"),
        ("timeout: 10s", "must be a number. Write digits alone"),
        ("timeout: .inf", "finite"),
        ("max_tokens: 100000000", "less than or equal to 1000000"),
    ],
)
def test_a_number_that_is_none_is_told(line: str, part: str, tmp_path: Path) -> None:
    assert part in refused(tmp_path, with_param(line))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "model_list: {a: {model: m}}\n",
            ":1: model_list: must be a list. Begin each member by `- model",
        ),
        ("model_list: [a]\n", ":1: model_list.0: must hold keys with values of their own."),
        (
            POOL.replace("scripted}", "scripted, roles: expert}"),
            ":4: model_list.0.model_info.muster.roles: must be a",
        ),
        (POOL + "muster: {embedder: hash}\n", ":5: muster.embedder: must hold keys with values"),
        (POOL + "muster: {infer_types: maybe}\n", ":5: muster.infer_types: must be true or false."),
        (
            POOL.replace("{muster: {engine: scripted}}", "{mode: embedding}"),
            "has members of other modes only (`embedding`, …), which answer no questions.",
        ),
    ],
)
def test_kinds_of_values_are_told_in_words_of_the_file(text: str, part: str, tmp_path: Path) -> None:
    said = refused(tmp_path, text)
    assert part in said
    assert "tuple" not in said
    assert "instance" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POOL.encode("utf-16"), ": is UTF-16 text, not UTF-8. Save it as UTF-8."),
        (POOL.replace("a\n", "é\n", 1).encode("latin-1"), ":2: is not UTF-8 text. Save it as UTF-8."),
        (POOL + "\x00", ":5: holds the control character U+0000. Remove it."),
        (POOL.replace("model: m", "model: m\x07"), ":3: holds the control character U+0007. Remove it."),
    ],
)
def test_bytes_that_are_no_text_are_told(text: str | bytes, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, text) == said


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (POOL.replace("    model_info", "\tmodel_info"), "Indent by blanks: YAML takes no tabs there."),
        ("[model_list]\nname = 'a'\n", "Write `key: value`; a pool file is YAML."),
        (POOL.replace("model: m", "model: %M%"), "Put the value in quotes."),
    ],
)
def test_what_yaml_does_not_take_has_a_remedy(text: str, remedy: str, tmp_path: Path) -> None:
    said = refused(tmp_path, text)
    assert "is not valid YAML" in said
    assert said.endswith(remedy)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("muster: {device: gpu}", "device 'gpu' is none. Write auto, cpu, cuda or cuda:N."),
        ('muster: {device: "0"}', "device '0' is none."),
        ("muster: {device: CUDA:0}", "device 'CUDA:0' is none."),
        ("muster: {database_url: mysql://h/d}", "muster.database_url: database 'mysql' is not supported."),
        ("muster: {database_url: data.sqlite3}", "muster.database_url: the database URL cannot be read."),
        ('muster: {database_url: "sqlite:///a\\0b"}', "the database's file holds a NUL character."),
        (
            "general_settings: {database_url: sqlite://}",
            "general_settings.database_url: an in-memory",
        ),
        ("muster: {database_url: sqlite:////tmp}", "muster.database_url: the database's file is a folder."),
        ('muster: {data_dir: "a\\0b"}', "muster.data_dir: holds a NUL character"),
        ("muster: {profile_set: .}", "'.' is a folder, not a file of questions. Name the file."),
        ("muster: {server: {host: http://0.0.0.0}}", "'http://0.0.0.0' is no address to listen on."),
        ('muster: {server: {host: "127.0.0.1:80"}}', "'127.0.0.1:80' is no address to listen on."),
    ],
)
def test_what_would_fail_at_the_first_command_is_told_by_the_check(
    line: str, said: str, tmp_path: Path
) -> None:
    told = refused(tmp_path, f"{POOL}{line}\n")
    assert told.startswith(":5: ")
    assert said in told


@pytest.mark.parametrize(
    "line",
    [
        "muster: {device: cuda:1}",
        "muster: {device: mps}",
        "muster: {database_url: postgres://127.0.0.1/d}",
        'muster: {server: {host: "::1"}}',
        'muster: {server: {host: "[::]"}}',
        "muster: {server: {host: gpu-1.example.org}}",
        'muster: {server: {host: ""}}',
    ],
)
def test_what_may_work_is_no_mistake(line: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(f"{POOL}{line}\n")
    assert check_pool_file(path).settings == load_settings(path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "http://h/v1/chat/completions",
            "names one route of the server. Write the beginning of all: http://h/v1.",
        ),
        ("http://ex ample/v1", "is no URL."),
        ("http://h\\n/v1", "is no URL."),
    ],
)
def test_an_address_that_leads_to_no_server_is_told(url: str, said: str, tmp_path: Path) -> None:
    assert f":5: 'a': api_base {said}" in refused(tmp_path, with_param(f'api_base: "{url}"'))


def test_settings_take_no_number_that_experts_refuse() -> None:
    """What a file may say is what an expert may be; else the pool would break where it is built."""
    pairs = [
        (LitellmParams, "max_tokens", Expert, "max_tokens"),
        (LitellmParams, "temperature", Expert, "temperature"),
        (ModelInfo, "max_output_tokens", Expert, "most_tokens"),
        (ModelInfo, "input_cost_per_token", Expert, "input_cost_per_token"),
        (ModelInfo, "output_cost_per_token", Expert, "output_cost_per_token"),
        (ModelInfo, "params_b", Expert, "params_b"),
        (MemberOptions, "max_model_len", EngineSpec, "max_model_len"),
        (MemberOptions, "tensor_parallel_size", EngineSpec, "tensor_parallel_size"),
        (MemberOptions, "gpu_memory_gib", EngineSpec, "memory_gib"),
    ]
    for ours, name, theirs, same in pairs:
        assert ours.model_fields[name].metadata == theirs.model_fields[same].metadata, name
