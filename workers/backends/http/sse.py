"""Server-sent events, from bytes as they arrive. https://html.spec.whatwg.org/multipage/server-sent-events.html"""


class SseDecoder:
    """Collects the `data` of events; other fields and comments are ignored. What has come of a line is kept
    in pieces until it ends: a line without end costs no more than its bytes."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._data: list[str] = []

    @property
    def n_pieces(self) -> int:
        """Pieces of the line that has not ended."""
        return len(self._begun)

    def feed(self, chunk: bytes) -> list[str]:
        """Data of the events that `chunk` completes.

        Raises:
            UnicodeDecodeError: a line is not UTF-8.
        """
        head, *rest = chunk.split(b"\n")
        self._begun.append(head)
        if not rest:
            return []
        lines = [b"".join(self._begun), *rest[:-1]]
        self._begun = rest[-1:]
        return [data for line in lines if (data := self._line(line.rstrip(b"\r").decode())) is not None]

    def _line(self, line: str) -> str | None:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        data, self._data = self._data, []
        return "\n".join(data) if data else None
