"""No secret leaves a process: texts of every kind, settings, errors, logs, tracebacks."""

import io
import json
import logging
import sys
import threading
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestrator import redaction
from orchestrator.errors import ConfigError, MusterError
from orchestrator.redaction import REDACTED, redact, remember, secrets_in_command
from orchestrator.runtime.logs import OneLine, _log_uncaught, safe_stderr, safe_traceback
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import GeneralSettings, MusterSettings

SECRET = "Tr0ub4dor-horse"
URLS = (
    "postgresql://u:{}@h:5432/d",
    "postgresql+psycopg://u:{}@h/d?sslmode=require",
    "redis://:{}@h:6379/0",
    "rediss://default:{}@h",
    "amqp://guest:{}@h//",
    "https://u:{}@h/v1",
    # Malformed: a slash, an at sign or a colon too many or too few.
    "postgresql:/u:{}@h/d",
    "postgresql//u:{}@h/d",
    "postgresql:u:{}@h/d",
    "postgresql://u:{}/with@more@h/d",
    "://u:{}@h",
    "u:{}@h:5432/d",
    "redis://a:{0}@h1;redis://b:{0}@h2",
)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize(
    ("command", "secrets"),
    [
        (f"serve --api-key {SECRET} --port {{port}}", [SECRET]),
        (["serve", f"--hf-token={SECRET}"], [SECRET]),
        (f"env HF_TOKEN={SECRET} serve", [SECRET]),
        ("serve hf_0123456789abcdef", ["hf_0123456789abcdef"]),
        (f"serve --db postgresql://u:{SECRET}@h/d", [SECRET]),
        (f'serve "--api-key {SECRET}', []),
        ("serve --api-key {api_key} --max-token 512 --ssl-key /etc/key.pem --eos-token x", []),
        ("serve --token --verbose --api-key os.environ/KEY", []),
        ("serve --tokenizer big -ngl 99", []),
        (["serve", 7], []),
        (None, []),
    ],
)
def test_secrets_among_the_words_of_a_command_are_found(command: object, secrets: list[str]) -> None:
    assert list(dict.fromkeys(secrets_in_command(command))) == secrets
    redaction.remember_mapping({"options": {"command": command}})
    assert redaction.without_known(f"said {SECRET}") == (
        "said [redacted]" if SECRET in secrets else f"said {SECRET}"
    )


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("around", ["{}", "cannot open {} now", "url={!r},", '{{"url": "{}"}}', "({})"])
def test_passwords_of_urls_are_hidden_however_the_url_is_written(url: str, around: str) -> None:
    shown = redact(around.format(url.format(SECRET)))
    assert SECRET not in shown
    assert "[redacted]@h" in shown


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Bearer {SECRET}'}}",
        f"authorization={SECRET}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"sent bearer {SECRET}",
        f"password={SECRET} host=h",
        f"PGPASSWORD='{SECRET}'",
        f'"api_key": "{SECRET}"',
        f"client_secret = '{SECRET}'",
        f"api_key: {SECRET}",
        f"https://h/v1?api_key={SECRET}&x=1",
        f"x-api-key: {SECRET}",
        f"GET /v1/models?key={SECRET} HTTP/1.1",
        f"GET /v1/models?x=1&access_token={SECRET} HTTP/1.1",
        f"sk-proj-{SECRET}",
        f"hf_{SECRET}",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET.replace('-', '')}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_is_written_like_a_secret_is_hidden_although_nobody_told_of_it(text: str) -> None:
    shown = redact(text)
    assert redaction.REDACTED in shown
    assert all(part not in shown for part in (SECRET, SECRET.replace("-", ""), "IOSFODNN7", "eyJ"))


@pytest.mark.parametrize(
    "text",
    [
        "model_list.0.litellm_params.api_key: environment variable KEY is not set. Export it.",
        "Use `api_key: os.environ/NAME`, or `chmod 600` the file.",
        "a prompt of 5000 tokens plus max_tokens=300 of output",
        'password authentication failed for user "muster"',
        "postgresql://muster@postgres:5432/muster",
        "basic understanding; bearer of news",
        "ask a.person@example.org",
        "job 5f1c: 12:30:05 done",
    ],
)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_hidden_in_every_form_it_is_written_in() -> None:
    secret = 'p/a s"s\\ü%@'
    redaction.remember(secret)
    forms = [secret, json.dumps(secret), repr(secret), "p%2Fa%20s%22s%5C%C3%BC%25%40", f"x{secret}y"]
    assert all(redaction.REDACTED in redact(form) for form in forms)
    assert all('s"s' not in redact(form) for form in forms)


def test_a_short_secret_is_hidden_as_a_word_and_not_inside_others() -> None:
    redaction.remember("cat")
    assert redact("the cat and the category") == "the [redacted] and the category"


def test_every_error_is_redacted_when_it_is_made() -> None:
    error = ConfigError(f"cannot open redis://:{SECRET}@h.", remedy=f"Mend amqp://u:{SECRET}@h.")
    assert SECRET not in f"{error} {error!r} {error.message} {vars(error)}"


def test_log_records_and_their_tracebacks_are_redacted() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    error = ValueError(f"postgresql://u:{SECRET}@h")
    log.error("failed with %s", error, exc_info=error)
    assert SECRET not in safe_traceback(error)
    assert "ValueError" in stream.getvalue()
    assert SECRET not in stream.getvalue()


PASTED = f"""
model_list:
  - model_name: a
    litellm_params:
      model: gpt-x
      api_base: http://127.0.0.1:1/v1
      api_key: {SECRET}-1
      aws_secret_access_key: {SECRET}-2
      azure_ad_token: {SECRET}-3
      token: {SECRET}-9
      extra_headers: {{x-api-key: {SECRET}-4}}
environment_variables:
  OPENAI_API_KEY: {SECRET}-5
router_settings: {{redis_password: {SECRET}-6}}
general_settings:
  database_url: postgresql://u:{SECRET}-7@h/d
  alert_to_webhook_url: {{all: "https://u:{SECRET}-8@hook"}}
"""


def written(folder: Path, text: str, *, mode: int) -> Path:
    path = folder / "pool.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_readable_file_with_a_secret_under_any_name_is_refused_and_shows_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, PASTED, mode=0o644))
    message = str(caught.value)
    assert SECRET not in message
    for name in (
        "api_key",
        "aws_secret_access_key",
        "azure_ad_token",
        "x-api-key",
        "OPENAI_API_KEY",
        "redis_password",
        "database_url",
    ):
        assert f"`{name}: os.environ/NAME`" in message


def test_settings_of_a_private_file_show_no_secret_and_make_all_of_them_known(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, PASTED, mode=0o600))
    assert SECRET not in f"{settings!r} {settings} {settings.general_settings!r} {settings.model_list[0]}"
    for number in range(1, 10):
        assert SECRET not in redact(f"it said {SECRET}-{number}.")


@pytest.mark.parametrize("url", URLS)
def test_a_database_or_broker_url_of_the_environment_is_shown_by_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", url.format(SECRET))
    monkeypatch.setenv("MUSTER_BROKER_URL", url.format(SECRET))
    settings = MusterSettings()
    assert SECRET not in f"{settings!r} {settings} {GeneralSettings(database_url=url.format(SECRET))!r}"
    assert SECRET not in redact(f"spelled out by a library: {SECRET}")


def test_validation_errors_do_not_quote_what_they_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SEED", SECRET)
    with pytest.raises(ValidationError) as caught:
        MusterSettings()
    assert SECRET not in str(caught.value)


def test_values_of_referred_variables_become_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", SECRET)
    text = "model_list: [{model_name: a, litellm_params: {model: m, api_key: os.environ/SOME_NAME}}]"
    settings = load_settings(written(tmp_path, text, mode=0o644))
    assert settings.model_list[0].litellm_params.api_key is not None
    assert redact(f"wrong key {SECRET}") == "wrong key [api_key]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system_prompt", "Contact: bob@example.org. Never say a:b@c."),
        ("PATH", "/usr/bin:/opt/tools/bin:/opt/node@18/bin"),
        ("PS1", "\\u@\\h:\\w$ "),
        ("max_tokens", "512"),
        ("eos_token", "</s>"),
        ("key", "gpt-4o"),
        ("vertex_credentials", "/etc/keys/vertex.json"),
        ("model", "org/model@0f2b5c1"),
        ("LLAMA_API_KEY", "{api_key}"),
        ("api_base", "http://host:8000/v1"),
        ("database_url", "postgresql://muster@db/muster"),
    ],
)
def test_what_only_resembles_a_secret_is_none_and_stays_to_be_seen(name: str, value: str) -> None:
    assert not redaction.is_secret(name, value)
    redaction.remember_mapping({name: value, "other": [{name: value}]})
    assert redaction._known == {}


@pytest.mark.parametrize("url", [f"postgresql://h/d?user=u&password={SECRET}", f"redis://h/0?token={SECRET}"])
def test_a_secret_in_the_query_of_a_url_becomes_known(url: str) -> None:
    redaction.remember_url(url)
    assert redact(f"said {SECRET}") == "said [redacted]"


def test_what_libraries_write_past_logging_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """Here the traceback of a process, as multiprocessing prints it."""
    redaction.remember(SECRET)
    with safe_stderr():
        try:
            raise ValueError(SECRET)
        except ValueError:
            traceback.print_exc()
        sys.stderr.write(f"also {SECRET}\n")
        sys.stderr.writelines([f"{SECRET}\n"])
        assert sys.stderr.isatty() is False
    sys.stderr.write("after\n")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert said.count("[redacted]") == 3
    assert said.endswith("after\n")


def test_an_error_that_nobody_caught_in_a_thread_is_redacted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(OneLine("%(message)s"))
    error = MusterError("x")
    error.args = (f"redis://:{SECRET}@h",)
    _log_uncaught(threading.ExceptHookArgs((MusterError, error, None, threading.current_thread())))
    assert "MusterError" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "piece", ["://", "a:b@", "sk-", "api_key=", "bearer ", "authorization:", "eyJ", "-----BEGIN "]
)
def test_redaction_of_a_megabyte_of_beginnings_ends(piece: str) -> None:
    """Quadratic readers would take hours."""
    assert redact(piece * (1_000_000 // len(piece)))


def test_the_working_directory_is_no_password() -> None:
    redaction.remember_environment(
        {"PWD": "/srv/models", "OLDPWD": "/srv/old", "DB_PWD": "/s3cret/", "pwd": "x9x9x9"}
    )
    assert redact("/srv/models/a, /srv/old") == "/srv/models/a, /srv/old"
    assert "s3cret" not in redact("/s3cret/")
    assert "x9x9x9" not in redact("x9x9x9")


def test_a_line_of_a_secret_that_has_several_is_shown_nowhere() -> None:
    remember("first-line-0123456789\nsecond-line-abcdefgh\n--")
    assert redact("a second-line-abcdefgh -- b first-line-0123456789") == f"a {REDACTED} -- b {REDACTED}"
