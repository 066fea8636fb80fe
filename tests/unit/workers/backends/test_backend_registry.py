import subprocess
import sys

import pytest

from orchestrator.errors import UnknownNameError
from orchestrator.pool import HOSTED_ELSEWHERE
from workers.backends.registry import BACKENDS, REMOTE_BACKENDS, get_backend


def test_unknown_backend_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'scripted'") as caught:
        get_backend("scriptd")
    assert all(name in str(caught.value) for name in BACKENDS)


def test_importing_the_table_loads_no_heavy_library() -> None:
    code = (
        "import sys, workers.backends.registry, workers.checkpoints.identity; "
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_pool_file_and_the_table_agree_on_what_runs_elsewhere() -> None:
    assert REMOTE_BACKENDS.keys() == HOSTED_ELSEWHERE
