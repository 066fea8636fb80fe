"""Stores of a device's loop."""

from typing import NamedTuple

from orchestrator.ports.jobs import CostStore, DeviceStore, JobWatcher, LeaseStore, StepStore, WaitingReader
from orchestrator.ports.questions import QuestionStore


class DeviceStores(NamedTuple):
    """Stores of a device's loop: what it reads and writes, by topic; one object may be all of them.

    `questions`: None = it carries none.
    """

    jobs: JobWatcher
    waiting: WaitingReader
    steps: StepStore
    leases: LeaseStore
    devices: DeviceStore
    costs: CostStore
    questions: QuestionStore | None = None
