"""Odd models behind a server that a command starts: `muster serve` over a pool of them.

Each is asked through the engine `command` of an outer Muster, which knows it as a name of the server alone.
"""

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import yaml

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.engines import Failed, Finished, GenerationRequest, Tokens
from tests.contracts.test_odd_models_contract import N_TOKENS, reference
from tests.harness.processes import ROOT
from tests.odd.making import Made
from tests.odd.table import ODD
from tests.tiny_models import tiny_model
from tests.unit.workers.backends.command.commands import await_end_of, events, tagged
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine

SOUND = "sound"
ANSWERING = (
    *("no system role", "strict alternation", "system left out", "one turn", "contents in parts"),
    *("a list of templates", "no template", "shards", "tidied blanks", "bytes for want of pieces"),
    *("tokens that the model lacks", "several ends", "ranks of modules"),
)
DOWN = (
    *("broken template", "template without the question", "pointer to weights", "truncated weights"),
    *("page in place of a tokenizer", "pickles only", "own code", "a lost norm"),
    *("PiSSA", "for another kind of model"),
)


class Behind(NamedTuple):
    """The engine, and what is behind its server."""

    engine: CommandEngine
    made: dict[str, Made]


def called(name: str) -> str:
    return name.replace(" ", "-")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    plain = tiny_model(folder / SOUND)
    made = {name: ODD[name].make(plain, folder / called(name)) for name in (*ANSWERING, *DOWN)}
    rows = [_row(SOUND, Made(plain)), *(_row(called(name), of) for name, of in made.items())]
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}}
    (folder / "inner.yaml").write_text(yaml.safe_dump({"model_list": rows, "muster": muster}))
    words = [sys.executable, "-m", "api.cli.main", "--config", str(folder / "inner.yaml")]
    options = {
        "command": [*words, "serve", "--host", "{host}", "--port", "{port}"],
        "env": {"PYTHONPATH": str(ROOT)},
        "health": "/health",
        "model_id": SOUND,
        "drop_params": ["top_p"],
        "adapter_models": {name: called(name) for name in made},
    }
    spec = EngineSpec(id="behind", backend="command", model="muster", max_model_len=128, options=options)
    engine = CommandBackend().load(spec, list(made))
    yield Behind(engine, made)
    engine.close()
    await_end_of(str(folder / "inner.yaml"))
    assert tagged(str(folder / "inner.yaml")) == []


def _row(name: str, of: Made) -> dict[str, object]:
    muster: dict[str, object] = {"max_model_len": 128, "prompt": "plain"}
    if of.adapter is None:
        info: dict[str, object] = {"muster": {**muster, "options": {"threads": 1}}}
    else:
        info = {"base_model": str(of.folder), "muster": {**muster, "adapter": "lora"}}
    return {"model_name": name, "litellm_params": {"model": str(of.adapter or of.folder)}, "model_info": info}


def end_of(behind: Behind, name: str) -> tuple[Finished | Failed, str]:
    """The end of the question of a model, and what was streamed before."""
    sampling = Sampling(max_tokens=N_TOKENS)
    behind.engine.submit(GenerationRequest("q", ODD[name].messages, sampling, name, INTERACTIVE))
    found = events(behind.engine, 1)
    end = found[-1]
    assert isinstance(end, Finished | Failed)
    return end, "".join(event.text for event in found if isinstance(event, Tokens))


@pytest.mark.parametrize("name", ANSWERING)
def test_it_answers_like_the_plain_reference(behind: Behind, name: str) -> None:
    end, streamed = end_of(behind, name)
    assert isinstance(end, Finished), end
    assert end.text == reference(ODD[name], behind.made[name])
    assert end.text.startswith(streamed)


@pytest.mark.parametrize("name", DOWN)
def test_who_is_down_there_fails_alone_with_the_reason_and_the_server_is_not_blamed(
    behind: Behind, name: str
) -> None:
    """It knows the reason, and what another Muster says in the end is not asked for again."""
    pid = behind.engine.pid
    for _ in range(3):
        end, _ = end_of(behind, name)
        assert isinstance(end, Failed)
        assert (end.error_code, end.blame) == ("expert_unavailable", "prompt")
        assert re.search(ODD[name].says, end.error), end.error
    assert behind.engine.pid == pid
    assert isinstance(end_of(behind, ANSWERING[0])[0], Finished)
