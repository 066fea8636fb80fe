"""Sessions: conversations whose turns stay with their experts."""

from typing import Protocol

from orchestrator.domain.answers import Decision


class SessionReader(Protocol):
    """Turns of sessions, as the books have them."""

    def last_decision(self, owner: str, session: str) -> Decision | None:
        """The decision of the last turn that has one; None = this is the first, or the others are gone.

        Args:
            owner: whose session it is: equal names of two owners are two sessions.
        """
