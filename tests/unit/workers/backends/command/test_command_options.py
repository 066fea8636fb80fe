"""Options of commands: words, placeholders, and the mistakes that are found before anything is started."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, SecretStr, ValidationError

from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.redaction import redact
from tests.odd.making import LFS, PAGE
from workers.backends.command.checking import mistakes, require_none
from workers.backends.command.options import (
    CommandOptions,
    Filling,
    filled,
    launch_of,
    placeholders_in,
    words_of,
)
from workers.backends.registry import check_options, spec_mistakes
from workers.engine_host.memory import needed_gib

FILLING = Filling("m", "e", 8123, SecretStr("key-17"), 4, 2048)


def argv(command: JsonValue, *, model: str = "m") -> list[str]:
    options = CommandOptions.model_validate({"command": command})
    return list(launch_of(options, FILLING._replace(model=model)).argv)


def spec(
    command: JsonValue = "true {port}", *, model: str = "m", context: int = 2048, **options: JsonValue
) -> EngineSpec:
    given: dict[str, JsonValue] = {"command": command, **options}
    return EngineSpec(id="e", backend="command", model=model, max_model_len=context, options=given)


def told(wanted: EngineSpec) -> list[tuple[str, str]]:
    return [(one.param, one.message) for one in mistakes(wanted)]


def test_placeholders_are_filled_in_within_their_words() -> None:
    assert argv(
        "serve -m {model} --port={port} {host}:{port} -np {concurrent} -c {max_model_len} {name}"
    ) == [*("serve", "-m", "m", "--port=8123", "127.0.0.1:8123", "-np", "4", "-c", "2048", "e")]
    assert argv(["serve", "--key", "{api_key}", "a b"]) == ["serve", "--key", "key-17", "a b"]


def test_model_path_with_blanks_quotes_or_braces_stays_one_word() -> None:
    for path in ("/my models/x y.gguf", "/a'b\"c.gguf", "/{port}/{}{{model}}.gguf", "/$HOME/*;rm"):
        assert argv("serve -m {model} {port}", model=path) == ["serve", "-m", path, "8123"]


def test_braces_that_hold_no_name_are_text() -> None:
    given = '{"a": {"b": {}}, "c": [{"d": 1}]}'
    assert argv(f"serve {shlex.quote(given)} {{{{port}}}} {{port}}") == ["serve", given, "{port}", "8123"]


def test_no_shell_reads_the_command() -> None:
    assert argv("serve $HOME `id` $(id) a;b | c > d & *") == [
        *("serve", "$HOME", "`id`", "$(id)", "a;b", "|", "c", ">", "d", "&", "*")
    ]


def test_program_may_be_named_by_home_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("LLAMA", "/opt/llama")
    assert argv("~/bin/serve ~")[0] == "/home/me/bin/serve"
    assert argv("$LLAMA/serve x")[0] == "/opt/llama/serve"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), min_size=1))
def test_words_come_out_as_they_were_quoted(words: list[str]) -> None:
    assert words_of(shlex.join(words)) == words == words_of(tuple(words))


@given(st.text(), st.text(st.sampled_from("{}modelprt x")))
def test_what_is_filled_in_is_never_read_again(value: str, text: str) -> None:
    """Each placeholder gives the value once: so long is the result."""
    values = dict.fromkeys(placeholders_in(text), value)
    n_literal = len(filled(text, dict.fromkeys(values, "")))
    assert len(filled(text, values)) == n_literal + len(value) * len(list(placeholders_in(text)))


def test_options_have_ranges() -> None:
    wrong = ({"ready_s": 0}, {"stop": "TERMINATE"}, {"health": "health"}, {"concurrent": 0}, {"command": ""})
    for options in wrong:
        with pytest.raises(ValidationError):
            CommandOptions.model_validate({"command": "serve {port}", **options})
    assert CommandOptions.model_validate({"command": "serve", "stop": "SIGINT"}).signal_number == 2
    assert CommandOptions.model_validate({"command": "serve", "stop": "term"}).signal_number == 15


def test_slots_have_one_name() -> None:
    with pytest.raises(EngineLoadError, match="is called `concurrent` here"):
        check_options(spec(max_concurrent=3))


def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    wanted = spec(
        "no-such-program-7 -m {model} {ports} {bogus}",
        model="./none.gguf",
        env={"A": "{key}", "B": "os.environ/NOT_SET_HERE_7"},
    )
    assert told(wanted) == [
        ("options.command", "'no-such-program-7' is not there on PATH."),
        ("options.command", "nothing is filled in for {ports}."),
        ("options.command", "nothing is filled in for {bogus}."),
        ("options.env.A", "nothing is filled in for {key}."),
        ("options.command", "the command is not told its port."),
        ("options.env.B", "environment variable NOT_SET_HERE_7 is not set."),
        ("model", "there is no './none.gguf'."),
    ]
    with pytest.raises(
        EngineLoadError, match=r"PATH.*ports.*bogus.*its port.*NOT_SET_HERE_7.*none"
    ) as caught:
        require_none(wanted)
    assert caught.value.is_lasting


def test_command_without_mistakes_has_none() -> None:
    assert told(spec()) == []
    assert told(spec("true", env={"PORT": "{port}"})) == []
    assert told(spec(["true", "{port}", "{{bogus}}"])) == []
    assert told(spec("true {port} {model}", model="owner/name:Q4_K_M")) == []
    assert spec_mistakes(EngineSpec(id="e", backend="scripted", model="m")) == ()


def test_variable_that_another_stands_for_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE_7", "{port} and {bogus}, {{so}} on")
    monkeypatch.setenv("THREADS_7", "16")
    env: dict[str, JsonValue] = {"A": "os.environ/MINE_7", "N": "os.environ/THREADS_7", "P": "{port}"}
    options = CommandOptions.model_validate({"command": "true {port}", "env": env})
    launched = launch_of(options, FILLING).env
    assert [launched[name] for name in env] == ["{port} and {bogus}, {{so}} on", "16", "8123"]
    assert redact("{port} and {bogus}, {{so}} on; 16 threads") == "[redacted]; 16 threads"


def test_quote_that_is_not_closed_is_told() -> None:
    assert told(spec("true 'a {port}")) == [
        ("options.command", "the command cannot be taken apart: No closing quotation.")
    ]


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("   ", "the command is blank"),
        ("true {port} | tee log", "'|' is for shells"),
        ("true {port} && true", "'&&' is for shells"),
        ("true {port} ; true", "';' is for shells"),
        ("true {port} &", "'&' is for shells"),
        ("true {port} 2>&1", "'2>&1' is for shells"),
        ("true {port} > log", "'>' is for shells"),
        ("true -m $MODELS/m.gguf {port}", "'$MODELS/m.gguf' is for shells to fill in"),
        ("true -m ${MODELS}/m.gguf {port}", "'${MODELS}/m.gguf' is for shells to fill in"),
        ("true -m ~/m.gguf {port}", "'~/m.gguf' is for shells to fill in"),
        ("true -t $(nproc) {port}", "'$(nproc)' is for shells to fill in"),
        ("THREADS=1 true {port}", "'THREADS=…' in front of a command is for shells"),
        (["true", "a\0b", "{port}"], "holds a NUL character"),
        ("/etc {port}", "'/etc' is a folder"),
    ],
)
def test_what_no_program_is_started_by_is_told(command: JsonValue, part: str) -> None:
    found = [message for key, message in told(spec(command)) if key == "options.command"]
    assert any(part in message for message in found), found


def test_words_of_a_list_are_arguments_whatever_a_shell_makes_of_them() -> None:
    assert told(spec(["true", "|", "&&", "A=1", "{port}"])) == []
    assert told(spec("true A=1 --x=a|b --stop=a$ --cost=$5 {port}")) == []
    assert told(spec(["true", "$MODELS", "~/m", "{port}"])) == []


def test_value_of_a_variable_that_only_a_shell_would_fill_in_is_told() -> None:
    for text in ("$KEY", "${KEY}", "/opt/lib:$LD_LIBRARY_PATH", "$(cat key)"):
        assert told(spec("true {port}", env={"A": text})) == [
            ("options.env.A", "its value is for shells to fill in, and no shell sees it.")
        ]
    assert told(spec("true {port}", env={"A": "pa$word, $5", "B": "{{port}}"})) == []


def test_value_of_a_variable_that_none_can_have_is_told() -> None:
    assert told(spec("true {port}", env={"A": "b\0c"})) == [
        ("options.env.A", "its value holds a NUL character.")
    ]
    assert told(spec("true {port}", env={"A": "two\nlines"})) == []


def test_program_that_may_not_be_run_is_told(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    assert told(spec(f"{script} {{port}}")) == [
        ("options.command", f"'{script}' is not a program that may be run.")
    ]


def test_program_is_looked_for_where_the_command_will_look(tmp_path: Path) -> None:
    script = tmp_path / "mine-7"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert told(spec("mine-7 {port}", env={"PATH": str(tmp_path)})) == []
    assert told(spec("mine-7 {port}")) != []


def test_context_that_nobody_stated_cannot_be_filled_in() -> None:
    assert told(spec("true {port} {max_model_len}", context=LONGEST_CONTEXT)) == [
        ("options.command", "{max_model_len} is used, and nobody said it.")
    ]


def test_model_that_the_command_does_not_name_is_only_a_name() -> None:
    assert told(spec("true {port}", model="./none.gguf")) == []


def test_promised_memory_counts_before_an_estimate(tmp_path: Path) -> None:
    assert needed_gib(spec(memory_gib=3.5)) == 3.5
    assert needed_gib(spec(memory_gib=3.5).replaced(memory_gib=2.0)) == 3.5
    assert needed_gib(spec().replaced(memory_gib=2.0)) == 2.0
    assert needed_gib(spec(model=str(tmp_path / "none.gguf"))) is None


def test_template_of_the_pool_file_is_no_word_of_the_command() -> None:
    said = told(spec("true {port}").replaced(chat_template="{{ messages }}"))
    assert [param for param, _ in said] == ["chat_template"]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("model.safetensors", LFS, "model.safetensors is a Git LFS pointer"),
        ("model-00002-of-00002.safetensors", PAGE, "is a web page in place of the file"),
        ("model.safetensors", "Entry not found", "is a text in place of weights"),
        ("tokenizer.json", "", "tokenizer.json is empty"),
        ("config.json", "[]", "config.json holds no JSON object"),
    ],
)
def test_folder_whose_files_are_not_what_they_say_is_told(
    tmp_path: Path, name: str, content: str, part: str
) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "notes.safetensors.txt").write_text("anything")
    said = told(spec("true {port} {model}", model=str(tmp_path)))
    assert [param for param, _ in said] == ["model"]
    assert part in said[0][1]


def test_folder_of_a_kind_that_is_not_known_here_is_for_its_server_to_judge(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "homegrown", "auto_map": {}}')
    (tmp_path / "weights.of.it").write_bytes(b"anything")
    assert told(spec("true {port} {model}", model=str(tmp_path))) == []
