from threadpoolctl import ThreadpoolController

from orchestrator.routing.parts import local
from orchestrator.runtime.threads import one_thread
from tests.fakes.transcripts import spoken_profile


def n_threads() -> set[int]:
    return {int(pool["num_threads"]) for pool in ThreadpoolController().info()}


def test_every_numeric_library_has_one_thread_inside() -> None:
    with ThreadpoolController().limit(limits=2), one_thread():
        assert n_threads() == {1}


def test_a_fit_leaves_the_threads_as_they_were() -> None:
    profile = spoken_profile({"a": lambda i: "A", "b": lambda i: "AB"[i % 2]}, 30)
    with ThreadpoolController().limit(limits=2):
        before = n_threads()
        local.fit_local(profile)
        assert n_threads() == before
