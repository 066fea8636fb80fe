"""A server over scripted experts, with a real store, for all bad requests."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import write_pool

MAX_BODY, MAX_UPLOAD = 1_300_000, 2_000_000


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("bad-inputs")
    limits = {"max_body_bytes": MAX_BODY, "max_upload_bytes": MAX_UPLOAD}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder, server=limits)), background=True) as app:
            yield app


@pytest.fixture(scope="package")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client
