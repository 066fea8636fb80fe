"""Questions of a job that failed, by kind."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from orchestrator.ports.jobs import AnsweredQuery

MOST_FAILED, SHOWN_CHARS = 1000, 160


class Kind(NamedTuple):
    """Failures of one kind: how many, and one of them."""

    code: str
    n: int
    query: str
    message: str


class Failures(NamedTuple):
    """Failures of a job, of `n_read` that were read; `partial`: there may be more."""

    kinds: list[Kind]
    n_read: int = 0
    partial: bool = False


def failures_of(read: Callable[[int], list[AnsweredQuery]], *, n_failed: int) -> Failures:
    """Failures of a job by their codes; the first thousand are read.

    Args:
        read: gives up to so many of its questions that failed, in order.
        n_failed: how many failed; of none nothing is read.
    """
    if not n_failed:
        return Failures([])
    failed = read(MOST_FAILED)
    return Failures(kinds_of(failed), len(failed), partial=len(failed) == MOST_FAILED)


def kinds_of(failed: list[AnsweredQuery]) -> list[Kind]:
    """Failures by their codes, the most frequent first."""
    counts = Counter(item.answer.error_code or "unknown" for item in failed)
    examples: dict[str, AnsweredQuery] = {}
    for item in failed:
        examples.setdefault(item.answer.error_code or "unknown", item)
    return [
        Kind(code, n, examples[code].query.id, (examples[code].answer.error or "")[:SHOWN_CHARS])
        for code, n in counts.most_common()
    ]


def failure_lines(failures: Failures, *, again: str) -> Iterator[str]:
    """One line for each kind of failure, with an example, and how to run them again.

    Args:
        again: command that does.
    """
    for kind in failures.kinds:
        yield f"{kind.n} failed with {kind.code}, such as {kind.query}: {kind.message}"
    if failures.partial:
        yield f"These are the kinds of the first {failures.n_read} that failed."
    if failures.kinds:
        yield f"Run what failed again: {again}"
