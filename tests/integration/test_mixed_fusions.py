"""A fusion whose members are recruited: their weights for a question are its strengths for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.bootstrap.app import open_app
from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import ConfigError
from orchestrator.settings.load import load_settings

ZOO = Path(__file__).parents[2] / "examples/zoo"
ROMAN = Query(id="q", question="Write 1984 in Roman numerals.")
pytestmark = pytest.mark.zoo


def member(name: str, model: str, **muster: Any) -> dict[str, Any]:
    base = {"base_model": "models/generalist"} if muster.get("adapter") else {}
    return {
        "model_name": name,
        "litellm_params": {"model": f"models/{model}", "max_tokens": 24},
        "model_info": {**base, "muster": {"prompt": "plain", "max_model_len": 512, **muster}},
    }


def write_pool(folder: Path, *, rule: str = "upscale", known: bool = True, **composition: Any) -> Path:
    """The large member of the fusion is its base: at strength 1 it is the expert."""
    (folder / "models").symlink_to(ZOO / "models")
    lora = [{"model": "models/generalist", "adapter": f"models/lora-{name}"} for name in ("roman", "keypad")]
    options = {"rule": rule, "base": "models/generalist", "experts": lora}
    experts = [member(name, f"lora-{name}", adapter="lora") for name in ("roman", "keypad")]
    others = experts if known else [member("reverse", "reverse")]
    mixed = {"router": "all", "aggregator": "first", "mixture": "both", **composition}
    document = {
        "model_list": [member("both", "generalist", engine="fusion", options=options), *others],
        "muster": {"data_dir": "data", "embedder": {"model": "hash"}, "compositions": {"mixed": mixed}},
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_recruits_are_fused_at_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_pool(tmp_path)
    document = yaml.safe_load(path.read_text())
    compositions = document["muster"]["compositions"]
    compositions["one"] = {**compositions["mixed"], "experts": ["roman"]}
    path.write_text(yaml.safe_dump(document))
    with open_app(load_settings(path)) as app:
        [decision] = app.asking.route([ROMAN], model="mixed")
        [recruit] = decision.recruits
        assert recruit.expert_id == "both"
        assert set(recruit.mixture) == {("experts[0]", 0.5), ("experts[1]", 0.5)}
        assert recruit.note == "mixes keypad 0.5, roman 0.5"

        alone = app.asking.ask(ROMAN, AskOptions(model="roman")).text
        fused = app.asking.ask(ROMAN, AskOptions(model="one"))
        assert (fused.text, fused.answered_by) == (alone, "both")
        assert alone == "MCMLXXXIV"
        assert app.asking.ask(ROMAN, AskOptions(model="mixed")).error_code is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rule": "dynamic"}, "have no strengths"),
        ({"known": False}, "no member of 'both' is an expert of the pool"),
    ],
)
def test_a_fusion_that_cannot_be_mixed_is_a_mistake_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_pool(tmp_path, **more)
    with pytest.raises(ConfigError, match=said):
        check_pool_file(path)
