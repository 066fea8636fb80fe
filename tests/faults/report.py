"""What a fault was expected to show, and what was seen."""

from collections.abc import Callable
from typing import NamedTuple


class Finding(NamedTuple):
    expected: str
    seen: str
    holds: bool


class Report:
    """Collects findings of one fault; a finding that does not hold does not end it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.numbers: dict[str, float] = {}
        self.n_lost = 0
        self.n_duplicated = 0
        self.n_failed_needlessly = 0

    @property
    def is_as_expected(self) -> bool:
        return bool(self.findings) and all(finding.holds for finding in self.findings)

    def expect(self, expected: str, holds: object, *, seen: object = None) -> bool:
        """Note whether an expectation holds; `seen`: what was there instead."""
        self.findings.append(Finding(expected, repr(holds if seen is None else seen), bool(holds)))
        return bool(holds)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def lines(self) -> list[str]:
        """One line per finding that does not hold."""
        return [f"expected: {f.expected}; seen: {f.seen}" for f in self.findings if not f.holds]


class Fault(NamedTuple):
    """A row of the table. `run` injects it into a live system and notes what it saw."""

    id: str
    injected: str
    expected: str
    run: Callable[..., None]
    short: bool = False
