import threading

import pytest
from threadpoolctl import ThreadpoolController

from orchestrator.routing.parts import local
from orchestrator.runtime.threads import (
    Threaded,
    one_thread,
    own_threads,
    set_threads,
    threads_of,
    wait_passively,
)
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


class Library:
    """Counts as `torch` does: a number per thread, and one for threads that compute for the first time."""

    def __init__(self, n: int) -> None:
        self.n_set = 0
        self._shared = n
        self._of_thread = threading.local()
        self.threaded = Threaded(self.get_num_threads, self.set_num_threads)

    def get_num_threads(self) -> int:
        return int(getattr(self._of_thread, "n", self._shared))

    def set_num_threads(self, n: int) -> None:
        self.n_set += 1
        self._shared = self._of_thread.n = n


def test_what_the_library_chose_is_known_after_it_was_changed() -> None:
    library = Library(6)
    set_threads(library.threaded, 1)
    assert (own_threads(library.threaded), library.get_num_threads()) == (6, 1)


def test_what_the_library_chose_is_known_to_a_thread_that_comes_while_another_one_changed_it() -> None:
    library = Library(6)
    seen: list[int] = []
    with threads_of(library.threaded, 1):
        late = threading.Thread(target=lambda: seen.append(own_threads(library.threaded)))
        late.start()
        late.join()
    assert (seen, library.get_num_threads()) == ([6], 6)


def test_a_number_that_holds_already_is_not_set_again() -> None:
    library = Library(2)
    set_threads(library.threaded, 2)
    assert library.n_set == 0


@pytest.mark.parametrize(
    ("environment", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(
    environment: dict[str, str], policy: str
) -> None:
    wait_passively(environment)
    assert environment["OMP_WAIT_POLICY"] == policy
