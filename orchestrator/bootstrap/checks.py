"""Checks: of a configuration when it is opened, and of what a question needs to be answered."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.bootstrap.looks import Check, Findings, Looks
from orchestrator.compositions.catalogue import Catalogue
from orchestrator.domain.assignments import Job
from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.domain.diagnoses import Diagnosis
from orchestrator.domain.engines import EngineState
from orchestrator.domain.experts import Pool
from orchestrator.domain.origins import objection
from orchestrator.domain.values import content_hash
from orchestrator.errors import (
    ConfigError,
    MusterError,
    NotProfiledError,
    SchemaChangedError,
    StoreError,
    UnknownNameError,
)
from orchestrator.ports.jobs import DeviceReader, StoreHealth
from orchestrator.redaction import redact
from orchestrator.runtime.files import barred
from orchestrator.services.engines import EngineBoard, Look
from orchestrator.settings.schema import Settings
from skills.grading.sandbox import REMEDY, Sandbox
from workers.backends.registry import get_backend, spec_mistakes
from workers.checkpoints.identity import weights_hash

log = logging.getLogger(__name__)

DISPENSABLE = frozenset({"broker", "workers"})
"""Checks of the stack that may fail while questions are still taken."""


MOST_JOBS = 1000
"""More jobs are not counted: telling that the database answers must cost the same whatever is in it."""

WEIGHED = frozenset({"transformers", "vllm", "fusion"})
"""Backends whose `model` is weights: a directory or a hub id."""
UNMEASURED = frozenset({"cards", "compositions"})
"""Checks that may fail while the profile is being made: questions are answered without it."""


class Health(NamedTuple):
    """State of an opened configuration: what a question needs, and engines that cool down or are down.
    `pending`: names of checks that were not come to in time, and are as they were found before."""

    checks: list[Diagnosis]
    engines: tuple[EngineState, ...] = ()
    pending: tuple[str, ...] = ()


class Checks:
    """Diagnoses of an opened configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        store: StoreHealth,
        catalogue: Catalogue,
        revision: Callable[[], None],
        devices: DeviceReader,
        engines: EngineBoard,
        config_hash: str,
        measuring: Callable[[], str | None] = lambda: None,
        refused: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        Args:
            revision: raises SchemaChangedError where the database is of another one.
            measuring: how far the profile is that this process makes; None = it makes none.
            refused: messages of the broker that strangers wrote, and nobody heard.
        """
        self._refused = refused
        self._revision = revision
        self._devices = devices
        self._measuring = measuring
        self._settings = settings
        self._pool = pool
        self._store = store
        self._catalogue = catalogue
        self._engines = engines
        self._config_hash = config_hash
        self._looks = Looks(self._named)

    def diagnose(self) -> list[Diagnosis]:
        """Check what a question needs to be answered; never raises."""
        return self.health().checks

    def health(self, *, within_s: float | None = None) -> Health:
        """The checks, and the engines that are kept away; never raises.

        Args:
            within_s: >= 0, for who cannot wait until every composition is built; None = until all is known.
        """
        measuring = self._measuring()
        if within_s is None:
            checks = Findings([check() for check in self._named().values()])
        else:
            checks = self._looks.look(within_s)
        found = list(checks.found)
        try:
            board = self._engines.look(self._config_hash)
            found += _at_work(board)
        except StoreError:  # the checks say so
            board = Look()
        if measuring is not None:
            found = [d._replace(required=d.required and d.check not in UNMEASURED) for d in found]
            found.insert(0, Diagnosis("profile", False, measuring, required=False))
        return Health(found, board.unwell, checks.pending)

    def _named(self) -> Mapping[str, Check]:
        return {name: partial(_diagnosis, name, check) for name, check in self._checks().items()}

    def _checks(self) -> Mapping[str, Callable[[], str]]:
        if self._settings.is_stack:  # the workers embed, load and route; this process only looks
            return {
                "database": self._database,
                "schema": self._schema,
                "cards": self._cards,
                "broker": self._broker,
                "workers": self._workers,
            }
        return {
            "database": self._database,
            "schema": self._schema,
            "backends": self._backends,
            "weights": self._weights,
            "cards": self._cards,
            "compositions": self._compositions,
        }

    def _database(self) -> str:
        n = self._store.n_under_way(limit=MOST_JOBS)
        return f"{n}{'+' if n == MOST_JOBS else ''} job{'' if n == 1 else 's'} under way"

    def _schema(self) -> str:
        self._revision()
        return "as this version writes it"

    def _workers(self) -> str:
        return heard_of(self._devices.devices(LIVE_S))

    def _backends(self) -> str:
        names = sorted({engine.backend for engine in self._pool.engines.values()})
        for name in names:
            get_backend(name)
        return ", ".join(names)

    def _broker(self) -> str:
        from workers.stack.celery_app import check_broker

        n = self._refused()
        strange = f"; {n} messages of others, or sent again by others, were ignored" if n else ""
        return f"{check_broker(self._settings)}{strange}"

    def _weights(self) -> str:
        folders = {e.engine.model for e in self._pool.experts} | {e.adapter for e in self._pool.experts}
        closed = {f: why for f in folders if f and (why := barred(Path(f))) is not None}
        if closed:
            told = ", ".join(f"{folder} ({why})" for folder, why in sorted(closed.items()))
            raise ConfigError(f"cannot be looked at: {told}.", remedy="Give the user access to them.")
        missing = sorted(f for f in folders if f and Path(f).is_absolute() and not Path(f).exists())
        if missing:
            raise ConfigError(f"not on this machine: {', '.join(missing)}.", remedy="Mend the pool file.")
        for engine in self._pool.engines.values():
            against = objection(engine.model, engine.revision) if engine.backend in WEIGHED else None
            if against is not None:
                raise ConfigError(f"engine '{engine.id}': {against.why}.", remedy=against.remedy)
            for wrong in spec_mistakes(engine):
                raise ConfigError(f"engine '{engine.id}': {wrong.message}", remedy=wrong.remedy)
        return f"{len(folders - {None})} models"

    def _cards(self) -> str:
        cards = self._catalogue.cards
        missing = [expert.id for expert in self._pool.answerers if expert.id not in cards]
        if missing:
            raise ConfigError(
                f"not profiled: {', '.join(missing)}.", remedy="Run `muster profile QUESTIONS.jsonl`."
            )
        return f"{len(cards)} cards"

    def _compositions(self) -> str:
        """Imported cards serve all but those whose router reads the profile's outcomes themselves."""
        waiting = []
        for name in self._catalogue.names:
            try:
                self._catalogue.build(Job(id="check", composition=name))
            except NotProfiledError:
                if not self._catalogue.cards:
                    raise
                waiting.append(name)
        without = f", but not without a profile: {', '.join(waiting)}" if waiting else ""
        return f"{len(self._catalogue.names)} compositions{without}"


def _at_work(look: Look) -> Iterator[Diagnosis]:
    """What the processes that live tell of themselves."""
    why = "; ".join(f"{s.engine_id}: {s.state}: {s.why}" for s in look.unwell)
    heal = "; ".join(dict.fromkeys(s.heal for s in look.unwell if s.heal)) or None
    yield Diagnosis("engines", not look.unwell, why or "none is kept away", heal, required=False)
    others = ", ".join(f"{report.device} of {_process(report)}" for report in look.strangers)
    yield Diagnosis(
        "configurations",
        not look.strangers,
        f"other than here: {others}" if others else "all that live run with this one",
        "Give all processes the same pool file, and start those anew." if others else None,
        required=False,
    )


def heard_of(devices: Sequence[DeviceReport]) -> str:
    """Line on the devices that were heard of: how many places, what they hold.

    Raises:
        SchemaChangedError: some of them take no work any more.
    """
    outdated = [report for report in devices if report.code == SchemaChangedError.code]
    if outdated:
        places = sorted({f"{report.device} of {report.host or 'a host'}" for report in outdated})
        raise SchemaChangedError(
            f"{', '.join(places)} takes no work: {outdated[0].why}", remedy=outdated[0].heal
        )
    return f"{len({report.owner for report in devices})} places of devices{_holdings(devices)}"


def _holdings(devices: Sequence[DeviceReport]) -> str:
    """`: 2 engines resident, 1 asleep, at least 3.5 GiB free`; nothing where they hold none."""
    resident = {report.engine_id for report in devices if report.state == "resident"}
    told = [report.memory for report in devices if report.memory is not None]
    asleep = {engine_id for memory in told for engine_id in memory.asleep} - resident
    free = [memory.free_gib for memory in told if memory.free_gib is not None]
    parts = [f"{len(resident)} engines resident"] if resident or asleep else []
    parts += [f"{len(asleep)} asleep"] if asleep else []
    parts += [f"at least {min(free):.1f} GiB free"] if free and parts else []
    return f": {', '.join(parts)}" if parts else ""


def _process(report: DeviceReport) -> str:
    """Host and process id of a device's owner."""
    parts = report.owner.split("|")
    return f"{report.host or parts[0]}" + (f", process {parts[2]}" if len(parts) > 2 else "")


def _diagnosis(name: str, check: Callable[[], str]) -> Diagnosis:
    try:
        return Diagnosis(name, True, check(), required=name not in DISPENSABLE)
    except MusterError as error:
        return Diagnosis(name, False, str(error), required=name not in DISPENSABLE)
    except Exception as error:  # a broken part must not hide the state of the others
        log.exception("check %s failed", name)
        detail = redact(f"{type(error).__name__}: {error}")
        return Diagnosis(name, False, detail, required=name not in DISPENSABLE)


def sandbox_layers() -> list[Diagnosis]:
    """Layers of the code sandbox: grading code needs them, answering does not."""
    return [
        Diagnosis(
            f"sandbox: {layer.name}",
            layer.missing is None,
            layer.purpose if layer.missing is None else f"{layer.missing} ({layer.purpose})",
            None if layer.missing is None else REMEDY,
            required=False,
        )
        for layer in Sandbox().layers()
    ]


def config_hash(settings: Settings, pool: Pool) -> str:
    """Identity of what answers depend on: the pool and the compositions, not ports or places of files."""
    muster = settings.muster.model_dump(mode="json", include={"skills", "compositions", "embedder", "seed"})
    muster["skills"]["vocabulary"] = _content_of(settings.base_dir / settings.muster.skills.vocabulary)
    muster["embedder"]["model"] = _model_of(settings.muster.embedder.model)
    return content_hash([pool.fingerprint, muster])


def _content_of(path: Path) -> str:
    """The hash of a file; the name of what is none (`induced`)."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.name


def _model_of(name: str) -> str:
    return (weights_hash(name) or name) if Path(name).is_dir() else name


def composition_mistakes(settings: Settings, catalogue: Catalogue) -> Iterator[tuple[str, MusterError]]:
    """Compositions of the file that name a router, an aggregator or an option that does not exist.

    They are built, as far as that needs no profile.
    """
    for name in settings.muster.compositions:
        try:
            catalogue.build(Job(id="check", composition=name))
        except NotProfiledError:
            continue
        except (ConfigError, UnknownNameError) as error:
            yield name, error
