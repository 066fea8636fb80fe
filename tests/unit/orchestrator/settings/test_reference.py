"""The reference and the example of a pool file hold every key, and are current."""

from pathlib import Path

import pytest

from api.cli.main import main
from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.settings.reference import example, parts, reference

ROOT = Path(__file__).parents[4]


def test_the_committed_reference_is_current() -> None:
    """Renew it: `muster config reference > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference()


def test_every_key_is_described() -> None:
    undescribed = [f"{part.title}.{key.name}" for part in parts() for key in part.keys if not key.meaning]

    assert undescribed == []


def test_the_example_has_no_mistakes(tmp_path: Path) -> None:
    (tmp_path / "muster.yaml").write_text(example())

    checked = check_pool_file(tmp_path / "muster.yaml")

    assert checked.settings.remarks == ()
    assert "careful" in checked.compositions


def test_the_example_shows_the_keys_of_members() -> None:
    members = [part for part in parts() if part.title.endswith(("_params", "_info.muster"))]
    keys = {key.name for part in members for key in part.keys}

    assert keys - {"synthesize_prompt", "chat_template"} <= {word.strip("{,:") for word in example().split()}


@pytest.mark.parametrize(("command", "text"), [("example", example()), ("reference", reference())])
def test_both_are_printed(command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", command]) == 0
    assert capsys.readouterr().out == text
