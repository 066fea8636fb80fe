"""Wire types of `/health/ready`."""

from typing import Literal

from api.schemas.base import Wire
from api.schemas.experts import EngineView


class CheckView(Wire):
    """A check that is not `required` costs speed, not answers."""

    check: str
    ok: bool
    detail: str
    remedy: str | None
    required: bool


class ReadyView(Wire):
    """`engines`: those that cannot be served now."""

    status: Literal["ready", "not_ready"]
    degraded: bool
    checks: list[CheckView]
    engines: list[EngineView]
