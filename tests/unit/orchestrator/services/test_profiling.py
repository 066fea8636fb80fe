"""Profiling: whom it measures while somebody is paused."""

from collections.abc import Sequence

import pytest

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from orchestrator.services.profiling import Profiling
from tests.fakes.app import FakeApp

QUERIES = [Query(id="q", question="Why?", answer="A")]


class Noted:
    """A profiler that notes whom it is to measure."""

    asked: Sequence[str] | None = ("nobody yet",)

    def run(self, _queries: Sequence[Query], *, experts: Sequence[str] | None, **_options: object) -> object:
        self.asked = experts
        return object()

    def outcomes(self, _queries: Sequence[Query], *, experts: Sequence[str], **_options: object) -> object:
        self.asked = experts
        return {}


def profiling(noted: Noted, *paused: str) -> Profiling:
    return Profiling(
        profiler=lambda _texts: noted,  # type: ignore[arg-type, return-value]
        keep=lambda _texts: None,
        cards=None,  # type: ignore[arg-type]
        experts=FakeApp().experts,
        on_changed=lambda: None,
        paused=lambda: paused,
    )


@pytest.mark.parametrize(
    ("paused", "wanted", "asked"),
    [
        ((), None, None),
        (("beta",), None, ["org/alpha"]),
        (("beta",), ["org/alpha"], ["org/alpha"]),
        (("gone",), None, None),
        (("beta",), [], []),
    ],
)
def test_who_is_paused_is_not_measured_and_nobody_waits_for_him(
    paused: tuple[str, ...], wanted: list[str] | None, asked: list[str] | None
) -> None:
    noted = Noted()
    profiling(noted, *paused).run(QUERIES, experts=wanted)
    assert noted.asked == asked


@pytest.mark.parametrize(
    ("paused", "wanted"),
    [(("beta",), ["beta"]), (("beta",), ["org/alpha", "beta"]), (("beta", "org/alpha"), None)],
)
def test_who_is_named_and_paused_is_told_with_the_remedy(
    paused: tuple[str, ...], wanted: list[str] | None
) -> None:
    noted = Noted()
    with pytest.raises(SkillError, match=r"is paused.*/resume"):
        profiling(noted, *paused).run(QUERIES, experts=wanted)
    assert noted.asked == ("nobody yet",)


def test_outcomes_of_who_is_paused_are_not_waited_for() -> None:
    noted = Noted()
    with pytest.raises(SkillError, match="'beta' is paused"):
        profiling(noted, "beta").outcomes(QUERIES, experts=["beta"])
    profiling(noted, "beta").outcomes(QUERIES, experts=["org/alpha"])
    assert noted.asked == ["org/alpha"]
