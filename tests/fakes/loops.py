"""Device loops over a real store, for tests."""

from collections.abc import Callable

from orchestrator.domain.assignments import BATCH, Job, JobProgress, JobState
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import Query
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.engines import Backend
from orchestrator.settings.schema import SchedulerSettings
from orchestrator.store import SqlJobStore
from tests.fakes.work import HandClock, TextMajority, always
from workers.device.loop import DeviceLoop
from workers.device.pace import Pace
from workers.device.wiring import DeviceSetup, make_device_loop

EAGER = Pace(look_s=0.0, poll_s=0.001)
FAR = "far"
"""The backend of engines that run elsewhere."""


def make_loop(
    store: SqlJobStore,
    pool: Pool,
    backend: Callable[[str], Backend],
    *,
    owner: str = "loop",
    composition: TextMajority | None = None,
    clock: Callable[[], float] | None = None,
    pace: Pace = EAGER,
    steps: bool = True,
    on_committed: Callable[[], None] | None = None,
    device: str = "cpu",
    **settings: float,
) -> DeviceLoop:
    composition = composition or TextMajority([e.id for e in pool.experts])
    setup = make_setup(store, pool, backend, composition, steps=steps, device=device, **settings)
    clock = clock or HandClock(step_s=0.001)
    return make_device_loop(setup, owner=owner, clock=clock, pace=pace, on_committed=on_committed)


def make_setup(
    store: SqlJobStore,
    pool: Pool,
    backend: Callable[[str], Backend],
    composition: TextMajority | None = None,
    *,
    steps: bool = True,
    device: str = "cpu",
    **settings: float,
) -> DeviceSetup:
    composition = composition or TextMajority([e.id for e in pool.experts])
    return DeviceSetup(
        stores=store.device_stores,
        backends=backend,
        pool=pool,
        later_engines=composition.later_engines,
        compositions=always(composition) if steps else None,
        settings=SchedulerSettings(**settings),
        device=device,
        remote={FAR},
    )


def submit(store: SqlJobStore, queries: list[Query], *, job_id: str = "job", priority: int = BATCH) -> None:
    store.submit(Job(id=job_id, composition="any", priority=priority), queries)


def run(loop: DeviceLoop, store: SqlJobStore, *, job_id: str = "job", limit: int = 2000) -> JobProgress:
    run_until(loop, lambda: store.job(job_id).state is not JobState.RUNNING, limit=limit)
    return store.job(job_id)


def run_until(loop: DeviceLoop, is_done: Callable[[], bool], *, limit: int = 2000) -> None:
    for _ in range(limit):
        if is_done():
            return
        loop.tick()
    raise AssertionError(f"not done after {limit} rounds")


def passing(clock: HandClock, seconds: float, is_done: Callable[[], bool]) -> Callable[[], bool]:
    """`is_done`, asked so many seconds later each time."""

    def asked() -> bool:
        clock.now += seconds
        return is_done()

    return asked


def ended(store: SqlJobStore, dispatcher: Dispatcher, job_id: str, *, timeout_s: float) -> bool:
    """Whether a job ends within a time; it may have ended already."""
    with dispatcher.expect(job_id, timeout_s=timeout_s) as turns:
        return store.job(job_id).state.is_over or any(store.job(job_id).state.is_over for _ in turns)
