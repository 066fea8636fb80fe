"""The fleet as it is shown."""

from api.schemas.health import CheckView
from api.schemas.system import (
    SystemClockView,
    SystemDeviceView,
    SystemEngineView,
    SystemHostView,
    SystemProcessView,
    SystemView,
)
from orchestrator.domain.devices import DeviceMemory, DeviceReport
from orchestrator.domain.fleet import EngineHere
from orchestrator.services.fleet import FleetHost, FleetState, HostProcess


def system_view(state: FleetState) -> SystemView:
    """Hosts by name, their processes, and what was looked for."""
    return SystemView(
        ok=state.is_well,
        hosts=[_host(host) for host in state.hosts],
        checks=[CheckView(**check._asdict()) for check in state.checks],
    )


def _host(host: FleetHost) -> SystemHostView:
    return SystemHostView(
        host=host.name, silent=host.is_silent, processes=[_process(one) for one in host.processes]
    )


def _process(one: HostProcess) -> SystemProcessView:
    report = one.report
    clock = report.clock
    return SystemProcessView(
        process=report.process,
        role=report.role,
        device=report.device,
        silent=report.is_silent,
        seen_s=round(report.seen_s, 1),
        age_s=round(report.age_s, 1),
        config_hash=report.config_hash,
        pool=report.source,
        schema_revision=report.revision,
        versions=report.versions,
        clock=None
        if clock is None
        else SystemClockView(offset_s=round(clock.offset_s, 4), error_s=round(clock.error_s, 4)),
        leases=one.n_leased,
        devices=[_device(device) for device in one.devices],
        engines=[_engine(engine) for engine in report.engines],
    )


def _device(report: DeviceReport) -> SystemDeviceView:
    memory = report.memory or DeviceMemory()
    return SystemDeviceView(
        device=report.device,
        engine=report.engine_id,
        state=report.state,
        memory_gib=memory.held_gib,
        free_gib=memory.free_gib,
        asleep=memory.asleep,
    )


def _engine(engine: EngineHere) -> SystemEngineView:
    return SystemEngineView(
        engine=engine.engine_id,
        definition=engine.definition,
        weights=engine.weights,
        why=engine.why,
        remedy=engine.heal,
    )
