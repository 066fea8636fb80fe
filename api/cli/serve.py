"""`serve`: the REST API over the configured pool."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.session import Session, profile_path, session_of

if TYPE_CHECKING:
    import uvicorn

    from orchestrator.bootstrap.app import App
    from orchestrator.domain.queries import Query
    from orchestrator.settings.schema import Settings

log = logging.getLogger(__name__)

GRACE_S = 10
"""For how long requests under way are answered yet when the server is told to end."""
LAST_S = 2
"""Of it, the part in which those who still wait are told that they are not."""


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Default: muster.server.host.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0 = any free one. Default: muster.server.port.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            help="Labelled questions: measure unprofiled experts meanwhile. Default: muster.profile_set.",
        ),
    ] = None,
) -> None:
    """Serve the OpenAI-compatible API until interrupted.

    It answers at once, with what is known of the experts, and better when those without a card are profiled.
    """
    import uvicorn

    from api.cli.descriptors import SPARE, secure_descriptors
    from api.connections import bounded_protocol
    from api.main import create_app
    from orchestrator.bootstrap.app import open_app
    from orchestrator.errors import InputError
    from orchestrator.runtime.garbage import collect_seldom

    session = session_of(ctx)
    session.quiet.doing("opening the pool")
    logging.getLogger().setLevel(logging.DEBUG if session.debug else logging.INFO)
    settings = session.settings()
    bind = (host or settings.muster.server.host, settings.muster.server.port if port is None else port)
    _require_keys(settings, bind[0])
    _check_free(*bind)
    server = settings.muster.server
    n_free = secure_descriptors(server.max_in_flight) - server.max_in_flight - SPARE
    if profile is not None and settings.is_stack:
        raise InputError("--profile is for one process.", param="profile", remedy="Run `muster profile`.")
    questions = _labelled(settings, profile)
    with open_app(settings, background=True) as app, _prepared(session, app, questions):
        config = uvicorn.Config(
            create_app(app),
            host=bind[0],
            port=bind[1],
            log_config=None,
            server_header=False,
            http=bounded_protocol(
                most=min(server.max_connections, n_free), header_timeout_s=server.header_timeout_s
            ),
            timeout_graceful_shutdown=GRACE_S,  # event streams end with their clients, not with us
        )
        listener = config.bind_socket()
        # Whoever reads the address below may connect at once; the server then accepts.
        listener.listen(config.backlog)
        url = f"http://{bind[0]}:{listener.getsockname()[1]}"
        session.quiet.end()
        session.emit({"url": url}, f"Muster listens on {url} (Ctrl-C stops it).")
        collect_seldom()
        try:
            server_of(config, on_last=app.dispatcher.dismiss).run(sockets=[listener])
        except KeyboardInterrupt:
            log.info("stopped")


def server_of(config: "uvicorn.Config", *, on_last: Callable[[], object]) -> "uvicorn.Server":
    """A server that, told to end, answers what is under way, and calls `on_last` when that has taken long."""
    import asyncio

    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            last = asyncio.get_running_loop().call_later(GRACE_S - LAST_S, on_last)
            try:
                await super().shutdown(sockets)
            finally:
                last.cancel()

    return Server(config)


def _require_keys(settings: "Settings", host: str) -> None:
    """Whoever may call from elsewhere is asked for a key.

    Raises:
        ConfigError: others than this machine would reach the API, and no key was ever made.
    """
    from api.middleware.origins import host_of, is_loopback
    from orchestrator.bootstrap.keys import open_keys
    from orchestrator.errors import ConfigError

    if is_loopback(host_of(host) or host):
        return
    with open_keys(settings) as keys:
        if not keys.are_needed():
            raise ConfigError(
                f"others would reach {host}, and nobody would be asked for a key.",
                param="muster.server.host",
                remedy="Run `muster keys create --scope admin` first, or listen on 127.0.0.1.",
            )


def _check_free(host: str, port: int) -> None:
    """Before the pool is opened rather than after it.

    Raises:
        InputError: the address cannot be listened on.
    """
    from orchestrator.errors import InputError

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}.",
            param="port",
            remedy="Give --port (0 = any free one), and an address of this machine as --host.",
        ) from error


def _labelled(settings: "Settings", file: Path | None) -> "list[Query]":
    """The questions to profile on.

    Raises:
        InputError: they cannot be read.
    """
    from orchestrator.bootstrap.labelled import read_labelled

    path = profile_path(settings, file)
    return [] if path is None or settings.is_stack else read_labelled(path)


@contextmanager
def _prepared(session: Session, app: "App", questions: "list[Query]") -> Iterator[None]:
    """Embedder and profile in the background, with a line now and then.

    Raises:
        SkillError: questions that cannot be graded.
    """
    from api.cli.progress import JobLines

    lines = JobLines(
        lambda line: session.remark(line.rstrip()), left=app.jobs.left, waits_for=app.jobs.waits_for
    )
    if not app.settings.is_stack:  # the workers embed and route
        app.preparation.start(
            questions, on_progress=lambda p: lines.update("profiling", p), tell=session.remark
        )
    try:
        yield
    finally:
        app.preparation.stop()
