"""The fleet's books: what processes tell of themselves, the published pool, recorded weights."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.domain.fleet import ProcessReport, PublishedPool, WeightsRecord


class FleetReader(Protocol):
    """Reads who lives where, and with what."""

    def processes(self, max_age_s: float) -> Sequence[ProcessReport]:
        """Processes heard of in the last `max_age_s` seconds, by name."""

    def leases(self) -> Mapping[str, int]:
        """Calls under lease, by process."""

    def published(self) -> PublishedPool | None:
        """The pool that was published last.

        Raises:
            ValueError: another version of Muster published it.
        """


class WeightsBooks(Protocol):
    """Weights as they were first read, by a key of the engine that has them."""

    def weights(self, keys: Sequence[str]) -> Mapping[str, WeightsRecord]:
        """Records by key, without those that there are not."""

    def record_weights(self, key: str, record: WeightsRecord) -> WeightsRecord:
        """Record weights unless others did before; what is recorded then. Digests of whole files are added to
        files that are recorded without."""

    def forget_weights(self, keys: Sequence[str]) -> int:
        """Have the next host that reads them record them anew; how many there were."""


class ProcessBooks(Protocol):
    """Reports of processes, for these themselves."""

    def processes(self, max_age_s: float) -> Sequence[ProcessReport]:
        """See `FleetReader`."""

    def report_process(self, report: ProcessReport) -> None:
        """A process lives; replaces its last report, and forgets who was not heard of for long."""

    def forget_process(self, process: str) -> None:
        """The process has ended: its reports are not missed. Harmless if it is not known."""

    def clock_s(self) -> float:
        """The database's clock, in seconds since the epoch: one round trip."""


class PoolBooks(Protocol):
    """The published pool."""

    def publish(self, pool: PublishedPool) -> None:
        """Make this the published pool."""

    def published(self) -> PublishedPool | None:
        """The pool that was published last.

        Raises:
            ValueError: another version of Muster published it.
        """

    def publication(self) -> str | None:
        """A mark of the last publication, which is small; None = there was none."""
