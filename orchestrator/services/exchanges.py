"""Exchanges: what is kept of a conversation over `/v1/responses`."""

from collections.abc import Callable
from typing import NamedTuple

from orchestrator.domain.answers import Answer
from orchestrator.domain.exchanges import LONGEST_CHAIN, Exchange
from orchestrator.domain.keys import Caller, nothing_found
from orchestrator.errors import InputError, JobRunningError, NotFoundError
from orchestrator.ports.exchanges import ExchangeStore
from orchestrator.ports.jobs import ResultReader


class UnknownPreviousError(InputError):
    """A response that cannot be gone on from: there is none, or it is not done."""

    code = "previous_response_not_found"


class Answered(NamedTuple):
    """An exchange with its answer; None = not there yet."""

    exchange: Exchange
    answer: Answer | None


class Exchanges:
    """Keeps exchanges, and finds those of a caller.

    Args:
        results: answers of the exchanges' jobs.
        delete_job: deletes a job with all that belongs to it.
        cancel_job: ends a job that runs.
    """

    def __init__(
        self,
        store: ExchangeStore,
        results: ResultReader,
        delete_job: Callable[[str], None],
        cancel_job: Callable[[str], None],
    ) -> None:
        self._store = store
        self._results = results
        self._delete_job = delete_job
        self._cancel_job = cancel_job

    def keep(self, exchange: Exchange) -> None:
        """Keep an exchange, in place of one of the same id."""
        self._store.keep(exchange)

    def find(self, exchange_id: str, caller: Caller) -> Answered:
        """An exchange of the caller's, with its answer if there is one by now.

        Raises:
            NotFoundError: no such exchange, or somebody else's.
        """
        exchange = self._own(exchange_id, caller)
        return Answered(exchange, self._results.answer(exchange.job_id))

    def before(self, previous_id: str, caller: Caller) -> list[Answered]:
        """The conversation that a request goes on from, the oldest exchange first.

        Raises:
            UnknownPreviousError: no such exchange of the caller's, or one of them has no answer.
            InputError: the conversation is too long.
        """
        try:
            self._own(previous_id, caller)
            chain = self._store.chain(previous_id, most=LONGEST_CHAIN + 1)
        except NotFoundError:
            raise _unknown(f"no response '{previous_id}'.") from None
        if len(chain) > LONGEST_CHAIN:
            raise InputError(
                f"previous_response_id: the conversation has more than {LONGEST_CHAIN} responses.",
                param="previous_response_id",
                remedy="Send the messages that still matter as `input`.",
            )
        answered = [Answered(exchange, self._results.answer(exchange.job_id)) for exchange in chain]
        for exchange, answer in answered:
            if answer is None or answer.error_code is not None:
                raise _unknown(f"response '{exchange.id}' has no answer to go on from.")
        return answered

    def delete(self, exchange_id: str, caller: Caller) -> None:
        """Delete an exchange with its job: question and answer are gone. One that runs is cancelled.

        Raises:
            NotFoundError: no such exchange, or somebody else's.
        """
        exchange = self._own(exchange_id, caller)
        try:
            self._delete_job(exchange.job_id)
        except JobRunningError:
            self._cancel_job(exchange.job_id)
            self._delete_job(exchange.job_id)
        except NotFoundError:
            pass  # it was deleted before, or never begun
        self._store.forget(exchange_id)

    def _own(self, exchange_id: str, caller: Caller) -> Exchange:
        exchange = self._store.exchange(exchange_id)
        if not caller.owns(exchange.owner):
            raise nothing_found("response", exchange_id)
        return exchange


def _unknown(message: str) -> UnknownPreviousError:
    return UnknownPreviousError(
        f"previous_response_id: {message}",
        param="previous_response_id",
        remedy="Responses are kept unless `store` is false, for as long as `muster.retention` says.",
    )
