"""What the example package adds, in a pool file and through the service."""

from pathlib import Path

import pytest
import yaml

from orchestrator.bootstrap.app import App
from orchestrator.bootstrap.checks import composition_mistakes
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import ConfigError, EngineLoadError
from orchestrator.ports.engines import EngineEvent, Finished, GenerationRequest
from orchestrator.settings.load import load_settings
from tests.fakes.packages import install, put_on_path
from workers.backends.registry import check_options, get_backend
from workers.engine_host.backend import HostedBackend

ALGEBRA = Query(id="q", question="How much algebra is 3 + 4?", answer_type=AnswerType.NUMBER)
CHEMISTRY = Query(id="q", question="How much chemistry is 3 + 4?", answer_type=AnswerType.NUMBER)


def member(name: str, reply: str, *roles: str, engine: str = "scripted") -> dict[str, object]:
    """An expert that always says the same."""
    options = {"rules": [{"regex": ".", "reply": reply}]} if engine == "scripted" else {"before": reply}
    serving = {"engine": engine, "roles": ["expert", *roles], "options": options}
    return {
        "model_name": name,
        "litellm_params": {"model": f"{engine}/{name}"},
        "model_info": {"muster": serving},
    }


def app(folder: Path, **compositions: object) -> App:
    config = {
        "model_list": [
            member("algebra", "The answer is 7"),
            member("chemistry", "After much thought I say that the answer is 8"),
            member("poetry", "Sing, goddess: the answer is 8, I believe: the answer is 8"),
            member("umpire", "The answer is 7", "aggregator"),
            member("parrot", "The answer is 7. ", engine="parrot"),
        ],
        "muster": {"data_dir": "data", "embedder": {"model": "hash"}, "compositions": compositions},
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(config))
    return App(load_settings(path))


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_router_of_a_package_recruits(tmp_path: Path) -> None:
    muster = app(tmp_path, near={"router": "nearest_name", "aggregator": "majority"})
    assert muster.asking.ask(ALGEBRA, AskOptions(model="near")).answered_by == "algebra"
    assert muster.asking.ask(CHEMISTRY, AskOptions(model="near")).answered_by == "chemistry"
    muster.close()


def test_a_voting_aggregator_of_a_package_votes(tmp_path: Path) -> None:
    """7 in four words once; 8 in nine and in eleven: 1/4 against 1/9 + 1/11."""
    members = ["algebra", "chemistry", "poetry"]
    muster = app(
        tmp_path,
        short={"router": "all", "aggregator": "terse", "experts": members},
        plain={"router": "all", "aggregator": "majority", "experts": members},
    )
    answers = [muster.asking.ask(ALGEBRA, AskOptions(model=name)).value for name in ("short", "plain")]
    assert answers == ["7", "8"]
    muster.close()


def test_an_aggregator_of_a_package_asks_a_model_of_the_pool(tmp_path: Path) -> None:
    members = ["algebra", "chemistry", "poetry"]
    muster = app(tmp_path, ruled={"router": "all", "aggregator": "referee", "experts": members})
    answer = muster.asking.ask(ALGEBRA, AskOptions(model="ruled"))
    assert (answer.value, answer.n_calls) == ("7", 4)
    assert answer.usage_by_role["aggregate"].completion_tokens == 4
    muster.close()


def test_options_of_a_packages_rows_are_checked_with_the_configuration(tmp_path: Path) -> None:
    muster = app(
        tmp_path, near={"router": "nearest_name", "router_options": {"kk": 1}, "aggregator": "terse"}
    )
    [(name, mistake)] = composition_mistakes(muster.settings, muster.catalogue)
    assert name == "near"
    assert str(mistake).startswith("router 'nearest_name' has no option 'kk'.")
    muster.close()


def test_options_of_a_packages_backend_are_checked_with_the_pool_file(tmp_path: Path) -> None:
    muster = app(tmp_path)
    engine = muster.pool.by_id["parrot"].engine
    with pytest.raises(EngineLoadError, match="option 'befor' of backend"):
        check_options(engine.model_copy(update={"options": {"befor": "x"}}))
    muster.close()


def test_a_backend_of_a_package_runs_engines(tmp_path: Path) -> None:
    muster = app(tmp_path)
    answer = muster.asking.ask(ALGEBRA, AskOptions(model="parrot"))
    assert (answer.value, answer.text[:32]) == ("7", "The answer is 7. How much algebr")
    muster.close()


def test_a_backend_of_a_package_runs_engines_in_child_processes() -> None:
    """The child is given the package: its interpreter may be of an environment that does not have it."""
    backend = HostedBackend("parrot", env={"PYTHONPATH": ""}, n_spares=0)
    spec = EngineSpec(id="polly", backend="parrot", model="parrot/polly", options={"before": "You say "})
    engine = backend.load(spec, ())
    engine.submit(GenerationRequest("r", (Message(role="user", content="hello"),), Sampling()))
    events: list[EngineEvent] = []
    while not events:
        events = engine.poll(1.0)
    engine.close()
    backend.close()
    assert [event.text for event in events if isinstance(event, Finished)] == ["You say hello"]


def test_a_row_that_leads_nowhere_is_an_error_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = {"muster.backends": {"hollow": "hollow_a:ROW"}}
    row = "from workers.backends.registry import BackendRow\nROW = BackendRow('no_such_module:Backend')"
    put_on_path(monkeypatch, install(tmp_path / "hollow", "hollow", entry_points, {"hollow_a": row}))
    with pytest.raises(ConfigError, match="engine 'hollow': no_such_module:Backend cannot be imported"):
        get_backend("hollow")


def test_a_name_that_two_packages_take_is_refused_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = {"muster.backends": {"parrot": "other_parrot:ROW", "vllm": "other_vllm:ROW"}}
    put_on_path(monkeypatch, install(tmp_path / "other", "other-birds", entry_points))
    with pytest.raises(ConfigError, match=r"'parrot' has several owners: .*other-birds.*muster-example"):
        app(tmp_path)
    with pytest.raises(ConfigError, match=r"'vllm' has several owners: Muster; package other-birds 1\.0"):
        get_backend("vllm")
    get_backend("scripted")
