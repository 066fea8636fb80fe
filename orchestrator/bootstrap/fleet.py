"""The fleet, wired: what this process tells of itself, what it may serve, and what it knows of the others."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.bootstrap.checks import WEIGHED
from orchestrator.bootstrap.published import publication_of
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.fleet import (
    EngineHere,
    ProcessReport,
    ProcessRole,
    PublishedPool,
    Withheld,
    process_of,
)
from orchestrator.domain.values import content_hash
from orchestrator.ports.jobs import DeviceReader
from orchestrator.runtime.files import barred
from orchestrator.runtime.live import Live
from orchestrator.runtime.rounds import Rounds
from orchestrator.runtime.versions import versions_here
from orchestrator.services.fleet import FleetDesk
from orchestrator.services.fleet_reports import FleetReports
from orchestrator.settings.schema import Settings
from orchestrator.store import Database, SqlFleetStore
from orchestrator.store.migrations import HEAD
from workers.backends.registry import REMOTE_BACKENDS
from workers.backends.vllm.backend import ENVIRONMENT, PYTHON_VARIABLE
from workers.checkpoints.marks import FileMarks
from workers.checkpoints.weights_watch import ExpertWeights, Finding, WeightsWatch
from workers.leases.owners import loop_of, new_owner, this_machine

log = logging.getLogger(__name__)

HOST = socket.gethostname()
LOOK_S = 2.0
MARKS_FILE = "weights.json"
AT_ONCE_BYTES = 64 << 20
"""Weights of which so much is to be read at most are read before a worker begins; others while it works."""


class Fleet:
    """This process among those of its stack.

    Args:
        pool: the live one.

    Attributes:
        desk: looks at all of them.
    """

    def __init__(self, database: Database, devices: DeviceReader, *, settings: Settings, pool: Pool) -> None:
        self.store = SqlFleetStore(database)
        self._settings = settings
        self._pool = pool
        self._is_file = settings.stated_weights is None
        self._published: PublishedPool | None = None
        self._publication: str | None = None
        self._config_hash = ""
        self._fixed: Mapping[str, Withheld] = {}
        self._reports: FleetReports | None = None
        self._rounds = Rounds("muster-weights", self._look, every_s=LOOK_S)
        self._watch = self._watched(settings.muster.check_weights)
        engines = Live(lambda: pool.engines)
        self.desk = FleetDesk(self.store, devices, engine_ids=engines.keys(), loop_of=loop_of)

    def _watched(self, mode: Literal["full", "headers", "off"]) -> WeightsWatch:
        return WeightsWatch(
            self.store,
            marks=FileMarks(self._settings.muster.data_dir / MARKS_FILE),
            mode=mode,
            host=HOST,
            where=f"below '{self._settings.base_dir}'",
        )

    def withheld(self) -> Mapping[str, Withheld]:
        """Engines of the pool that this process does not serve, and why; for any thread."""
        return {**self._watch.withheld, **self._fixed}

    def join(self, role: ProcessRole, *, config_hash: str, device: str | None = None) -> None:
        """Tell the others from now on that this process lives; idempotent. An API process of a stack also
        publishes its pool, and a worker reads its weights before it serves them.

        Args:
            device: that it owns; where one process does all, its own.

        Raises:
            StoreError: the database cannot be used.
        """
        if self._reports is not None:
            return
        self._config_hash = config_hash
        if not self._settings.is_stack:
            device = self._settings.muster.device
        elif role == "api" and self._is_file:
            self._publish()
        elif role == "worker":
            self._read_published()
            wanted = self.weights()
            self._watch.expect(wanted)
            if self._watch.n_unread(wanted) <= AT_ONCE_BYTES:
                self._watch.look(wanted)
            self._rounds.start()
        blank = ProcessReport(
            process=process_of(new_owner()),
            role=role,
            host=HOST,
            machine=str(this_machine()),
            device=device,
            versions=versions_here(_vllm_python()),
            config_hash=config_hash,
            revision=HEAD,
            source="file" if self._is_file else "database",
        )
        self._reports = FleetReports(self.store, lambda: blank.replaced(engines=self._engines()))
        self._reports.start()

    def leave(self) -> None:
        """Say good-bye; idempotent."""
        self._watch.stop()
        self._rounds.stop()
        if self._reports is not None:
            self._reports.stop()

    def forget_weights(self, name: str) -> int:
        """Have the weights of an expert, or of all of an engine, recorded anew by the next host that reads
        them; how many experts' were recorded."""
        self._read_published()
        return self.store.forget_weights(
            [w.key for w in self.weights() if name in (w.expert_id, w.engine_id)]
        )

    def weights(self) -> list[ExpertWeights]:
        """Weights of the pool's experts, with the keys that all hosts know them by."""
        return [self._weights_of(expert) for expert in self._pool.experts]

    # ── what was published ────────────────────────────────────────────────────────────────────────

    def _publish(self) -> None:
        pool = publication_of(self._settings, self._pool, config_hash=self._config_hash, host=HOST)
        self._published = pool
        if self._settings.muster.check_weights == "full":  # whoever serves them reads them whole
            self._watch = self._watched("headers")
        self._watch.look(self.weights())
        self.store.publish(pool)
        log.info("the pool is published for workers without a pool file, as %s", self._config_hash)

    def _read_published(self) -> None:
        """Look whether another pool was published since, and what that means here."""
        publication = self.store.publication()
        if publication != self._publication:
            try:
                self._published = self.store.published()
            except ValueError:
                log.warning("the pool that was published last is of another version of Muster: not compared")
                self._published = None
            self._publication = publication  # what could not be read is read again
            self._tell_difference()
        self._fixed = self._unfit()

    def _tell_difference(self) -> None:
        published = self._published
        if published is not None and published.config_hash != self._config_hash:
            way = "its pool file" if self._is_file else "the pool of its start"
            log.warning(
                "the pool that %s published is %s, and %s gives %s: %s",
                published.host,
                published.config_hash,
                way,
                self._config_hash or "another",
                "give it the same file" if self._is_file else "restart this worker to take it over",
            )

    def _unfit(self) -> dict[str, Withheld]:
        """Engines that cannot be asked from here, or are defined otherwise than in the published pool."""
        by_id, unreached = self._pool.by_id, self._settings.unreached
        unfit = {
            by_id[name].engine.id: Withheld(f"{why}.", "Set what is missing, and restart this worker.")
            for name, why in unreached.items()
            if name in by_id
        }
        stated = {} if self._published is None else self._published.experts
        definitions = {one.engine_id: one.definition for one in stated.values()}
        for engine_id, spec in self._pool.engines.items():
            theirs = definitions.get(engine_id, spec.fields_of_definition)
            fields = sorted(
                name
                for name in {*theirs, *spec.fields_of_definition}
                if theirs.get(name) != spec.fields_of_definition.get(name)
            )
            if fields:
                unfit[engine_id] = Withheld(
                    f"it is defined otherwise here ({', '.join(fields)}) than in the published pool.",
                    "Give this worker the API's pool file, or none, or the changed engine another name.",
                )
        return unfit

    # ── weights ───────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        self._read_published()
        self._watch.look(self.weights())

    def _weights_of(self, expert: Expert) -> ExpertWeights:
        stated = {} if self._published is None else self._published.experts
        known = stated.get(expert.id)
        identity = expert.weights_hash if known is None else known.weights_hash
        return ExpertWeights(
            expert_id=expert.id,
            engine_id=expert.engine.id,
            key=content_hash(["weights", expert.id, identity]),
            places=_places(expert),
            must_be_here=not self._is_file,
        )

    def _engines(self) -> tuple[EngineHere, ...]:
        withheld, found = self.withheld(), self._watch.findings
        return tuple(
            _engine_here(engine_id, spec.definition, found.get(engine_id), withheld.get(engine_id))
            for engine_id, spec in self._pool.engines.items()
        )


def _places(expert: Expert) -> dict[str, str]:
    """Folders and files of an expert's weights on this host; none of what runs elsewhere, is scripted, or
    comes from the hub by its revision."""
    engine = expert.engine
    if engine.backend in REMOTE_BACKENDS:
        return {}
    places = {"": engine.model, **({"adapter": expert.adapter} if expert.adapter is not None else {})}
    places |= {name: place for name, place in engine.members.items() if _is_here(place)}
    is_local = _is_here(engine.model) or (engine.backend in WEIGHED and engine.revision is None)
    return places if is_local else {}


def _is_here(place: str) -> bool:
    """True for what exists, also where this user may not look."""
    return barred(Path(place)) is not None or Path(place).exists()


def _engine_here(
    engine_id: str, definition: str, found: Finding | None, withheld: Withheld | None
) -> EngineHere:
    return EngineHere(
        engine_id=engine_id,
        definition=definition,
        weights="none" if found is None else found.state,
        why=None if withheld is None else withheld.why,
        heal=None if withheld is None else withheld.heal,
    )


def _vllm_python() -> Path | None:
    """Interpreter that vLLM has for itself, where there is one."""
    named: Sequence[str | None] = (os.environ.get(PYTHON_VARIABLE), str(ENVIRONMENT))
    paths = [Path(name) for name in named if name]
    return next((path.absolute() for path in paths if path.exists()), None)
