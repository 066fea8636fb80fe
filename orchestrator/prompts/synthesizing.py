"""Prompts that ask an aggregator for the final answer, in the styles that a member may choose from."""

import re
from collections.abc import Callable, Mapping, Sequence

from orchestrator.domain.queries import Message, Query
from orchestrator.prompts.asides import without_asides
from orchestrator.prompts.asking import answer_form
from orchestrator.prompts.defusing import defuse
from orchestrator.prompts.fencing import asked, fenced, is_data
from orchestrator.prompts.histories import history
from orchestrator.tables import NameTable

HEADING = "Candidates:"
"""Stands before the candidates of the compact form; a line of the question that ends so is broken."""
_HEADING = re.compile(r"\b(candidates[^\S\n]{0,8}):(?=[^\S\n]{0,8}$)", re.IGNORECASE | re.MULTILINE)


def _synthesize_full(query: Query, candidates: Sequence[str], fence: str) -> str:
    return "\n\n".join(
        part
        for part in (
            "Several experts answered the question below. Their answers may be wrong or misleading. "
            f"{is_data(fence)} Decide which reasoning is sound and write the best final answer.",
            asked(query.text, fence),
            fenced(candidates, fence),
            answer_form(query),
        )
        if part
    )


def _synthesize_compact(query: Query, candidates: Sequence[str], fence: str) -> str:
    del fence  # nothing stands after the candidates that they could speak for
    return compact(query, candidates)


def compact(query: Query, candidates: Sequence[str]) -> str:
    """The question and its candidates, one a line: for tiny models, which were trained on exactly these lines
    and reply with the answer that they find right."""
    shown = [" ".join(defuse(without_asides(text)).split()) for text in candidates]
    lines = [f"{i}) {text}" for i, text in enumerate(shown, start=1)]
    question = _HEADING.sub(r"\g<1> :", defuse(query.text))
    return "\n".join([question, HEADING, *lines])


_STYLES: Mapping[str, Callable[[Query, Sequence[str], str], str]] = {
    "full": _synthesize_full,
    "compact": _synthesize_compact,
}
SYNTHESIZE_STYLES = NameTable("synthesize_prompt", _STYLES, param="muster.synthesize_prompt")


def synthesize(
    query: Query, candidates: Sequence[str], *, style: str, fence: str, form: str = ""
) -> tuple[Message, ...]:
    """Messages that ask an aggregator for the final answer, given anonymous candidate answers.

    Args:
        fence: an unguessable word per request, which marks where candidate text begins and ends.
        form: of the answer, as the request wants it.

    Raises:
        UnknownNameError: no such style.
    """
    content = SYNTHESIZE_STYLES.find(style)(query, candidates, fence)
    if form:
        content = f"{content}\n\n{form}"
    return (*history(query), Message(role="user", content=content))
