"""Everything here runs a real llama.cpp server, where its files are there and the processor can run it
(`make test-llama` fetches them)."""

import pytest

from examples.llm.servers import FILES, SMALLEST, UnusableError, check_processor, program_in
from tests.harness.processes import ROOT

PROGRAM = program_in(ROOT / FILES)
WEIGHTS = ROOT / FILES / f"{SMALLEST}.gguf"


def why_not() -> str:
    """Reason that the server cannot run here; "" = it can."""
    try:
        check_processor()
    except UnusableError as error:
        return str(error)
    return "" if PROGRAM.exists() and WEIGHTS.exists() else "no llama-server: make test-llama"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if "tests/llama/" in item.path.as_posix():
            item.add_marker(pytest.mark.llama)
            item.add_marker(pytest.mark.timeout(300))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
