"""Diagnoses: what a check of the running system found."""

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """One check of `muster doctor` and `/health/ready`. One that is not `required` costs speed only."""

    check: str
    ok: bool
    detail: str
    remedy: str | None = None
    required: bool = True
