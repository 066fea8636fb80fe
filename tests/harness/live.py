"""A real server in a thread of the test's process, and the official client for it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import uvicorn

from api.main import create_app
from orchestrator.bootstrap.app import App


@contextmanager
def live_client(app: App) -> Iterator[openai.OpenAI]:
    """The client of a server over an app, on a free port of the loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(app), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    # The socket listens already: early connections wait for the server to accept them.
    thread.start()
    try:
        port = listening.getsockname()[1]
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
