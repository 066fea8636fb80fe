"""Server-sent events, from bytes as they arrive. https://html.spec.whatwg.org/multipage/server-sent-events.html"""


class SseDecoder:
    """Collects the `data` of events; other fields and comments are ignored."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """Data of the events that `chunk` completes.

        Raises:
            UnicodeDecodeError: a line is not UTF-8.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [data for line in lines if (data := self._line(line.rstrip(b"\r").decode())) is not None]

    def _line(self, line: str) -> str | None:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        data, self._data = self._data, []
        return "\n".join(data) if data else None
