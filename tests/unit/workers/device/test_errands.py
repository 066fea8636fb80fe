import threading

import pytest

from workers.device.errands import Errands


def test_errands_run_one_after_the_other_in_order() -> None:
    errands, gate = Errands("test"), threading.Event()
    done: list[int] = []
    first = errands.run(lambda: gate.wait(60) and done.append(1))
    second = errands.run(lambda: done.append(2))
    assert not errands.wait(0)
    assert not first.done()
    gate.set()
    second.result(60)
    assert done == [1, 2]
    assert errands.wait(60)


def test_an_errand_that_fails_keeps_its_error_and_the_next_one_runs() -> None:
    errands = Errands("test")
    failing = errands.run(lambda: 1 / 0)
    assert errands.run(lambda: "fine").result(60) == "fine"
    with pytest.raises(ZeroDivisionError):
        failing.result()


def test_errands_do_not_keep_the_process_alive() -> None:
    gate = threading.Event()
    errands = Errands("muster-test-errand")
    errands.run(lambda: gate.wait(60))
    assert [t.daemon for t in threading.enumerate() if t.name == "muster-test-errand"] == [True]
    gate.set()
    assert errands.wait(60)
