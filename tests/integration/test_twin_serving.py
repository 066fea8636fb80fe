"""A store by `twin` is one engine for all its mixtures; a composition mixes what a router recruits."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from api.cli.main import main
from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.errors import ConfigError, EngineLoadError
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest
from tests.integration.test_merge_cli import merged
from workers.backends.transformers import TransformersBackend

ZOO = Path(__file__).parents[2] / "examples" / "zoo" / "models"
PROMPTS = (
    "Please spell 'abcde' backwards.",
    "Write 14 as a Roman numeral.",
    "Please spell 'horse' backwards.",
    "What is XIV?",
)
Mixture = tuple[tuple[str, float], ...]
pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    for name in ("generalist", "reverse", "roman"):
        shutil.copytree(ZOO / name, folder / name)
    recipe = {
        "merge_method": "twin",
        "base_model": "generalist",
        "models": [{"model": "reverse"}, {"model": "roman"}],
        "parameters": {"r": 16},
        "dtype": "float32",
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    assert merged(folder / "recipe.yaml", folder / "store").verdict == "merged"
    return folder / "store"


@pytest.fixture(scope="module")
def engine(store: Path) -> Iterator[Engine]:
    adapters = [str(store / "experts" / name) for name in ("reverse", "roman")]
    loaded = load(store, adapters)
    yield loaded
    loaded.close()


def load(model: Path, adapters: Sequence[str] = ()) -> Engine:
    spec = EngineSpec(id="twin", backend="transformers", model=str(model), dtype="float32", max_model_len=256)
    return TransformersBackend().load(spec, adapters)


def answers(engine: Engine, asked: Sequence[tuple[Mixture, str | None]]) -> list[list[Finished | Failed]]:
    """Ends of all prompts for each (mixture, adapter), all in one batch."""
    for number, (mixture, adapter) in enumerate(asked):
        for at, prompt in enumerate(PROMPTS):
            sampling = Sampling(max_tokens=12, mixture=mixture)
            message = (Message(role="user", content=prompt),)
            engine.submit(GenerationRequest(f"{number}/{at}", message, sampling, adapter))
    ends: dict[str, Finished | Failed] = {}
    while len(ends) < len(asked) * len(PROMPTS):
        ends |= {e.id: e for e in engine.poll(0.1) if isinstance(e, Finished | Failed)}
    return [[ends[f"{number}/{at}"] for at in range(len(PROMPTS))] for number in range(len(asked))]


def texts(ends: list[Finished | Failed]) -> list[str]:
    return [end.text if isinstance(end, Finished) else end.error_code for end in ends]


def test_all_of_one_expert_is_that_expert_and_none_is_what_is_shared(store: Path, engine: Engine) -> None:
    reverse, roman = (str(store / "experts" / name) for name in ("reverse", "roman"))
    one, of_adapter, other, of_other, shared, plain = answers(
        engine,
        [
            ((("reverse", 1.0),), None),
            ((), reverse),
            ((("roman", 1.0), ("reverse", 0.0)), None),
            ((), roman),
            ((("roman", 0.0),), None),
            ((), None),
        ],
    )
    assert texts(one) == texts(of_adapter) != texts(other)
    assert texts(other) == texts(of_other)
    assert texts(shared) == texts(plain)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.3), (0.1, 1.0)])
def test_a_mixture_is_the_model_with_the_weighted_products_added(
    store: Path, engine: Engine, shares: tuple[float, float], tmp_path: Path
) -> None:
    weights = load_file(store / "model.safetensors")
    for name, share in zip(("reverse", "roman"), shares, strict=True):
        factors = load_file(store / "experts" / name / "adapter_model.safetensors")
        for key in [k for k in factors if ".lora_A." in k]:
            weight = key.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[weight] += share * factors[key.replace("lora_A", "lora_B")] @ factors[key]
    shutil.copytree(store, tmp_path / "dense", ignore=shutil.ignore_patterns("experts", "store.json"))
    save_file(
        {k: v.contiguous().to(torch.float32) for k, v in weights.items()},
        tmp_path / "dense/model.safetensors",
    )
    dense = load(tmp_path / "dense")

    mixture = tuple(zip(("reverse", "roman"), shares, strict=True))
    assert texts(answers(engine, [(mixture, None)])[0]) == texts(answers(dense, [((), None)])[0])
    assert texts(answers(dense, [(mixture, None)])[0]) == ["unsupported"] * len(PROMPTS)
    dense.close()


def test_an_expert_that_is_not_in_the_store_fails_its_request_alone(engine: Engine) -> None:
    wrong, right = answers(engine, [((("sort", 1.0),), None), ((("roman", 1.0),), None)])
    assert texts(wrong) == ["unknown_name"] * len(PROMPTS)
    assert "unknown_name" not in texts(right)


@pytest.mark.parametrize(
    "description",
    [
        "{",
        '{"kind": "twin"}',
        '{"kind": "twin", "experts": ["../reverse"]}',
        '{"kind": "twin", "experts": [1]}',
    ],
)
def test_a_broken_store_does_not_load(store: Path, tmp_path: Path, description: str) -> None:
    shutil.copytree(store, tmp_path / "broken")
    (tmp_path / "broken" / "store.json").write_text(description)
    with pytest.raises(EngineLoadError):
        load(tmp_path / "broken")


def write_pool(folder: Path, store: Path, **composition: Any) -> Path:
    models = {"reverse": ZOO / "reverse", "roman": ZOO / "roman", "both": store}
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": str(model), "max_tokens": 12},
            "model_info": {"muster": {"prompt": "plain", "max_model_len": 256}},
        }
        for name, model in models.items()
    ]
    spec = {"router": "all", "aggregator": "first", "mixture": "both", **composition}
    muster = {
        "compositions": {"mixed": spec},
        "embedder": {"model": "hash"},
        "skills": {"vocabulary": "builtin"},
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return folder / "pool.yaml"


def test_a_composition_asks_the_mixture_of_its_recruits(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = write_pool(tmp_path, store, experts=["reverse"])
    question = "Please spell 'abcde' backwards."
    assert main(["--config", str(pool), "ask", "-c", "mixed", question, "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert answered["muster"]["recruits"] == ["both"]
    assert "mixes reverse 1.0" in json.dumps(answered["muster"]["reasons"])


@pytest.mark.parametrize("mixture", ["roman", "nobody"])
def test_a_mixture_of_what_is_no_store_is_a_mistake_of_the_file(
    store: Path, tmp_path: Path, mixture: str
) -> None:
    pool = write_pool(tmp_path, store, mixture=mixture)
    with pytest.raises(ConfigError, match=f"mixture '{mixture}'"):
        check_pool_file(pool)
