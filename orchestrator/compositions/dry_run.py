"""The dry run: a composition up to its decision."""

from collections.abc import Sequence

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    Done,
    QueryState,
    Step,
)
from orchestrator.ports.composing import Composition


class DryRun:
    """A composition up to its decision: who would answer, and nobody is asked to."""

    def __init__(self, name: str, inner: Composition) -> None:
        self.name = name
        self._inner = inner

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._ended(step) for step in self._inner.step(states)]

    def _ended(self, step: Step) -> Step:
        """Calls without a decision annotate; they are needed for one."""
        if isinstance(step, Done) or step.decision is None:
            return step
        return Done(answer=Answer(text="", aggregator=self.name, decision=step.decision))
