import subprocess
import sys

import pytest

from orchestrator.errors import UnknownNameError
from workers.backends.registry import (
    BACKENDS,
    REMOTE_BACKENDS,
    SERVER_BACKENDS,
    get_backend,
    get_inner,
    width_of,
)

HEAVY = {"torch", "transformers", "vllm", "litellm"}


def imported_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys; print(*(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_unknown_backend_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'scripted'") as caught:
        get_backend("scriptd")
    assert all(name in str(caught.value) for name in BACKENDS)


def test_importing_the_table_loads_no_library_of_a_backend() -> None:
    loaded = imported_by("import workers.backends.registry, workers.checkpoints.identity")
    assert not loaded & {*HEAVY, "httpx"}


def test_making_any_backend_loads_no_heavy_library() -> None:
    """Nor does a configuration that is only checked."""
    every = "from workers.backends.registry import BACKENDS, get_backend\n[get_backend(n) for n in BACKENDS]"
    assert not imported_by(every) & HEAVY


def test_backends_whose_engines_run_elsewhere_are_told_how_to_reach_them_and_need_no_child() -> None:
    remote = {name for name in BACKENDS if name in REMOTE_BACKENDS}
    assert remote == {"remote", "server"}
    assert all(BACKENDS[name].inner is None for name in remote)


def test_backends_whose_engines_are_servers_are_the_remote_ones_and_the_one_that_starts_them() -> None:
    assert {name for name in BACKENDS if name in SERVER_BACKENDS} == {"remote", "server", "command"}


def test_a_backend_that_is_not_made_for_children_is_not_started_in_one() -> None:
    with pytest.raises(UnknownNameError, match="vllm"):
        get_inner("server")
    assert get_inner("package.module:Own").path == "package.module:Own"


def test_the_width_of_an_engine_is_known_where_its_backend_has_one() -> None:
    assert (width_of("vllm"), width_of("transformers"), width_of("nobody's")) == (256, None, None)
