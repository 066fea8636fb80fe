"""Context of what is done now: the request, job, key and trace that it is done for.

It follows a request into the threads that answer it, and stands in every record of the log that is written
meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Bound(NamedTuple):
    """Ids; "" = none. `traceparent`: the span that is open, as W3C's Trace Context writes it."""

    request: str = ""
    job: str = ""
    key: str = ""
    traceparent: str = ""

    @property
    def ids(self) -> dict[str, str]:
        """Ids that there are, by the name that the log gives them; of a trace its id."""
        named = {"request": self.request, "job": self.job, "key": self.key, "trace": self.trace_id}
        return {name: value for name, value in named.items() if value}

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) == 4 else ""


_BOUND: ContextVar[Bound] = ContextVar("muster_bound", default=Bound())  # noqa: B039 -- it is immutable


def bound_now() -> Bound:
    """Ids that are bound in this context."""
    return _BOUND.get()


def bind(**ids: str) -> None:
    """Bind ids for the rest of this context: a request's, or a thread's."""
    _BOUND.set(_BOUND.get()._replace(**ids))


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Bind ids for what is done inside."""
    token = _BOUND.set(_BOUND.get()._replace(**ids))
    try:
        yield
    finally:
        _BOUND.reset(token)
