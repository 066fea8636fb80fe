"""An answer put together from what is told of it while it is written."""

from collections.abc import Iterable

from orchestrator.errors import AnswerChangedError
from orchestrator.ports.dispatch import Piece


class Draft:
    """Text for a reader who cannot unread: it only grows.

    Pieces may be lost, doubled or late, and an attempt that starts over may write another text. So a
    writer's text ends at its first gap, and counts only where it goes on from what was given out; of
    several that do, the newest writer's.

    Attributes:
        text: what was given out so far.
    """

    def __init__(self) -> None:
        self.text = ""
        self._by_writer: dict[str, str] = {}

    def add(self, pieces: Iterable[Piece]) -> str:
        """Addition of these pieces to the text; "" = nothing yet."""
        for piece in pieces:
            known = self._by_writer.get(piece.writer, "")
            if piece.at <= len(known) < piece.at + len(piece.text):
                self._by_writer[piece.writer] = known[: piece.at] + piece.text
        newest_first = reversed(self._by_writer.values())
        return next((self._grow(text) for text in newest_first if self._goes_on(text)), "")

    def finish(self, text: str) -> str:
        """Addition of the whole answer.

        Raises:
            AnswerChangedError: it does not begin with what was given out.
        """
        if not text.startswith(self.text):
            raise AnswerChangedError(
                "the answer was written anew, and not as it had begun.",
                remedy="Drop the text received so far and ask again.",
            )
        return self._grow(text)

    def _goes_on(self, text: str) -> bool:
        return len(text) > len(self.text) and text.startswith(self.text)

    def _grow(self, text: str) -> str:
        more, self.text = text[len(self.text) :], text
        return more
