"""Fusions whose members' strengths come with the request: each is what its own engine would write."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.experts import EngineSpec
from orchestrator.ports.engines import Failed
from tests.tiny_models import tiny_adapter, tiny_model
from tests.unit.workers.backends.test_fusion_backend import ask, load, run, texts
from workers.backends.fusion import mixed_members

Mixture = tuple[tuple[str, float], ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strengths")
    for number, name in enumerate(("large", "base", "tuned"), 1):
        tiny_model(folder / name, seed=number)
    tiny_adapter(folder / "one", seed=1)
    return folder


def upscale(folder: Path) -> dict[str, Any]:
    lora = {"model": str(folder / "base"), "adapter": str(folder / "one")}
    return {"rule": "upscale", "base": str(folder / "base"), "experts": [lora, str(folder / "tuned")]}


def average(folder: Path) -> dict[str, Any]:
    return {"rule": "average", "models": [str(folder / "base"), str(folder / "tuned")]}


@pytest.mark.parametrize(
    ("options", "number", "mixtures"),
    [
        (
            upscale,
            "betas",
            {
                (("experts[0]", 1.0),): [1.0, 0.0],
                (("experts[1]", 0.7), ("experts[0]", 0.3)): [0.3, 0.7],
                (): [1.0, 1.0],
            },
        ),
        (
            average,
            "weights",
            {
                (("models[0]", 1.0),): [1.0, 0.0, 0.0],
                (("models[1]", 0.6), ("models[2]", 0.4)): [0.0, 0.6, 0.4],
                (): [1 / 3, 1 / 3, 1 / 3],
            },
        ),
    ],
)
def test_rows_of_one_batch_have_strengths_of_their_own(
    folder: Path, options: Any, number: str, mixtures: dict[Mixture, list[float]]
) -> None:
    given = options(folder)
    engine = load(folder / "large", given)
    asked = {f"{at}": ask(f"{at}", "hello there", mixture=mixture) for at, mixture in enumerate(mixtures)}
    together = texts(engine, list(asked.values()))
    engine.close()
    for at, strengths in enumerate(mixtures.values()):
        alone = load(folder / "large", {**given, number: strengths})
        assert texts(alone, [ask("0", "hello there")])["0"] == together[f"{at}"]
        alone.close()
    assert len(set(together.values())) > 1, "they differ"


def test_a_member_that_is_none_fails_its_request_alone(folder: Path) -> None:
    engine = load(folder / "large", upscale(folder))
    ends = run(
        engine, [ask("a", mixture=(("experts[2]", 1.0),)), ask("b"), ask("c", mixture=(("base", 1.0),))]
    )
    engine.close()
    for name in ("a", "c"):
        end = ends[name]
        assert isinstance(end, Failed)
        assert "experts[0]" in end.error
    assert not isinstance(ends["b"], Failed)


def test_a_rule_without_strengths_refuses_them(folder: Path) -> None:
    options = {"rule": "contrast", "weak": str(folder / "base")}
    engine = load(folder / "large", options)
    [end] = run(engine, [ask("a", mixture=(("experts[0]", 1.0),))]).values()
    engine.close()
    assert isinstance(end, Failed)
    assert end.error_code == "unsupported"


def test_members_are_known_by_where_their_weights_lie(folder: Path) -> None:
    def labels(options: dict[str, Any]) -> list[tuple[str, str, str | None]]:
        model = str(folder / "large")
        spec = EngineSpec(id="fused", backend="fusion", model=model, max_model_len=200, options=options)
        return [(one.label, Path(one.model).name, one.adapter) for one in mixed_members(spec)]

    one = str(folder / "one")
    assert labels(upscale(folder)) == [("experts[0]", "base", one), ("experts[1]", "tuned", None)]
    assert [row[:2] for row in labels(average(folder))] == [
        ("models[0]", "large"),
        ("models[1]", "base"),
        ("models[2]", "tuned"),
    ]
    assert labels({"rule": "contrast", "weak": str(folder / "base")}) == []
    assert labels({**average(folder), "serve": "vllm"}) == []
