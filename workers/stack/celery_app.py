"""The Celery application of the stack: a doorbell, never a store of work.

A message carries no more than the name of a bell and the version of its form. Losing one costs
latency; receiving one twice is a no-op. The settings below follow docs/decisions/0010.
"""

from urllib.parse import urlsplit

from celery import Celery, signals
from kombu import Exchange, Queue

from orchestrator.errors import ConfigError, MusterError
from orchestrator.settings.passwords import with_password
from orchestrator.settings.schema import Settings
from workers.stack.redis_transport import TRANSPORT

STEPS_QUEUE = "muster.steps"
WORK_EXCHANGE = Exchange("muster.work", type="fanout", durable=True)

SCHEMES = ("redis", "rediss", "amqp", "amqps")
CONNECT_TIMEOUT_S = 3
SOCKET_TIMEOUT_S = 10
SOFT_SHUTDOWN_S = 5
FAIL_FAST = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""Of who sends: a broker that is away is found out at once. Consumers try for ever, by their own settings."""


def make_celery(settings: Settings) -> Celery:
    """A Celery application over the configured broker; nothing is connected yet.

    Raises:
        ConfigError: no broker is configured, or one of another kind.
    """
    url = broker_url(settings)
    signals.setup_logging.connect(_leave_logs_alone, weak=False, dispatch_uid="muster.logs")
    celery = Celery("muster", broker=url, set_as_current=False)
    celery.conf.update(
        # What a stranger puts into the queue is at worst JSON that no task understands.
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_ignore_result=True,
        task_default_queue=STEPS_QUEUE,
        # A bell is acknowledged when it was answered, and whoever dies under it leaves it to the next.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Bells are sent by threads of their own, which try again themselves.
        task_publish_retry=False,
        task_default_delivery_mode="transient",
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options=_transport_options(settings),
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_S,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    if is_redis(url):
        celery.conf.broker_transport = TRANSPORT
    return celery


def broker_url(settings: Settings) -> str:
    """Raises ConfigError when it is missing or of a kind that is not supported."""
    url = settings.muster.broker_url
    if url is None:
        raise ConfigError(
            "no broker is configured.",
            param="muster.broker_url",
            remedy="Set muster.broker_url or MUSTER_BROKER_URL, e.g. redis://127.0.0.1:6379/0.",
        )
    scheme, is_sound = _scheme_of(url)
    if scheme in SCHEMES and not is_sound:
        raise ConfigError(
            "muster.broker_url cannot be read: '//' is missing, or its port is no number.",
            param="muster.broker_url",
            remedy=f"Write {scheme}://HOST:PORT/0 (or amqp://USER@HOST:PORT//).",
        )
    if scheme not in SCHEMES:
        raise ConfigError(
            f"muster.broker_url: '{scheme}' is not supported.",
            param="muster.broker_url",
            remedy=f"Use {', '.join(f'{name}://' for name in SCHEMES)}.",
        )
    file = settings.muster.broker_password_file
    if file is None:
        return url
    return with_password(url, settings.base_dir / file, param="muster.broker_password_file")


def _leave_logs_alone(**_: object) -> None:
    """Celery makes no handlers where somebody listens to this signal: its records go the way of ours."""


def _scheme_of(url: str) -> tuple[str, bool]:
    """Scheme of a URL, and whether the rest can be read."""
    try:
        parts = urlsplit(url)
        return parts.scheme, "://" in url and parts.port != 0
    except ValueError:
        return url.partition(":")[0], False


def check_broker(settings: Settings) -> str:
    """The server that answers at the broker's address.

    Raises:
        MusterError: nothing does.
    """
    with make_celery(settings).connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except Exception as error:  # every broker client has errors of its own
            raise MusterError(
                f"the broker cannot be reached: {error}.",
                remedy="Work goes on by looking at the database, more slowly.",
            ) from error
        return str(connection.as_uri())


def is_redis(url: str) -> bool:
    """True for addresses of Redis, with or without TLS."""
    return urlsplit(url).scheme in ("redis", "rediss")


def steps_queue() -> Queue:
    """Queue in which the bells for steps wait; whichever worker is free takes one."""
    return Queue(STEPS_QUEUE, durable=True)


def private_queue(name: str) -> Queue:
    """A queue of one worker process, gone with it."""
    return Queue(name, durable=True, auto_delete=True, expires=3600)


def work_queue(name: str) -> Queue:
    """One device worker's copy of every bell for work."""
    return Queue(name, exchange=WORK_EXCHANGE, durable=True, auto_delete=True, expires=3600)


def _transport_options(settings: Settings) -> dict[str, object]:
    if not is_redis(broker_url(settings)):
        return dict(FAIL_FAST)
    return {
        **FAIL_FAST,
        # A bell that its taker died under rings again after this; it must outlive a lease twice over.
        "visibility_timeout": int(max(120, 3 * settings.muster.scheduler.lease_s)),
        # kombu looks for such bells every interval * throttle seconds, 100 by default.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
