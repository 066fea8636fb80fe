"""What the example package adds, in a pool file and through the service."""

from pathlib import Path

import pytest
import yaml

from orchestrator.bootstrap.app import App
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import ConfigError
from orchestrator.settings.load import load_settings

ALGEBRA = Query(id="q", question="How much algebra is 3 + 4?", answer_type=AnswerType.NUMBER)
CHEMISTRY = Query(id="q", question="How much chemistry is 3 + 4?", answer_type=AnswerType.NUMBER)


def member(name: str, reply: str, *roles: str, engine: str = "scripted") -> dict[str, object]:
    """An expert that always says the same."""
    options = {"rules": [{"regex": ".", "reply": reply}]} if engine == "scripted" else {}
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
    assert muster.service.ask(ALGEBRA, composition="near").answered_by == "algebra"
    assert muster.service.ask(CHEMISTRY, composition="near").answered_by == "chemistry"
    muster.close()


def test_a_voting_aggregator_of_a_package_votes(tmp_path: Path) -> None:
    """7 in four words once; 8 in nine and in eleven: 1/4 against 1/9 + 1/11."""
    members = ["algebra", "chemistry", "poetry"]
    muster = app(
        tmp_path,
        short={"router": "all", "aggregator": "terse", "experts": members},
        plain={"router": "all", "aggregator": "majority", "experts": members},
    )
    answers = [muster.service.ask(ALGEBRA, composition=name).value for name in ("short", "plain")]
    assert answers == ["7", "8"]
    muster.close()


def test_an_aggregator_of_a_package_asks_a_model_of_the_pool(tmp_path: Path) -> None:
    members = ["algebra", "chemistry", "poetry"]
    muster = app(tmp_path, ruled={"router": "all", "aggregator": "referee", "experts": members})
    answer = muster.service.ask(ALGEBRA, composition="ruled")
    assert (answer.value, answer.n_calls) == ("7", 4)
    assert answer.usage_by_role["aggregate"].completion_tokens == 4
    muster.close()


def test_options_of_a_packages_rows_are_checked_with_the_configuration(tmp_path: Path) -> None:
    muster = app(
        tmp_path, near={"router": "nearest_name", "router_options": {"kk": 1}, "aggregator": "terse"}
    )
    with pytest.raises(ConfigError, match=r"muster.compositions.near: router 'nearest_name' has no option"):
        muster.check_compositions()
    muster.close()
