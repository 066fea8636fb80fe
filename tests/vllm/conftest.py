"""Everything here runs real vLLM on the zoo's weights, where the environment of its engines is there."""

from collections.abc import Iterator

import pytest

from tests.vllm_environment import HAS_VLLM
from workers.backends.vllm.backend import make_vllm_backend
from workers.engine_host.backend import HostedBackend


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = pytest.mark.skip(reason="no .venv-vllm: make test-vllm")
    for item in items:
        if "tests/vllm/" in item.path.as_posix():
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.timeout(400))  # the first load inspects the model for half a minute
            if not HAS_VLLM:
                item.add_marker(absent)


@pytest.fixture(scope="session")
def backend() -> Iterator[HostedBackend]:
    backend = make_vllm_backend(n_spares=1)
    yield backend
    backend.close()
