"""Parts that differ between the stack and one process, whose libraries are loaded only there; its schema."""

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.ports.rates import RateLimiter
from orchestrator.runtime.rates import LocalRates
from orchestrator.settings.schema import Settings
from orchestrator.store import SqlJobStore, open_database
from orchestrator.store.migrations import HEAD

if TYPE_CHECKING:
    from workers.dispatch.stack import StackDispatcher
    from workers.stack.news import News


def stack_dispatcher(settings: Settings, store: SqlJobStore, news: "News") -> "StackDispatcher":
    """The dispatcher that rings for workers.

    Raises:
        ConfigError: a library is missing.
    """
    try:
        from workers.dispatch.stack import StackDispatcher
        from workers.stack.bells import Bells
        from workers.stack.celery_app import make_celery
    except ImportError as error:
        raise ConfigError(
            f"muster.broker_url is set, but a library of the stack is missing: {error}.",
            param="muster.broker_url",
            remedy="Run `pip install 'muster[stack]'`, or unset it to run in one process.",
        ) from error
    return StackDispatcher(jobs=store, work=store, bells=Bells(make_celery(settings)), news=news)


def rate_limiter(settings: Settings) -> RateLimiter:
    """The limiter of all servers of a stack, or of this process."""
    if not settings.is_stack:
        return LocalRates()
    from workers.stack.rates import open_rates

    return open_rates(settings)


def migrate(settings: Settings) -> str:
    """Bring the schema of the database up to date; its revision.

    Raises:
        StoreError: the database cannot be used, or its user may not change tables.
    """
    open_database(settings.database_url).close()
    return HEAD
