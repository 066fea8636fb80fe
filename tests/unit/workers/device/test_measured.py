import pytest

from orchestrator.batching import Rates
from orchestrator.domain.devices import Rate
from workers.device.measured import Measurements


def test_what_was_measured_elsewhere_counts_as_the_devices_compare() -> None:
    """a loads nine times as fast here as on the CPU, so b's 4 s there are 0.44 s here; and by b the other GPU
    is half as fast as the CPU, which says the same. No engine worked on two of them, so their work is taken
    to differ as their loads do, to the power of 1.5: 27 times from the CPU to here, and 2.83 times to it."""
    measured = Measurements("cuda:0")
    measured.read(
        {
            ("a", "cuda:0"): Rate(load_s=1.0),
            ("a", "cpu"): Rate(load_s=9.0, tokens_per_s=50.0),
            ("b", "cpu"): Rate(load_s=4.0),
            ("b", "cuda:1"): Rate(load_s=8.0, tokens_per_s=10.0),
        }
    )
    assert measured.rates.load_s == {"a": pytest.approx(1.0), "b": pytest.approx(4 / 9, rel=0.01)}
    assert measured.rates.tokens_per_s == {
        "a": pytest.approx(50.0 * 27, rel=1e-6),
        "b": pytest.approx(10.0 * 2.828427 * 27, rel=1e-6),
    }


def test_what_is_not_stored_yet_stays() -> None:
    measured = Measurements("cpu")
    measured.note_load("a", 3.0)
    measured.note_speed("a", 7.0)
    measured.read({("a", "cpu"): Rate(tokens_per_s=5.0)})
    assert measured.rates == Rates({"a": 3.0}, {"a": 5.0})
