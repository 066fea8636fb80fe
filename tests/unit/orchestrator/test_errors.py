"""Errors on their way from a worker process to the user."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from orchestrator.errors import AnswerFailedError, ConfigError, MusterError, NotFoundError, UnknownNameError


def _fail(kind: str) -> None:
    if kind == "name":
        raise UnknownNameError("pool", "pear", ["pair"], param="pool")
    if kind == "config":
        raise ConfigError("no such key.", file="pool.yaml", line=3, remedy="Remove it.")
    if kind == "answer":
        raise AnswerFailedError("nobody answered.", code="backend_error")
    raise NotFoundError("no job 'j'.")


@pytest.mark.parametrize("kind", ["name", "config", "answer", "plain"])
def test_an_error_of_a_worker_process_is_the_same_here(kind: str) -> None:
    with pytest.raises(MusterError) as here:
        _fail(kind)
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor,
        pytest.raises(type(here.value)) as there,
    ):
        executor.submit(_fail, kind).result()
    assert str(there.value) == str(here.value)
    assert {k: v for k, v in vars(there.value).items() if k != "__notes__"} == vars(here.value)
