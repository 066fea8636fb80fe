"""Rows of a comparison: what they are, whom ensembles recruit, and what fused experts cost."""

from pathlib import Path

import pytest
import yaml

from examples.zoo.pool import HERE
from examples.zoo.train import MODELS
from orchestrator.bootstrap.comparing import (
    ENSEMBLES,
    SINGLES,
    expert_kind,
    plain_ensembles,
    row_kind,
    rows_of,
)
from orchestrator.bootstrap.compute import ComputeMeter, Weights, weights_of
from orchestrator.domain.answers import Usage
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.pool import build_pool
from orchestrator.settings.load import load_settings
from workers.backends.registry import parts_of
from workers.checkpoints.merging.work import RECORD
from workers.checkpoints.sizes import pass_cost

GENERALIST, KEYPAD, LORA = (str(MODELS / name) for name in ("generalist", "keypad", "gen-lora"))


def expert(name: str, model: str, *, backend: str = "transformers", **fields: object) -> Expert:
    options = fields.pop("options", {})
    engine = EngineSpec.model_validate({"id": name, "backend": backend, "model": model, "options": options})
    return Expert.model_validate({"id": name, "engine": engine, **fields})


def fused(**options: object) -> Expert:
    return expert("fused", GENERALIST, backend="fusion", options=options)


def merged_folder(tmp_path: Path) -> str:
    (tmp_path / RECORD).write_text("{}")
    return str(tmp_path)


def test_kinds_come_from_what_made_an_expert(tmp_path: Path) -> None:
    folder = merged_folder(tmp_path)
    assert expert_kind(expert("plain", GENERALIST)) == "single"
    assert expert_kind(expert("plain", GENERALIST), merged={"plain"}) == "merge"
    assert expert_kind(expert("whole", folder)) == "merge"
    assert expert_kind(expert("adapter", GENERALIST, adapter=folder)) == "merge"
    assert expert_kind(expert("plain over a merge", folder, adapter=LORA)) == "single"
    assert expert_kind(fused(rule="upscale")) == "fusion"


def test_standard_rows_are_singles_what_fusions_start_from_ensembles_and_all_that_was_made() -> None:
    pool = Pool(experts=(expert("base", GENERALIST), expert("keypad", KEYPAD), fused(rule="upscale")))
    assert rows_of(pool) == (*SINGLES, "base", *ENSEMBLES, "fused")
    assert rows_of(pool, merged={"keypad"}) == (*SINGLES, "base", *ENSEMBLES, "keypad", "fused")


def test_ensembles_and_the_best_single_recruit_plain_experts_only() -> None:
    settings = plain_ensembles(load_settings(HERE / "combine.yaml"), ["auto", "best_single", "dynamic-4"])
    compositions = settings.muster.compositions
    assert set(compositions) == {"auto", "best_single"}
    recruited = compositions["auto"].experts
    assert recruited is not None
    assert {"generalist", "lora-keypad", "large"} <= set(recruited)
    assert not {"up-keypad", "dynamic-4", "average-lora"} & set(recruited)
    assert compositions["best_single"].experts == recruited


def test_a_composition_that_lists_its_experts_keeps_them(tmp_path: Path) -> None:
    pool = yaml.safe_load((HERE / "pool.yaml").read_text())
    for member in pool["model_list"]:
        member["litellm_params"]["model"] = str(HERE / member["litellm_params"]["model"])
        if "base_model" in member["model_info"]:
            member["model_info"]["base_model"] = GENERALIST
    mine = {"router": "all", "aggregator": "majority", "experts": ["roman"]}
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({**pool, "muster": {"compositions": {"mine": mine}}}))
    settings = plain_ensembles(load_settings(path), ["mine"])
    assert settings.muster.compositions["mine"].experts == ("roman",)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", "ensemble"),
        ("best_single", "single"),
        ("self_consistency", "single"),
        ("dynamic-4", "fusion"),
    ],
)
def test_rows_are_known_by_their_names(name: str, kind: str) -> None:
    settings = load_settings(HERE / "combine.yaml")
    assert (
        row_kind(name, Pool(experts=(expert("dynamic-4", GENERALIST, backend="fusion"),)), settings) == kind
    )


def test_every_member_of_a_fusion_reads_every_token() -> None:
    """The large model, the base and the specialist are of one size: three times the cost of one."""
    one = fused(rule="upscale", base=KEYPAD, experts=[{"model": str(MODELS / "roman")}])
    usage = Usage(prompt_tokens=9, completion_tokens=4)
    response = Response(expert_id="fused", role=CallRole.EXPERT, stage=0, usage=usage)
    size = pass_cost(GENERALIST)
    assert size is not None
    alone = size.flop(prompt_tokens=9, completion_tokens=4)
    assert ComputeMeter(Pool(experts=(one,))).flop(response) == 3 * alone


def test_every_expert_of_the_combining_pool_is_sized() -> None:
    """Members of its fusions are named relative to its file."""
    settings = load_settings(HERE / "combine.yaml")
    pool = build_pool(settings, weights_hash=lambda *_: "x", servers=(), parts=parts_of)
    usage = Usage(prompt_tokens=9, completion_tokens=4)
    meter = ComputeMeter(pool)
    flop = {
        e.id: meter.flop(Response(expert_id=e.id, role=CallRole.EXPERT, stage=0, usage=usage))
        for e in pool.experts
    }
    assert None not in flop.values()
    assert flop["up-keypad"] == (flop["large"] or 0) + (flop["small"] or 0) + (flop["keypad"] or 0)


def test_members_that_are_one_sequence_count_once() -> None:
    lora = {"model": GENERALIST, "adapter": LORA}
    assert weights_of(fused(rule="average", models=[GENERALIST, lora, lora])) == [
        Weights(GENERALIST),
        Weights(GENERALIST, LORA),
    ]
    rerouted = fused(rule="contrast", weak={"experts_per_token": 1})
    assert weights_of(rerouted) == [Weights(GENERALIST)] * 2


def test_unknown_sizes_are_stated_ones_or_unknown() -> None:
    """1 GFLOP of parameters, 12 tokens read: 24 GFLOP."""
    pool = Pool(experts=(expert("far", "some/model", params_b=1.0), expert("dark", "some/other")))
    usage = Usage(prompt_tokens=9, completion_tokens=4)
    far, dark, gone = (
        Response(expert_id=name, role=CallRole.EXPERT, stage=0, usage=usage)
        for name in ("far", "dark", "gone")
    )
    meter = ComputeMeter(pool)
    assert meter.flop(far) == pytest.approx(24e9)
    assert meter.flop(dark) is None
    assert meter.flop(gone) is None
