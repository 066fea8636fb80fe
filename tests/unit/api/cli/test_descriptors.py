import resource
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.descriptors import SPARE

ROOT = Path(__file__).parents[4]
N_REQUESTS = 100
NEEDED = 2 * N_REQUESTS + SPARE


def limited(soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    """What a process with these limits is told."""
    code = f"from api.cli.descriptors import secure_descriptors; print(secure_descriptors({N_REQUESTS}))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)


def test_a_low_limit_is_raised_as_far_as_allowed() -> None:
    assert limited(64, NEEDED + 10).stdout.strip() == str(NEEDED + 10)


def test_a_limit_that_just_suffices_is_kept() -> None:
    assert limited(NEEDED, NEEDED).stdout.strip() == str(NEEDED)


@pytest.mark.parametrize("hard", [NEEDED - 1, 64])
def test_a_process_that_may_not_open_enough_files_says_what_to_do(hard: int) -> None:
    told = limited(64, hard)
    assert told.returncode != 0
    assert f"ulimit -n {NEEDED}" in told.stderr
