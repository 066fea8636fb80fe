"""The side of the vLLM backend that needs no vLLM: which interpreter, which variables."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.backends.registry import get_backend
from workers.backends.vllm import backend as vllm
from workers.backends.vllm.backend import child_env, find_python
from workers.device.own_gpu import VISIBLE, own_device


def spec(**options: JsonValue) -> EngineSpec:
    return EngineSpec(id="e", backend="vllm", model="m", options=options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which, as in the checkout and in this interpreter, there is no vLLM but a
    folder of that name."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("MUSTER_VLLM_PYTHON", raising=False)
    monkeypatch.setattr(vllm.orchestrator, "__path__", [str(tmp_path / "checkout" / "orchestrator")])
    monkeypatch.setattr(vllm, "find_spec", lambda name: ModuleSpec(name, None, is_package=True))
    return tmp_path


def make_python(folder: Path) -> str:
    python = folder / ".venv-vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return str(python)


def test_interpreter_is_searched_from_the_option_to_this_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        vllm, "find_spec", lambda name: ModuleSpec(name, None, origin="/site/vllm/__init__.py")
    )
    assert find_python(spec()) == sys.executable
    in_checkout = make_python(folder / "checkout")
    assert find_python(spec()) == in_checkout
    in_work = make_python(folder / "work")
    assert find_python(spec()) == in_work
    monkeypatch.setenv("MUSTER_VLLM_PYTHON", "/from/the/environment")
    assert find_python(spec()) == "/from/the/environment"
    assert find_python(spec(python="/from/the/option")) == "/from/the/option"


def test_missing_vllm_is_a_load_error_that_names_the_script(folder: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"scripts/setup-vllm\.sh") as caught:
        get_backend("vllm").load(spec(), ())
    assert caught.value.param == "options.python"


def test_engines_with_equal_threads_get_equal_variables() -> None:
    assert child_env(spec(threads=2)) == child_env(spec(threads=2, max_num_seqs=7))
    assert child_env(spec(threads=2))["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in child_env(spec())
    assert child_env(spec())["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0"])
def test_an_engine_over_several_gpus_says_which_worker_it_needs(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "0,1")
    wide = spec().model_copy(update={"tensor_parallel_size": 2})
    assert child_env(wide) == child_env(spec())
    of_worker = {VISIBLE: "0,1"}
    own_device(device, of_worker)
    monkeypatch.setenv(VISIBLE, of_worker[VISIBLE])
    assert child_env(spec())
    with pytest.raises(EngineLoadError, match="needs 2 GPUs, and its worker sees 1") as caught:
        child_env(wide)
    assert caught.value.param == "tensor_parallel_size"
    assert "--device cuda" in (caught.value.remedy or "")
    assert not caught.value.is_lasting, "another worker may see more"


@pytest.mark.parametrize("visible", [None, "", "0,1", "GPU-a, GPU-b,"])
def test_an_engine_over_several_gpus_is_tried_where_they_may_be(
    visible: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert child_env(spec().model_copy(update={"tensor_parallel_size": 2}))


def test_backend_is_one_per_process() -> None:
    assert get_backend("vllm") is get_backend("vllm")
