"""An answer put together from what is told of it while it is written."""

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.errors import AnswerChangedError
from orchestrator.ports.dispatch import Piece


class Draft:
    """Text for a reader who cannot unread: it only grows.

    Pieces may be lost, doubled or late, and an attempt that starts over may write another text. So a
    writer's text ends at its first gap, and counts only where it goes on from what was given out; of
    several that do, the newest writer's. A piece of the only writer costs no more than its own length.
    """

    def __init__(self) -> None:
        self._given: list[str] = []
        self._n_given = 0
        self._by_writer: dict[str, str] = {}
        self._only: str | None = None  # a writer whose text is what was given out

    @property
    def text(self) -> str:
        """Text that was given out so far."""
        return "".join(self._given)

    def add(self, pieces: Iterable[Piece]) -> str:
        """Addition of these pieces to the text; "" = nothing yet."""
        pieces = list(pieces)
        if all(self._goes_straight_on(pieces)):
            return self._grow("".join(piece.text for piece in pieces))
        self._settle()
        for piece in pieces:
            known = self._by_writer.get(piece.writer, "")
            if piece.at <= len(known) < piece.at + len(piece.text):
                self._by_writer[piece.writer] = known[: piece.at] + piece.text
        text = self.text
        newest_first = reversed(self._by_writer.values())
        longer = next((own for own in newest_first if len(own) > len(text) and own.startswith(text)), text)
        return self._grow(longer[len(text) :])

    def finish(self, text: str) -> str:
        """Addition of the whole answer.

        Raises:
            AnswerChangedError: it does not begin with what was given out.
        """
        given = self.text
        if not text.startswith(given):
            raise AnswerChangedError(
                "the answer was written anew, and not as it had begun.",
                remedy="Drop the text received so far and ask again.",
            )
        return self._grow(text[len(given) :])

    def _goes_straight_on(self, pieces: Sequence[Piece]) -> Iterator[bool]:
        """Whether each piece is the next of the only writer there ever was."""
        at = self._n_given
        for piece in pieces:
            if self._only is None and not self._by_writer and not self._n_given:
                self._only = piece.writer
            yield piece.writer == self._only and piece.at == at
            at += len(piece.text)

    def _settle(self) -> None:
        """From now on texts are compared whole: there is a gap, a repetition, or another writer."""
        if self._only is not None:
            self._by_writer[self._only] = self.text
            self._only = None

    def _grow(self, more: str) -> str:
        self._given.append(more)
        self._n_given += len(more)
        return more
