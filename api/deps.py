"""What handlers need, through FastAPI's dependency injection."""

from typing import Annotated

from fastapi import Depends, Request

from orchestrator.bootstrap import App


def get_app(request: Request) -> App:
    app: App = request.app.state.muster
    return app


def get_started(request: Request) -> int:
    """When this server was made, in seconds since 1970."""
    started: int = request.app.state.started
    return started


AppDep = Annotated[App, Depends(get_app)]
StartedDep = Annotated[int, Depends(get_started)]
