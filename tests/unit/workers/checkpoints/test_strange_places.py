"""What is no file, or may not be looked at, in the place of a model's file: told, and not waited for."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.origins import objection
from orchestrator.errors import EngineLoadError, MistakesError
from orchestrator.pool import locate
from orchestrator.runtime.files import barred, open_readable, open_regular, read_json
from tests.odd.making import TOKENIZER, WEIGHTS
from workers.checkpoints.defects import model_defects
from workers.checkpoints.formats import require_adapter, require_safetensors
from workers.checkpoints.gguf import GgufError, read_gguf
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.marks import files_of
from workers.checkpoints.turns import rendering_of

NOBODY = 65534
POOL = """\
model_list:
  - model_name: one
    litellm_params: {{model: {0}}}
    model_info: {{muster: {{engine: transformers, max_model_len: 16}}}}
  - model_name: two
    litellm_params: {{model: {0}/x.gguf}}
    model_info:
      muster: {{engine: command, max_model_len: 16, options: {{command: "sh {{model}} {{port}}"}}}}
  - model_name: three
    litellm_params: {{model: {0}}}
    model_info: {{base_model: {1}, muster: {{engine: transformers, adapter: lora, max_model_len: 16}}}}
"""


def socket_at(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # such an address has few characters
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)
    os.chdir(here)


STRANGE: list[tuple[Callable[[Path], object], str]] = [
    (os.mkfifo, "a FIFO"),
    (socket_at, "a socket"),
    (lambda path: path.symlink_to("/dev/zero"), "a device"),
    (Path.mkdir, "a folder"),
]


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user without rights, who may write and read what others give him."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if before == 0:
            os.seteuid(0)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody but root may look into, with a model's folder inside."""
    folder = tmp_path / "closed"
    (folder / "model").mkdir(parents=True)
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize(("put", "kind"), STRANGE)
def test_what_is_no_file_is_not_opened(tmp_path: Path, put: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "config.json"
    put(path)
    for read in (open_regular, read_json):
        with pytest.raises(OSError, match=rf"it is {kind}|No such device"):
            read(path)


@pytest.mark.parametrize(("put", "kind"), STRANGE)
@pytest.mark.parametrize("name", ["config.json", WEIGHTS, TOKENIZER, "tokenizer_config.json"])
def test_what_stands_in_place_of_a_model_s_file_is_told(
    tmp_path: Path, name: str, put: Callable[[Path], object], kind: str
) -> None:
    put(tmp_path / name)
    defects, _ = model_defects(tmp_path)
    assert f"{name} is {kind}" in [str(defect) for defect in defects]
    weights_hash(str(tmp_path))
    rendering_of(EngineSpec(id="e", backend="transformers", model=str(tmp_path)))


@pytest.mark.parametrize(("put", "kind"), STRANGE[:3])
@pytest.mark.parametrize("name", ["chat_template.jinja", "merges.txt", "README.md"])
def test_what_a_loader_might_wait_for_is_told(
    tmp_path: Path, name: str, put: Callable[[Path], object], kind: str
) -> None:
    put(tmp_path / name)
    assert f"{name} is {kind}" in [str(defect) for defect in model_defects(tmp_path)[0]]


@pytest.mark.parametrize(("put", "kind"), STRANGE[:3])
def test_a_gguf_that_is_no_file_is_not_waited_for(
    tmp_path: Path, put: Callable[[Path], object], kind: str
) -> None:
    put(tmp_path / "m.gguf")
    with pytest.raises(GgufError, match=rf"it is {kind}|No such device"):
        read_gguf(tmp_path / "m.gguf")


def test_endings_in_capitals_are_endings(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.GGUF"):
        (tmp_path / name).write_bytes(b"GGUF" + bytes(60))
    assert weights_hash(str(tmp_path / "a.gguf")) == weights_hash(str(tmp_path / "b.GGUF"))
    assert [file.name for file in files_of({"": str(tmp_path / "b.GGUF")}) or ()] == ["b.GGUF"]
    both = weights_hash(str(tmp_path))
    (tmp_path / "b.GGUF").unlink()
    assert weights_hash(str(tmp_path)) != both


def test_a_pipe_into_which_nobody_writes_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        open_readable(tmp_path / "pipe", wait_s=0) as file,
        pytest.raises(OSError, match="nobody writes into it"),
    ):
        file.read()


def test_a_pipe_with_a_writer_is_read_to_its_end(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"a\nb")
    os.close(write)
    with open_readable(Path(f"/dev/fd/{read}"), wait_s=0) as file:
        assert (file.readline(), file.read(), file.read()) == (b"a\n", b"b", b"")
    os.close(read)


def test_what_may_not_be_looked_at_is_there_and_says_why(closed: Path) -> None:
    model = closed / "model"
    with as_nobody():
        assert (barred(closed), barred(model)) == ("Permission denied", "Permission denied")
        assert locate(str(model), closed.parent) == str(model)
        assert weights_hash(str(model)) == ""
        assert objection(str(model), None) is None
        rendering_of(EngineSpec(id="e", backend="transformers", model=str(model)))
        with pytest.raises(EngineLoadError, match="cannot be looked at: Permission denied"):
            require_safetensors(EngineSpec(id="e", backend="transformers", model=str(model)))
        with pytest.raises(EngineLoadError, match="cannot be looked at: Permission denied"):
            require_adapter(str(model))


@pytest.mark.parametrize("name", ["x" * 300, "loop"])
def test_other_reasons_not_to_look_are_told_as_well(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert barred(tmp_path / name)
    assert barred(tmp_path / "absent") is None
    assert barred(tmp_path / "a\0b") is None


def test_all_that_cannot_be_looked_at_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    pool = tmp_path / "pool.yaml"
    pool.write_text(POOL.format("loop", "x" * 300))
    with pytest.raises(MistakesError) as caught:
        check_pool_file(pool, deep=True)
    told = [(one.line, "cannot be looked at: " in str(one)) for one in caught.value.mistakes]
    assert {(3, True), (6, True), (10, True)} <= set(told)
