"""`config check`: all mistakes of a pool file that can be found without loading a model, with lines."""

import json
from pathlib import Path

import pytest

from orchestrator.bootstrap.pool_file import check_pool_file, context_of
from orchestrator.domain.experts import LONGEST_CONTEXT
from orchestrator.domain.features import Feature
from orchestrator.errors import ConfigError, MistakesError

BAD = """\
model_list:
  - model_name: ada
    litellm_params: {model: e}
    model_info: {mode: embedding}
  - model_name: two words
    litellm_params: {model: ./missing}
  - model_name: server
    litellm_params: {model: m}
    model_info: {muster: {engine: server}}
  - model_name: long
    litellm_params: {model: models/one}
    model_info:
      muster:
        max_model_len: 2048
  - model_name: typo
    litellm_params: {model: models/onee}
  - model_name: lora
    litellm_params: {model: models/one}
    model_info: {base_model: /no/base, muster: {adapter: lora, max_model_len: 16}}
muster:
  profile_set: none.jsonl
  skills: {vocabulary: none.txt}
  compositions:
    my own: {router: all, aggregator: first}
    wrong:
      router: symbolic
      router_options:
        k: 3
        kk: 4
      aggregator: majority
    other: {router: symbolicc, aggregator: majority}
    third:
      router: all
      aggregator: majority
      aggregator_options: {tie: random}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "models" / "one"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 1024}))
    return tmp_path


def mistakes(folder: Path, text: str) -> list[ConfigError]:
    (folder / "pool.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_pool_file(folder / "pool.yaml")
    return list(caught.value.mistakes) if isinstance(caught.value, MistakesError) else [caught.value]


def test_all_mistakes_are_found_with_their_lines(folder: Path) -> None:
    found = mistakes(folder, BAD)

    parts = [
        (5, "holds blanks"),
        (6, "there is no './missing'"),
        (8, "no api_base"),
        (14, "max_model_len 2048 is beyond the 1024 tokens"),
        (16, "there is no 'models/onee'"),
        (19, "there is no '/no/base'"),
        (21, "there is no 'none.jsonl'"),
        (22, "the skill list cannot be read"),
        (24, "the name 'my own' holds blanks"),
        (29, "no option 'kk'"),
        (31, "Did you mean 'symbolic'"),
        (35, "no option 'tie'"),
    ]
    told = [(mistake.line, str(mistake)) for mistake in found]
    unexpected = [m for m in told if not any(line == m[0] and part in m[1] for line, part in parts)]
    assert unexpected == []
    assert [line for line, _ in told] == [line for line, _ in parts]


def test_a_lora_without_base_is_told_with_its_line(folder: Path) -> None:
    [mistake] = mistakes(
        folder,
        "model_list:\n- model_name: a\n  litellm_params: {model: models/one}\n"
        "  model_info: {muster: {adapter: lora, max_model_len: 16}}\n",
    )

    assert (mistake.line, "LoRA adapter without base_model" in str(mistake)) == (4, True)


def test_the_default_context_is_told_where_a_model_has_less(folder: Path) -> None:
    [mistake] = mistakes(folder, "model_list: [{model_name: a, litellm_params: {model: models/one}}]\n")

    assert "max_model_len 4096, its default, is beyond the 1024" in str(mistake)


@pytest.mark.parametrize(
    ("muster", "line", "part"),
    [
        ("{engine: transformers, max_model_len: 16, options: {max_bach: 2}}", 3, "option 'max_bach'"),
        ("{max_model_len: 16, options: {device: gpu}}", 3, "option 'device'"),
        ("{engine: scripted, options: {accuracy: 2}}", 3, "option 'accuracy'"),
        ("{engine: vllm, max_model_len: 16, options: {no: 1}}", 3, "option 'no'"),
        ("{engine: server, options: {stall_timeout_s: soon}}", 3, "option 'stall_timeout_s'"),
        ("{engine: remote, options: {extra: 1}}", 3, "option 'extra'"),
    ],
)
def test_options_are_read_as_the_backend_will_without_loading_it(
    folder: Path, muster: str, line: int, part: str
) -> None:
    params = "{model: models/one, api_base: 'http://h/v1'}"
    text = f"model_list:\n- model_name: a\n  model_info: {{muster: {muster}}}\n  litellm_params: {params}\n"

    [mistake] = mistakes(folder, text)

    assert (mistake.line, part in str(mistake)) == (line, True)


@pytest.mark.parametrize("url", ["localhost:8000", "h/v1", "http://", "http://h:port/v1", "ftp://h/v1"])
def test_an_api_base_that_is_no_url_is_told_with_its_line(folder: Path, url: str) -> None:
    text = f"model_list:\n- model_name: a\n  litellm_params:\n    model: m\n    api_base: {url}\n"

    [mistake] = mistakes(folder, text)

    assert (mistake.line, "api_base is no URL" in str(mistake)) == (5, True)


def test_a_folder_that_holds_no_model_is_told(folder: Path) -> None:
    (folder / "empty").mkdir()

    [mistake] = mistakes(folder, "model_list: [{model_name: a, litellm_params: {model: empty}}]\n")

    assert "'empty' holds no config.json" in str(mistake)


def test_a_data_folder_that_is_a_file_is_told(folder: Path) -> None:
    (folder / "data").write_text("")
    member = "{model_name: a, litellm_params: {model: models/one}, model_info: {muster: {max_model_len: 64}}}"

    [mistake] = mistakes(folder, f"model_list: [{member}]\nmuster:\n  data_dir: data\n")

    assert (mistake.line, "'data' is no folder" in str(mistake)) == (3, True)


def test_a_broker_of_another_kind_is_told_with_its_line(folder: Path) -> None:
    member = "{model_name: a, litellm_params: {model: models/one}, model_info: {muster: {max_model_len: 64}}}"

    [mistake] = mistakes(folder, f"model_list: [{member}]\nmuster:\n  broker_url: kafka://h\n")

    assert (mistake.line, "'kafka' is not supported" in str(mistake)) == (3, True)


def test_a_check_makes_no_files(folder: Path) -> None:
    (folder / "pool.yaml").write_text(
        "model_list: [{model_name: a, litellm_params: {model: models/one}, "
        "model_info: {muster: {max_model_len: 64}}}]\n"
    )

    check_pool_file(folder / "pool.yaml")

    assert sorted(path.name for path in folder.iterdir()) == ["models", "pool.yaml"]


def test_a_hub_id_without_a_revision_is_told_and_so_is_a_mistyped_folder(folder: Path) -> None:
    text = (
        "model_list:\n- {model_name: a, litellm_params: {model: org/model}}\n"
        "- {model_name: b, litellm_params: {model: onee}}\n"
        "- {model_name: c, litellm_params: {model: models/one, api_base: 'http://h/v1'}}\n"
        "muster: {embedder: {model: org/embedder}}\n"
    )
    found = mistakes(folder, text)
    assert [mistake.line for mistake in found] == [2, 3, 5]
    assert all("set `revision` to a commit" in str(mistake) for mistake in found)


def test_hub_ids_and_names_of_servers_are_no_paths(folder: Path) -> None:
    (folder / "pool.yaml").write_text(
        "model_list:\n- model_name: hub\n  litellm_params: {model: org/model}\n"
        "  model_info: {muster: {revision: 0f2b5c1}}\n"
        "- {model_name: far, litellm_params: {model: a/b/c, api_base: 'http://h/v1'}}\n"
    )

    assert [expert.id for expert in check_pool_file(folder / "pool.yaml").pool.experts] == ["hub", "far"]


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 2048}}, 2048),
        ({"max_position_embeddings": 512, "rope_scaling": {"type": "yarn", "factor": 4.0}}, 2048),
        ({"max_position_embeddings": 512, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 512),
        ({"hidden_size": 4}, None),
        ([], None),
    ],
)
def test_the_context_of_a_model_is_read_as_its_file_states_it(
    tmp_path: Path, config: object, most: int | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert context_of(tmp_path) == most


COMMANDS = """\
model_list:
  - model_name: one
    litellm_params:
      model: ./none.gguf
      api_base: http://127.0.0.1:1/v1
    model_info:
      muster:
        engine: command
        options:
          command: no-such-program-7 -m {model} --port {port}
          env:
            A_NAME: "{bogus}"
  - model_name: two
    litellm_params: {model: m}
    model_info:
      muster:
        engine: command
        options:
          command: "true {port"
          ready: 5
  - model_name: three
    litellm_params: {model: m}
    model_info: {muster: {engine: command, options: {command: "true 'x"}}}
"""


def test_all_mistakes_of_commands_are_found_with_their_lines(folder: Path) -> None:
    told = [(mistake.line, str(mistake)) for mistake in mistakes(folder, COMMANDS)]
    parts = [
        (4, "there is no './none.gguf'"),
        (5, "the address of a server that a command starts is made for it"),
        (10, "'no-such-program-7' is not there on PATH"),
        (12, "nothing is filled in for {bogus}"),
        (20, "option 'ready'"),
        (23, "cannot be taken apart"),
    ]
    assert [line for line, _ in told] == [line for line, _ in parts]
    assert [text for (_, text), (_, part) in zip(told, parts, strict=True) if part not in text] == []


def test_a_command_without_mistakes_is_an_engine_of_its_device(folder: Path) -> None:
    (folder / "pool.yaml").write_text(
        "model_list:\n  - model_name: one\n    litellm_params: {model: m}\n    model_info:\n"
        '      muster: {engine: command, options: {command: "true {port}"}}\n'
    )
    [expert] = check_pool_file(folder / "pool.yaml").pool.experts
    assert expert.engine.max_model_len == LONGEST_CONTEXT
    assert Feature.PREFILL not in expert.features
    assert Feature.LOGPROBS in expert.features
