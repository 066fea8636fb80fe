from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.redaction import redact
from orchestrator.settings.passwords import with_password
from orchestrator.settings.schema import Settings
from workers.stack.celery_app import broker_url

SECRET = "p@ss/w:rd #1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("redis://h:6379/0", "redis://:p%40ss%2Fw%3Ard%20%231@h:6379/0"),
        ("rediss://muster@h/1?x=y", "rediss://muster:p%40ss%2Fw%3Ard%20%231@h/1?x=y"),
        ("amqp://u@[::1]:5672//", "amqp://u:p%40ss%2Fw%3Ard%20%231@[::1]:5672//"),
    ],
)
def test_a_password_of_a_file_is_put_into_the_url(url: str, full: str, file: Path) -> None:
    assert with_password(url, file, param="p") == full


def test_it_is_shown_nowhere(file: Path) -> None:
    with_password("redis://h", file, param="p")
    assert redact(f"said {SECRET}!") == "said [redacted]!"


def test_the_broker_has_the_password_of_a_file_beside_the_pool_file(file: Path) -> None:
    settings = Settings.model_validate(
        {
            "model_list": [{"model_name": "a", "litellm_params": {"model": "m"}}],
            "muster": {"broker_url": "redis://muster@h", "broker_password_file": file.name},
            "base_dir": file.parent,
        }
    )
    assert broker_url(settings) == "redis://muster:p%40ss%2Fw%3Ard%20%231@h"


def test_a_password_twice_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="take the password out") as caught:
        with_password("redis://:other@h", file, param="p")
    assert "other" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_file_that_others_can_use_is_refused(mode: int, file: Path) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        with_password("redis://h", file, param="p")


def test_a_missing_empty_or_binary_file_is_told(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        with_password("redis://h", tmp_path / "none", param="p")
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        with_password("redis://h", file, param="p")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no text"):
        with_password("redis://h", file, param="p")
