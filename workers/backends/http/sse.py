"""Server-sent events, from bytes as they arrive. https://html.spec.whatwg.org/multipage/server-sent-events.html"""


class SseDecoder:
    """Collects the `data` of events; other fields and comments are ignored. What has come of a line is kept
    in pieces until it ends (CR, LF or both): a line without end costs no more than its bytes."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._data: list[str] = []
        self._is_after_cr = False
        self._codec = "utf-8-sig"

    @property
    def n_pieces(self) -> int:
        """Pieces of the line that has not ended."""
        return len(self._begun)

    def feed(self, chunk: bytes) -> list[str]:
        """Data of the events that `chunk` completes.

        Raises:
            UnicodeDecodeError: a line is not UTF-8.
        """
        head, *rest = self._with_lf(chunk).split(b"\n")
        self._begun.append(head)
        if not rest:
            return []
        lines = [b"".join(self._begun), *rest[:-1]]
        self._begun = rest[-1:]
        return [data for line in lines if (data := self._line(line)) is not None]

    def _with_lf(self, chunk: bytes) -> bytes:
        """The chunk with every end of a line as LF; one that is cut in the middle ended with its CR."""
        if self._is_after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._is_after_cr = False
        if b"\r" not in chunk:
            return chunk
        self._is_after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _line(self, raw: bytes) -> str | None:
        line = raw.decode(self._codec)
        self._codec = "utf-8"
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        data, self._data = self._data, []
        return "\n".join(data) if data else None
