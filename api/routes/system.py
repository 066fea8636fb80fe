"""`GET /v1/system`: hosts and processes of the stack, and what is wrong with them; for who administers it."""

from fastapi import APIRouter

from api.deps import AppDep
from api.middleware.strict_json import StrictRoute
from api.schemas.system import SystemView
from api.views.system import system_view

router = APIRouter(prefix="/v1/system", route_class=StrictRoute, tags=["system"])


@router.get("")
def get_system(app: AppDep) -> SystemView:
    """Show hosts, processes, devices and engines of the stack, clocks against the database's, and all that is
    wrong in sentences."""
    return system_view(app.fleet.desk.state())
