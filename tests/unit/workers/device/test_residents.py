"""Engines stay on a device as its memory allows: a real loop and store, scripted engines of declared size."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.domain.assignments import BATCH, INTERACTIVE, JobState
from orchestrator.domain.devices import LoadKind, Rate
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.domain.metrics import READ_AHEAD, Metric
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, make_loop, make_setup, run, run_until, submit
from tests.fakes.work import HandClock, TextMajority, make_queries
from tests.unit.workers.device.test_page_cache import dropped
from workers.backends.scripted import ScriptedBackend
from workers.device.loop import DeviceLoop
from workers.device.page_cache import cached_share
from workers.device.wiring import make_device_loop
from workers.engine_host.memory import weight_files


class CountingMeter:
    """A meter whose counters a test reads."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def count(self, metric: Metric, *labels: str, n: float = 1.0) -> None:
        if metric is READ_AHEAD:
            self.counts[metric.name, *labels] += int(n)

    def observe(self, metric: Metric, *labels: str, value: float, n: int = 1) -> None:
        """Not looked at."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def sized(sizes: dict[str, float], *, log: Path | None = None, **memory: JsonValue) -> Pool:
    """Engines that say that they take so many GiB; nobody promises anything before."""
    experts = []
    for engine_id, gib in sizes.items():
        options: dict[str, JsonValue] = {"memory": {"gib": gib, **memory}}
        if log is not None:
            options["log"] = str(log)
        spec = EngineSpec(id=engine_id, backend="scripted", model="none", options=options)
        experts.append(Expert(id=f"{engine_id}/0", engine=spec))
    return Pool(experts=tuple(experts))


def promised(pool: Pool, gib: float) -> Pool:
    """The same, and the pool file says that each takes `gib`."""
    engines = [e.engine.model_copy(update={"memory_gib": gib}) for e in pool.experts]
    return Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in engines))


def scripted_loop(store: SqlJobStore, pool: Pool, **settings: float) -> DeviceLoop:
    backend = ScriptedBackend()
    return make_loop(store, pool, lambda _name: backend, **settings)


def ask(loop: DeviceLoop, store: SqlJobStore, expert_ids: Sequence[str], *, job_id: str, n: int = 3) -> None:
    """A job for these experts, to its end."""
    assert loop._advancer is not None
    loop._advancer._compositions = lambda _job: TextMajority(expert_ids)
    submit(store, make_queries(n), job_id=job_id)
    progress = run(loop, store, job_id=job_id)
    assert (progress.state, progress.completed) == (JobState.DONE, n)


def resident(store: SqlJobStore) -> set[str | None]:
    return {report.engine_id for report in store.devices(30) if report.state == "resident"}


def events(log: Path) -> list[str]:
    lines = (json.loads(line) for line in log.read_text().splitlines())
    return [
        f"{line['event']} {line['engine']}" for line in lines if line["event"] in ("load", "sleep", "wake")
    ]


# ── who stays ─────────────────────────────────────────────────────────────────────────────────────


def test_engines_that_fit_together_stay_together_once_they_are_measured(store: SqlJobStore) -> None:
    """4 + 3 + 2 GiB of 10, on the books from earlier loads: one load each for three rounds."""
    pool = sized({"a": 4, "b": 3, "c": 2})
    for engine_id, gib in {"a": 4.0, "b": 3.0, "c": 2.0}.items():
        store.record_costs(engine_id, "cpu", Rate(memory_gib=gib))
    loop = scripted_loop(store, pool, memory_gib=10)
    for turn in range(3):
        ask(loop, store, ["a/0", "b/0", "c/0"], job_id=str(turn))
    assert resident(store) == {"a", "b", "c"}
    assert store.loads() == 3


def test_the_first_load_of_an_engine_of_unknown_size_is_alone_and_the_second_is_not(
    store: SqlJobStore,
) -> None:
    loop = scripted_loop(store, sized({"a": 4, "b": 3}), memory_gib=10)
    ask(loop, store, ["a/0", "b/0"], job_id="first")
    assert len(resident(store)) == 1
    ask(loop, store, ["a/0", "b/0"], job_id="second")
    assert resident(store) == {"a", "b"}
    ask(loop, store, ["a/0", "b/0"], job_id="third")
    assert store.loads() == 3


def test_what_was_measured_counts_and_not_what_was_promised(store: SqlJobStore) -> None:
    """Promised 8 GiB each, of 10; measured 4 each: together from the second job on."""
    loop = scripted_loop(store, promised(sized({"a": 4, "b": 4}), 8.0), memory_gib=10)
    ask(loop, store, ["a/0", "b/0"], job_id="first")
    ask(loop, store, ["a/0", "b/0"], job_id="second")
    assert resident(store) == {"a", "b"}


def test_the_peak_under_work_counts_and_survives_the_worker(store: SqlJobStore) -> None:
    """3 GiB as loaded, 6 once they work: two of them are too much for 10, also for the next worker."""
    pool = sized({"a": 3, "b": 3}, grown_gib=6)
    loop = scripted_loop(store, pool, memory_gib=10)
    ask(loop, store, ["a/0", "b/0"], job_id="first")
    loop.shut_down()
    assert {engine_id: rate.memory_gib for (engine_id, _), rate in store.rates().items()} == {"a": 6, "b": 6}
    later = scripted_loop(store, pool, memory_gib=10)
    for turn in range(2):
        ask(later, store, ["a/0", "b/0"], job_id=f"later {turn}")
        assert len(resident(store)) == 1


def test_engines_that_grew_beyond_the_memory_leave_when_their_work_is_done(store: SqlJobStore) -> None:
    """2 GiB each, 7 at work: both were loaded, one stays of 10 GiB."""
    loop = scripted_loop(store, promised(sized({"a": 2, "b": 2}, grown_gib=7), 2.0), memory_gib=10)
    ask(loop, store, ["a/0", "b/0"], job_id="first")
    run_until(loop, lambda: len(resident(store)) == 1)
    assert store.loads() == 2


def test_the_users_number_is_an_upper_bound_of_the_engines_that_fit(store: SqlJobStore) -> None:
    pool = promised(sized({"a": 1, "b": 1, "c": 1}), 1.0)
    loop = scripted_loop(store, pool, memory_gib=10, max_resident=2)
    for turn in range(3):
        ask(loop, store, ["a/0", "b/0", "c/0"], job_id=str(turn))
        assert len(resident(store)) <= 2


def test_the_engine_worth_least_for_its_memory_leaves(store: SqlJobStore) -> None:
    """a saves 60 s with 2 GiB, b 6 s with 6; c needs 4 of 10: b leaves, though it was useful later."""
    pool = promised(sized({"a": 2, "b": 6, "c": 4}), 5.0)
    for engine_id, rate in {
        "a": Rate(60, memory_gib=2),
        "b": Rate(6, memory_gib=6),
        "c": Rate(6, memory_gib=4),
    }.items():
        store.record_costs(engine_id, "cpu", rate)
    loop = scripted_loop(store, pool, memory_gib=10)
    loop._measured.note_load = lambda *_: None  # type: ignore[method-assign]  # scripted loads take no time
    for turn, expert_id in enumerate(["a/0", "b/0", "c/0"]):
        ask(loop, store, [expert_id], job_id=str(turn))
    assert resident(store) == {"a", "c"}


def test_an_engine_with_work_is_not_driven_away_by_another_ones_batch(store: SqlJobStore) -> None:
    """Both have work and only one fits: two loads, whatever the order of rounds."""
    loop = scripted_loop(store, promised(sized({"a": 6, "b": 6}), 6.0), memory_gib=10)
    submit(store, make_queries(60))
    assert run(loop, store).completed == 60
    assert store.loads() == 2


def test_a_question_is_loaded_beside_the_engine_of_a_batch(store: SqlJobStore) -> None:
    """The batch never ends while it waits, and is not put back for it."""
    hang: JsonValue = [{"match": "hang", "hang": True}]
    specs = [
        EngineSpec(id=e, backend="scripted", model="none", memory_gib=1, options={"rules": hang})
        for e in "ab"
    ]
    pool = Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in specs))
    loop = scripted_loop(store, pool, memory_gib=10)
    assert loop._advancer is not None
    loop._advancer._compositions = lambda job: TextMajority(["a/0" if job.priority == BATCH else "b/0"])
    submit(store, make_queries(4, prefix="hang"), job_id="batch")
    run_until(loop, lambda: loop.resident == "a" and loop._n_held == 4)
    submit(store, make_queries(1), job_id="question", priority=INTERACTIVE)
    run(loop, store, job_id="question")
    assert resident(store) == {"a", "b"}
    assert loop._n_held == 4, "the batch goes on"


def test_places_that_hold_nothing_are_not_reported(store: SqlJobStore) -> None:
    loop = scripted_loop(store, promised(sized({"a": 1, "b": 1}), 1.0), memory_gib=10)
    ask(loop, store, ["a/0", "b/0"], job_id="first")
    assert len(store.devices(30)) == 2
    loop.shut_down()
    assert store.devices(30) == []


class TightBackend(ScriptedBackend):
    """A device of which nobody can read how little it has: what does not fit fails in its load."""

    def __init__(self, room_gib: float) -> None:
        super().__init__()
        self.journal: list[str] = []
        self._room_gib = room_gib
        self._held: list[tuple[Engine, float]] = []

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        memory = spec.options["memory"]
        assert isinstance(memory, dict)
        gib = float(str(memory["gib"]))
        self._held = [(engine, held) for engine, held in self._held if engine._dead is None]  # type: ignore[attr-defined]
        if sum(held for _, held in self._held) + gib > self._room_gib:
            self.journal.append(f"no room for {spec.id}")
            raise EngineLoadError(f"engine '{spec.id}' does not fit.")
        engine = super().load(spec, adapters)
        self._held.append((engine, gib))
        self.journal.append(f"load {spec.id}")
        return engine


def test_an_engine_that_runs_out_of_memory_beside_another_is_loaded_alone_and_the_estimate_learns(
    store: SqlJobStore,
) -> None:
    """6 + 6 GiB are said to fit into 20 and do not fit into 10: one failure, never a second."""
    backend = TightBackend(10)
    pool = promised(sized({"a": 6, "b": 6}), 6.0)
    loop = make_loop(store, pool, lambda _name: backend, memory_gib=20)
    for turn in range(4):
        ask(loop, store, ["a/0", "b/0"], job_id=str(turn))
    failures = Counter(line for line in backend.journal if line.startswith("no room"))
    assert max(failures.values()) == 1, backend.journal
    assert len(resident(store)) == 1
    assert {r.error_code for _, rs in store.responses("3") for r in rs} == {None}


class PreparingTightBackend(TightBackend):
    """Says whether an engine fits beside those that are loaded, and prepares it if so."""

    def warm_up(self, spec: EngineSpec) -> None:
        """Nothing."""

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        self.journal.append(f"prepare {spec.id}")
        return self.fits(spec)

    def discard_prepared(self) -> None:
        """Nothing is prepared."""

    def fits(self, spec: EngineSpec) -> bool:
        gib = spec.memory_gib
        held = sum(held for engine, held in self._held if engine._dead is None)  # type: ignore[attr-defined]
        return gib is not None and held + gib <= self._room_gib

    def close(self) -> None:
        """Nothing is kept running."""


def test_an_engine_without_work_makes_way_also_where_the_backend_counts_what_is_loaded(
    store: SqlJobStore,
) -> None:
    """a works without an end with 4 of 10 GiB, b rests with 4, a question needs 4: b leaves, a goes on."""
    backend = PreparingTightBackend(10)
    hang: JsonValue = [{"match": "hang", "hang": True}]
    specs = [
        e.engine.model_copy(update={"options": {**e.engine.options, "rules": hang}})
        for e in promised(sized({"a": 4, "b": 4, "c": 4}), 4.0).experts
    ]
    pool = Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in specs))
    loop = make_loop(store, pool, lambda _name: backend, memory_gib=10)
    ask(loop, store, ["b/0"], job_id="first")
    assert loop._advancer is not None
    loop._advancer._compositions = lambda job: TextMajority(["a/0" if job.priority == BATCH else "c/0"])
    submit(store, make_queries(4, prefix="hang"), job_id="batch")
    run_until(loop, lambda: loop._n_held == 4 and resident(store) == {"a", "b"})
    submit(store, make_queries(1), job_id="question", priority=INTERACTIVE)
    run(loop, store, job_id="question")
    assert resident(store) == {"a", "c"}
    assert loop._n_held == 4, "the batch goes on"
    loop.shut_down()


# ── sleep ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_sleeps_is_not_prepared(store: SqlJobStore) -> None:
    """a sleeps: a wake brings it back, and would leave what was prepared of it lying in memory."""
    backend = PreparingTightBackend(10)
    pool = promised(sized({"a": 1, "b": 1}, sleep_levels=[1]), 1.0)
    loop = make_loop(store, pool, lambda _name: backend, max_resident=1)
    in_turn(store, loop)
    assert loop._loader.asleep == {"a"}
    loop._loader.prepare("a")
    assert loop._loader.wait(10)
    assert loop._loader.ahead is None
    assert "prepare a" not in backend.journal
    loop.shut_down()


def in_turn(store: SqlJobStore, loop: DeviceLoop) -> None:
    for turn, expert_id in enumerate(["a/0", "b/0", "a/0", "b/0"]):
        ask(loop, store, [expert_id], job_id=str(turn))


def test_engines_sleep_rather_than_leave_and_a_wake_is_no_load(store: SqlJobStore, tmp_path: Path) -> None:
    log = tmp_path / "log"
    loop = scripted_loop(store, sized({"a": 6, "b": 6}, log=log, sleep_levels=[1]), memory_gib=10)
    in_turn(store, loop)
    assert events(log) == [
        *("load a", "sleep a", "load b", "sleep b", "wake a", "sleep a", "wake b"),
    ]
    kinds = [load.kind for turn in range(4) for load in store.engine_loads(job_id=str(turn))]
    assert kinds == [LoadKind.COLD, LoadKind.COLD, LoadKind.WAKE, LoadKind.WAKE]
    rates = {engine_id: rate for (engine_id, _), rate in store.rates().items()}
    assert all(rate.wake_s is not None and rate.cold_s is not None for rate in rates.values())
    loop.shut_down()
    assert loop._loader.asleep == frozenset()


@pytest.mark.parametrize("how", [{"fail_wake": "no"}, {"crash_asleep": True}])
def test_an_engine_that_does_not_wake_is_loaded_anew(
    store: SqlJobStore, tmp_path: Path, how: dict[str, JsonValue]
) -> None:
    log = tmp_path / "log"
    loop = scripted_loop(store, sized({"a": 6, "b": 6}, log=log, sleep_levels=[1], **how), memory_gib=10)
    in_turn(store, loop)
    assert [event for event in events(log) if not event.startswith("sleep")] == [
        *("load a", "load b", "load a", "load b")
    ]
    assert all(load.kind is LoadKind.COLD for load in store.engine_loads(job_id="3"))


@pytest.mark.parametrize("how", [{"fail_sleep": "no"}, {"asleep_gib": 5.9}, {"sleep_levels": []}])
def test_an_engine_that_does_not_sleep_or_keeps_its_memory_is_closed(
    store: SqlJobStore, tmp_path: Path, how: dict[str, JsonValue]
) -> None:
    """5.9 of 6 GiB are kept: more than a quarter and the tolerance."""
    log = tmp_path / "log"
    pool = sized({"a": 6, "b": 6}, log=log, **{"sleep_levels": [1], **how})
    loop = scripted_loop(store, pool, memory_gib=10)
    in_turn(store, loop)
    assert [event for event in events(log) if event.startswith("load")] == ["load a", "load b"] * 2
    assert loop._loader.asleep == frozenset()


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=8, deadline=None)
@given(
    asked=st.lists(st.sampled_from(["a/0", "b/0", "c/0"]), min_size=2, max_size=6),
    sizes=st.tuples(*[st.sampled_from([2.0, 4.0, 7.0])] * 3),
)
def test_memory_never_takes_more_loads_than_one_resident(
    tmp_path_factory: pytest.TempPathFactory, asked: list[str], sizes: tuple[float, ...]
) -> None:
    loads = []
    for limits in ({"memory_gib": 10.0}, {"max_resident": 1}):
        store = SqlJobStore(open_database(fresh_sqlite(tmp_path_factory.mktemp("loads"))))
        loop = scripted_loop(store, sized(dict(zip("abc", sizes, strict=True))), **limits)
        for turn, expert_id in enumerate(asked):
            ask(loop, store, [expert_id], job_id=str(turn), n=1)
        loads.append(store.loads())
        loop.shut_down()
        store.close()
    assert loads[0] <= loads[1]


def test_a_log_of_scripted_memory_names_its_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = sized({"a": 1}, log=log, sleep_levels=[1]).experts[0].engine
    engine = ScriptedBackend().load(spec, ())
    engine.sleep(1)  # type: ignore[attr-defined]
    assert {json.loads(line)["pid"] for line in log.read_text().splitlines()} == {os.getpid()}


# ── reading ahead ─────────────────────────────────────────────────────────────────────────────────


def with_weights(folder: Path, *engine_ids: str) -> Pool:
    """Engines of 8 MiB of weights that are on the disk only; questions that hang are never answered."""
    experts = []
    for engine_id in engine_ids:
        (folder / engine_id).mkdir()
        dropped(folder / engine_id / "model.safetensors", 1 << 23)
        hang: JsonValue = [{"match": "hang", "hang": True}]
        spec = EngineSpec(
            id=engine_id, backend="scripted", model=str(folder / engine_id), options={"rules": hang}
        )
        experts.append(Expert(id=f"{engine_id}/0", engine=spec))
    return Pool(experts=tuple(experts))


@pytest.mark.parametrize("is_on", [True, False])
def test_the_weights_of_the_next_engine_are_read_while_the_resident_one_works(
    store: SqlJobStore, tmp_path: Path, is_on: bool
) -> None:
    """a works without an end; b is next, and finds no place beside it."""
    pool = with_weights(tmp_path, "a", "b")
    files = weight_files(pool.experts[1].engine)
    if cached_share(files) != 0.0:
        pytest.skip("this file system keeps its pages, or does not tell of them")
    meter = CountingMeter()
    setup = make_setup(store, pool, lambda _name: ScriptedBackend(), max_resident=1, read_ahead=is_on)
    loop = make_device_loop(
        setup._replace(meter=meter), owner="loop", clock=HandClock(step_s=0.001), pace=EAGER
    )
    submit(store, make_queries(3, prefix="hang"))
    run_until(loop, lambda: loop.resident == "a" and loop._n_held > 0)
    if is_on:
        run_until(loop, lambda: loop._loader.were_read == {"b"}, limit=100_000)
        assert cached_share(files) == 1.0
        assert meter.counts == {(READ_AHEAD.name, "b"): 1 << 23}
    else:
        for _ in range(50):
            loop.tick()
        assert cached_share(files) == 0.0
    assert resident(store) == {"a"}
    loop.shut_down()
    assert loop._loader.were_read == frozenset()


def test_an_engine_whose_weights_have_gone_is_loaded_or_refused_by_its_backend_and_stops_no_loop(
    store: SqlJobStore, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").symlink_to(tmp_path / "cleared")
    spec = EngineSpec(id="a", backend="scripted", model=str(tmp_path / "a"))
    pool = Pool(experts=(Expert(id="a/0", engine=spec),))
    ask(scripted_loop(store, pool), store, ["a/0"], job_id="job")


def test_a_load_from_the_page_cache_is_warm(store: SqlJobStore, tmp_path: Path) -> None:
    """8 MiB that were just written are in the page cache."""
    pool = with_weights(tmp_path, "a")
    (file,) = weight_files(pool.experts[0].engine)
    file.read_bytes()
    ask(scripted_loop(store, pool), store, ["a/0"], job_id="job")
    assert [load.kind for load in store.engine_loads(job_id="job")] == [LoadKind.WARM]
    assert store.rates()["a", "cpu"].warm_s == store.rates()["a", "cpu"].load_s


# ── what is told ──────────────────────────────────────────────────────────────────────────────────


def test_devices_tell_what_they_hold_and_who_sleeps(store: SqlJobStore) -> None:
    loop = scripted_loop(store, sized({"a": 6, "b": 6}, sleep_levels=[1]), memory_gib=10)
    for turn, expert_id in enumerate(["a/0", "b/0"]):
        ask(loop, store, [expert_id], job_id=str(turn))
    loop._seats.berths[0]._reported = None
    loop.tick()
    (report,) = store.devices(30)
    assert report.engine_id == "b"
    assert report.memory is not None
    assert (report.memory.held_gib, report.memory.asleep) == (6.0, ("a",))
    assert report.memory.free_gib is None or report.memory.free_gib > 0


def test_of_two_devices_one_loads_an_engine_beside_its_own_and_the_other_chooses_again(
    store: SqlJobStore,
) -> None:
    """Both hold a with an endless batch and have room for b and c: each of these is loaded once."""
    hang: JsonValue = [{"match": "hang", "hang": True}]
    specs = [
        EngineSpec(id=e, backend="scripted", model="none", memory_gib=1, options={"rules": hang})
        for e in "abc"
    ]
    pool = Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in specs))
    loops = [
        make_loop(store, pool, lambda _name: ScriptedBackend(), owner=owner, memory_gib=10, max_wait_s=1e6)
        for owner in ("one", "two")
    ]
    for loop in loops:
        assert loop._advancer is not None
        loop._advancer._compositions = lambda job: TextMajority(
            ["a/0"] if job.id == "endless" else ["b/0", "c/0"]
        )
    submit(store, make_queries(40, prefix="hang"), job_id="endless")
    for _ in range(200):
        for loop in loops:
            loop.tick()
    submit(store, make_queries(2), job_id="job", priority=INTERACTIVE)
    for _ in range(2000):
        if store.job("job").state is JobState.DONE:
            break
        for loop in loops:
            loop.tick()
    assert store.job("job").completed == 2
    loads = Counter(load.engine_id for load in store.engine_loads(job_id="job"))
    assert (loads["b"], loads["c"]) == (1, 1)
    for loop in loops:
        loop.shut_down()
