"""Whether the environment of vLLM engines is there (`scripts/setup-vllm.sh`); `make test-vllm` demands it."""

import os

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.backends.vllm.backend import find_python


def _is_there() -> bool:
    try:
        find_python(EngineSpec(id="any", backend="vllm", model="any"))
    except EngineLoadError:
        return False
    return True


HAS_VLLM = os.environ.get("MUSTER_TEST_VLLM") == "1" or _is_there()
