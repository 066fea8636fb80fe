"""The processes of the stack, wired: a worker that owns a device, a worker for steps only, the beat."""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from typing import NamedTuple

from billiard import active_children
from celery import Celery, signals
from celery.worker import state
from kombu import Queue

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import BACKGROUND, INTERACTIVE
from orchestrator.errors import MusterError, StoreUnavailableError
from orchestrator.ports.batches import LineForms
from orchestrator.runtime.garbage import collect_seldom
from orchestrator.runtime.live import Live
from orchestrator.settings.schema import Settings
from workers.dispatch.local import LocalDispatcher
from workers.leases.advancing import Advancer
from workers.leases.resting import patience_of
from workers.leases.sweeper import Sweeper
from workers.stack.beat import Beat
from workers.stack.bells import ADVANCE, CANARY, WORK, Bells, payload
from workers.stack.canary import Canary
from workers.stack.celery_app import make_celery, private_queue, steps_queue, work_queue
from workers.stack.steps import BATCH_CHUNKS, CHUNKS, Steps
from workers.stack.steps_place import StepsPlace
from workers.stack.tasks import Hands, register

log = logging.getLogger(__name__)

BEAT_ENDING_S = 3.0
"""Of each sweep of the beat, for jobs that end early: it has nothing else to do but to ring."""

BATCH_REST_S = 0.25
"""Between two looks for steps of batches, however often the bell rings for questions."""
GRACE_S = 25.0
"""From SIGTERM to the end; docker waits 30 s where compose says so."""
RESTART_S = 1.0
SILENT = 75
"""Exit code of a worker whose consumer heard no canary: start it again."""


class WorkerHands:
    """Actions of bells in one process (`workers.stack.tasks.Hands`)."""

    def __init__(
        self,
        app: App,
        bells: Bells,
        *,
        driver: LocalDispatcher | None,
        on_heard: Callable[[], None],
        forms: LineForms,
    ):
        self._app = app
        self._bells = bells
        self._driver = driver
        self._on_heard = on_heard
        # A question does not wait for a chunk of a batch that is being stepped.
        self._steps = (self._make_steps(INTERACTIVE), self._make_steps(BACKGROUND))
        self._clerk = app.clerk(forms)
        self._place = None if driver is not None else StepsPlace(app.store, config_hash=app.config_hash)

    def start_steps(self) -> None:
        """Begin to step questions and to work on batches, in threads of their own."""
        for steps in self._steps:
            steps.start()
        self._clerk.start()

    def stop_steps(self, *, timeout_s: float) -> None:
        """End these threads, and tell the fleet that nobody steps here.

        Args:
            timeout_s: for the steps under way; what has not ended by then is left to whoever takes it next.
        """
        self._clerk.stop()
        for steps in self._steps:
            steps.stop(timeout_s=timeout_s / len(self._steps))
        if self._place is not None:
            self._place.sign_off()

    def leave(self) -> None:
        """The fleet need not wait for this process."""
        self._app.fleet.leave()

    def advance(self) -> None:
        for steps in self._steps:
            steps.wake()  # at once: a bell that waited for steps would hold up the canary behind it

    def work(self) -> None:
        if self._driver is not None:
            self._driver.notify()

    def hear(self) -> None:
        self._on_heard()

    def _make_steps(self, min_priority: int) -> Steps:
        app = self._app
        engine_of = Live(lambda: app.pool.engine_of)
        advancer = Advancer(
            jobs=app.store,
            steps=app.store,
            compositions=app.build,
            engine_of=engine_of,
            begin=None if self._driver is None else partial(self._driver.begin, engine_of=engine_of),
            min_priority=min_priority,
            config_hash=app.config_hash,
            patience=patience_of(app.settings.muster.scheduler),
            traces=app.telemetry.stage_traces,
        )
        return Steps(
            advancer,
            refresh=self._refresh,
            on_asked=self._ring_for_work,
            on_moved=app.news.tell,
            clock=time.monotonic,
            chunks=CHUNKS if min_priority >= INTERACTIVE else BATCH_CHUNKS,
            rest_s=0.0 if min_priority >= INTERACTIVE else BATCH_REST_S,
        )

    def _refresh(self) -> None:
        """Before each slice: cards anew, and, where no device says it, that this process lives."""
        self._app.catalogue.refresh()
        if self._place is not None:
            self._place.report()

    def _ring_for_work(self) -> None:
        self.work()
        self._bells.ring(WORK)


class Heard:
    """Time at which the last canary was consumed, in monotonic seconds, shared with forked children."""

    def __init__(self) -> None:
        self._at: Synchronized[float] = get_context("fork").Value("d", time.monotonic())

    def now(self) -> None:
        """A canary was consumed just now."""
        self._at.value = time.monotonic()

    def at(self) -> float:
        """Monotonic seconds of the last canary; of none, of the time at which this was made."""
        return self._at.value


class Consumer(NamedTuple):
    """One Celery consumer: its name among the workers, the queues it reads, how it runs tasks."""

    name: str
    pool: str
    concurrency: int
    queues: Sequence[Queue]


def run_device_worker(settings: Settings, *, steps: bool, forms: LineForms) -> int:
    """Own `settings.muster.device`: generate in a thread, answer bells beside it; returns the exit code.

    On SIGTERM what is finished is committed and the rest given back with its attempt refunded.
    """
    celery = make_celery(settings)
    name = _name(settings.muster.device)
    _end_on_sigterm()
    with open_app(settings) as app:
        bells, heard = Bells(celery), Heard()
        driver = app.device_driver(
            steps=False,
            on_committed=lambda: hands.advance() if steps else bells.ring(ADVANCE),
            on_told=app.news.tell_piece,
        )
        hands = WorkerHands(app, bells, driver=driver, on_heard=heard.now, forms=forms)
        register(celery, lambda: hands)
        canary = Canary(
            send=_canary_sender(celery, name),
            heard_at=heard.at,
            on_silence=lambda: _leave(SILENT, lambda: _end_device_worker(hands, driver, bells)),
            clock=time.monotonic,
        )
        queues = [private_queue(f"muster.canary.{name}"), work_queue(f"muster.work.{name}")]
        queues += [steps_queue()] if steps else []
        collect_seldom()
        app.fleet.join("worker", config_hash=app.config_hash, device=settings.muster.device)
        driver.start()
        app.members.start()
        if steps:
            hands.start_steps()
        canary.start()
        try:
            with app.making_merges():
                code = _consume(celery, Consumer(name, "threads", 2, queues))
        finally:
            canary.stop()
            _end_device_worker(hands, driver, bells)
    return code


def run_light_worker(settings: Settings, *, processes: int, forms: LineForms) -> int:
    """Steps only, in `processes` processes; returns the exit code.

    This process neither takes steps nor keeps a database connection: its children are forked from it.
    """
    celery = make_celery(settings)
    name = _name("steps")
    _end_on_sigterm()
    with open_app(settings):
        pass  # a configuration or database that cannot be used shows now, not in every child
    heard = Heard()
    children = _Children(settings, celery, heard, forms)
    signals.worker_process_init.connect(children.start, weak=False)
    signals.worker_process_shutdown.connect(children.stop, weak=False)
    register(celery, children.hands)
    canary = Canary(
        send=_canary_sender(celery, name),
        heard_at=heard.at,
        on_silence=lambda: _leave(SILENT, _end_children),
        clock=time.monotonic,
    )
    canary.start()
    try:
        queues = [private_queue(f"muster.canary.{name}"), steps_queue()]
        return _consume(celery, Consumer(name, "prefork", processes, queues))
    finally:
        canary.stop()


def run_beat(settings: Settings) -> int:
    """Sweep and ring until SIGTERM or SIGINT; returns the exit code."""
    celery = make_celery(settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with open_app(settings) as app:
        scheduler = settings.muster.scheduler
        beat = Beat(
            outbox=app.store,
            waiting=app.store,
            bells=Bells(celery),
            every_s=scheduler.sweep_s,
            upkeep=app.ended.tidy,
            sweeper=Sweeper(
                leases=app.store,
                devices=app.store,
                clock=time.monotonic,
                grace_s=scheduler.lease_s,
                max_attempts=scheduler.max_attempts,
                harmless=app.remote_engine_ids,
                ending_s=BEAT_ENDING_S,
            ),
        )
        app.fleet.join("beat", config_hash=app.config_hash)
        beat.run(stopping)
    return 0


class _Children:
    """What each forked child of a light worker holds: an app and hands of its own."""

    def __init__(self, settings: Settings, celery: Celery, heard: Heard, forms: LineForms) -> None:
        self._forms = forms
        self._settings = settings
        self._celery = celery
        self._heard = heard
        self._opening = threading.Lock()
        self._opened: WorkerHands | None = None
        self._stopping = threading.Event()

    def hands(self) -> Hands:
        """Opened when first needed: the database may be away when a child starts.

        Raises:
            StoreUnavailableError: it is away.
        """
        with self._opening:
            if self._opened is None:
                app = App(self._settings)
                app.telemetry.keeper.start()
                bells, on_heard = Bells(self._celery), self._heard.now
                self._opened = WorkerHands(app, bells, driver=None, on_heard=on_heard, forms=self._forms)
                collect_seldom()
                app.members.start()
                app.fleet.join("steps", config_hash=app.config_hash)
                self._opened.start_steps()
            return self._opened

    def start(self, **_: object) -> None:
        threading.Thread(target=self._open, name="muster-open", daemon=True).start()

    def stop(self, **_: object) -> None:
        self._stopping.set()
        if self._opened is not None:
            self._opened.stop_steps(timeout_s=GRACE_S / 2)
            self._opened.leave()

    def _open(self) -> None:
        while not self._stopping.is_set():
            try:
                self.hands()
                return
            except StoreUnavailableError as error:
                log.warning("the database is away: %s", error)
                self._stopping.wait(5.0)


def _consume(celery: Celery, consumer: Consumer) -> int:
    """Run a Celery worker in this thread until a signal ends it; the exit code.

    A consumer that dies of a message that is none (its transport cannot tell) is started again: the
    message is gone by then.
    """
    celery.conf.task_queues = tuple(consumer.queues)
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # two lines for every bell
    while (code := _consume_once(celery, consumer)) == os.EX_SOFTWARE:
        log.error("the consumer died; starting it again")
        time.sleep(RESTART_S)
    return code


def _consume_once(celery: Celery, consumer: Consumer) -> int:
    """The exit code; EX_SOFTWARE when nobody asked the consumer to end."""
    worker = celery.Worker(
        hostname=f"{consumer.name}@muster",
        pool=consumer.pool,
        concurrency=consumer.concurrency,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        loglevel=logging.getLogger().level,
    )
    worker.start()
    asked = state.should_stop is not None or state.should_terminate is not None
    return int(worker.exitcode or 0) if asked or not worker.exitcode else os.EX_SOFTWARE


def _canary_sender(celery: Celery, name: str) -> Callable[[], bool]:
    bells, queue = Bells(celery), private_queue(f"muster.canary.{name}")
    return lambda: bells.deliver(CANARY, payload(), expires_s=30, options={"queue": queue})


def _end_device_worker(hands: WorkerHands, driver: LocalDispatcher, bells: Bells) -> None:
    """Give back what is held. A load that does not end in time is left behind: its leases expire."""
    stopping = threading.Thread(target=driver.stop, daemon=True)
    stopping.start()
    hands.stop_steps(timeout_s=GRACE_S / 2)
    stopping.join(GRACE_S)
    bells.close()


def _end_children() -> None:
    """Celery's pool processes of this one."""
    for pid in _child_pids():
        os.kill(pid, signal.SIGTERM)


def _child_pids() -> list[int]:
    return [child.pid for child in active_children() if child.pid]


def _leave(code: int, tidy: Callable[[], None]) -> None:
    """End this process from another thread than its main one, which cannot be relied upon."""
    try:
        tidy()
    except MusterError as error:
        log.warning("left untidied: %s", error)
    finally:
        logging.shutdown()
        os._exit(code)


def _end_on_sigterm() -> None:
    """Until Celery has its own handlers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _name(role: str) -> str:
    """Unique among all workers; also says who it is."""
    return f"{role.replace(':', '')}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
