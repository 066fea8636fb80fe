"""Settings of the whole suite, and which of a test's many cases `make test` runs."""

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from orchestrator.runtime.garbage import collect_seldom, no_cycle_collection

FULL = "MUSTER_TEST_FULL"
"""Environment variable that asks for every case (`make test-full`)."""
QUICK_EXAMPLES = 40

IS_FULL = bool(os.environ.get(FULL))

# A busy machine is slow, not wrong: timings belong to the benchmarks.
for profile, examples in (("muster", 100), ("quick", QUICK_EXAMPLES)):
    settings.register_profile(
        profile, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("muster" if IS_FULL else "quick")

# Before torch is imported, here and in the processes that tests start: models of tests are so small that
# threads cost more by waiting for each other than they bring.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Find the tests without cycle collection, and exempt from it what is there then, libraries and thousands
    of tests: every engine that is closed collects its garbage, and would walk them for half a second."""
    with no_cycle_collection():
        yield
    collect_seldom()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make test-full` runs: whole tests that are marked `full`, and of those marked
    `representatives(n)` all cases but n, spread over them. A test that is named runs as it is."""
    if IS_FULL or any("::" in argument for argument in config.args):
        return
    of_test: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        of_test[item.nodeid.partition("[")[0]].append(item)
    left_out = {item for cases in of_test.values() for item in cases if item not in chosen(cases)}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))


def chosen(cases: list[pytest.Item]) -> list[pytest.Item]:
    """Those of one test's cases that stand for all of them."""
    if cases[0].get_closest_marker("full") is not None:
        return []
    mark = cases[0].get_closest_marker("representatives")
    n = len(cases) if mark is None else min(mark.args[0], len(cases))
    return [cases[i * len(cases) // n] for i in range(n)] if n else []
