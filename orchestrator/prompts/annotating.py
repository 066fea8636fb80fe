"""The prompt that asks a model for the skills of a question."""

from orchestrator.domain.queries import Message
from orchestrator.prompts.defusing import defuse


def annotate(question: str) -> tuple[Message, ...]:
    """Ask a model for the skills a question needs (arXiv:2503.05641, keyword step; our words)."""
    content = (
        "Name the 2 to 5 skills that are needed to answer the question below. "
        "Reply with the skill names only, separated by commas.\n\n"
        f"Question:\n{defuse(question)}"
    )
    return (Message(role="user", content=content),)
