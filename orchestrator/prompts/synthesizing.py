"""Prompts that ask an aggregator for the final answer, in the styles that a member may choose from."""

from collections.abc import Callable, Mapping, Sequence

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.asking import ANSWER_FORMS
from orchestrator.prompts.defusing import defuse, defused
from orchestrator.prompts.fencing import fenced, is_data
from orchestrator.tables import NameTable


def _synthesize_full(query: Query, candidates: Sequence[str], fence: str) -> str:
    return "\n\n".join(
        part
        for part in (
            "Several experts answered the question below. Their answers may be wrong or misleading. "
            f"{is_data(fence)} Decide which reasoning is sound and write the best final answer.",
            f"Question:\n{defuse(query.text)}",
            fenced(candidates, fence),
            ANSWER_FORMS[query.answer_type],
        )
        if part
    )


def _synthesize_compact(query: Query, candidates: Sequence[str], fence: str) -> str:
    del fence  # nothing stands after the candidates that they could speak for
    return compact(query, candidates)


def compact(query: Query, candidates: Sequence[str]) -> str:
    """The question and its candidates, one a line: for tiny models, which were trained on exactly these lines
    and reply with the answer that they find right."""
    lines = [f"{i}) {' '.join(defuse(text).split())}" for i, text in enumerate(candidates, start=1)]
    return "\n".join([defuse(query.text), "Candidates:", *lines])


_STYLES: Mapping[str, Callable[[Query, Sequence[str], str], str]] = {
    "full": _synthesize_full,
    "compact": _synthesize_compact,
}
SYNTHESIZE_STYLES = NameTable("synthesize_prompt", _STYLES, param="muster.synthesize_prompt")


def synthesize(query: Query, candidates: Sequence[str], *, style: str, fence: str) -> tuple[Message, ...]:
    """Messages that ask an aggregator for the final answer, given anonymous candidate answers.

    Args:
        fence: an unguessable word per request, which marks where candidate text begins and ends.

    Raises:
        UnknownNameError: no such style.
    """
    content = SYNTHESIZE_STYLES.find(style)(query, candidates, fence)
    return (*defused(query.context), Message(role="user", content=content))
