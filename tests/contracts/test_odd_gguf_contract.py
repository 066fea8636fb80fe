"""Odd GGUF files as they are read without a server: what none can load is told, with its reason and its line;
of the others a deep check remarks on what may surprise. What servers make of them: `tests/llama`."""

from pathlib import Path

import pytest
import yaml

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import ConfigError, EngineLoadError
from tests.odd.gguf import GGUF_FILES
from tests.tiny_models import tiny_model
from workers.backends.command.backend import CommandBackend
from workers.checkpoints.gguf import read_gguf

COMMAND = "true {port} {model}"
TOLD = [name for name, odd in GGUF_FILES.items() if odd.outcome == "told"]
NOT_TOLD = [name for name, odd in GGUF_FILES.items() if odd.outcome != "told"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


def made(name: str, plain: Path, tmp_path: Path) -> Path:
    (tmp_path / "odd").mkdir()
    return GGUF_FILES[name].make(plain, tmp_path / "odd")


def checked(path: Path, tmp_path: Path) -> str:
    """Remarks of a deep check of a pool of the file alone, whose name stands in line 3.

    Raises:
        ConfigError: its mistakes.
    """
    file = tmp_path / "pool.yaml"
    named = yaml.safe_dump({"model": str(path)}, default_flow_style=True, width=1000).strip()
    file.write_text(
        f"model_list:\n- model_name: odd\n  litellm_params: {named}\n"
        f"  model_info: {{muster: {{engine: command, options: {{command: '{COMMAND}'}}}}}}\n"
    )
    return " ".join(check_pool_file(file, deep=True).remarks)


@pytest.mark.parametrize("name", TOLD)
def test_what_no_server_can_load_is_told_before_one_is_started(
    name: str, plain: Path, tmp_path: Path
) -> None:
    path = made(name, plain, tmp_path)
    spec = EngineSpec(id="odd", backend="command", model=str(path), options={"command": COMMAND})
    with pytest.raises(ConfigError, match=GGUF_FILES[name].says) as found:
        checked(path, tmp_path)
    with pytest.raises(EngineLoadError, match=GGUF_FILES[name].says) as caught:
        CommandBackend().load(spec, ())

    assert (found.value.line, bool(found.value.remedy)) == (3, True)
    assert caught.value.is_lasting


@pytest.mark.parametrize("name", NOT_TOLD)
def test_what_a_server_may_load_is_no_mistake_and_remarked_on_where_it_surprises(
    name: str, plain: Path, tmp_path: Path
) -> None:
    path = made(name, plain, tmp_path)
    remarks = checked(path, tmp_path)

    assert GGUF_FILES[name].remark in remarks
    assert bool(GGUF_FILES[name].remark) or not remarks
    assert path.is_dir() or read_gguf(path).n_tensors > 0


@pytest.mark.parametrize(
    ("more", "takes"), [("", False), (" --no-jinja", True), (" --chat-template-file own.jinja", True)]
)
def test_expert_is_recruited_for_what_the_template_in_force_takes(
    more: str, takes: bool, plain: Path, tmp_path: Path
) -> None:
    """The template of the file wants a user to begin; a command may name another one."""
    path = made("strict alternation", plain, tmp_path)
    file = tmp_path / "pool.yaml"
    muster = {"engine": "command", "options": {"command": COMMAND + more}}
    row = {
        "model_name": "odd",
        "litellm_params": {"model": str(path)},
        "model_info": {"muster": muster},
    }
    file.write_text(yaml.safe_dump({"model_list": [row]}))
    assert check_pool_file(file).pool.experts[0].takes_assistant_first is takes
