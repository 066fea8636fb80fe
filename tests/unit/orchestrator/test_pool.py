from pathlib import Path

import pytest

from orchestrator.domain.experts import LONGEST_CONTEXT, Pool, ThoughtMarks
from orchestrator.errors import ConfigError
from orchestrator.pool import EngineAccess, build_pool, engine_access
from orchestrator.settings.schema import Settings


def settings_of(*members: dict[str, object], base_dir: Path = Path(), **router: object) -> Settings:
    return Settings.model_validate({"model_list": members, "base_dir": base_dir, "router_settings": router})


def pool_of(*members: dict[str, object], base_dir: Path = Path()) -> Pool:
    settings = settings_of(*members, base_dir=base_dir)
    return build_pool(
        settings,
        weights_hash=lambda model, adapter: f"{model}|{adapter}",
        servers={"server", "remote"},
    )


def access_of(*members: dict[str, object], **router: object) -> dict[str, EngineAccess]:
    return engine_access(settings_of(*members, **router), pool_of(*members))


def elsewhere(name: str, model: str = "m", **params: object) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {"model": model, "api_base": "http://host/v1", **params},
        "model_info": {"muster": {"engine": "server"}},
    }


def member(name: str, model: str = "m", **info: object) -> dict[str, object]:
    return {"model_name": name, "litellm_params": {"model": model}, "model_info": info}


def test_another_revision_is_another_expert() -> None:
    of_revision = [member("a", "org/model", muster={"revision": name}) for name in ("main", "0f2b5c1")]
    assert len({pool_of(one).experts[0].fingerprint for one in of_revision}) == 2


def test_marks_around_thoughts_are_part_of_what_an_expert_writes() -> None:
    marks = {"open": "<a>", "close": "</a>"}
    plain, marked = (pool_of(member("a", muster=more)).experts[0] for more in ({}, {"reasoning": marks}))
    assert plain.engine.reasoning is None
    assert marked.engine.reasoning == ThoughtMarks(open="<a>", close="</a>")
    assert plain.fingerprint != marked.fingerprint


def test_adapters_of_one_base_share_its_engine() -> None:
    lora = {"base_model": "base", "muster": {"adapter": "lora"}}

    pool = pool_of(member("plain", "base"), member("a", "lora-a", **lora), member("b", "lora-b", **lora))

    assert list(pool.engines) == ["base"]
    assert [e.adapter for e in pool.experts] == [None, "lora-a", "lora-b"]


def test_different_options_mean_different_engines_of_one_name() -> None:
    pool = pool_of(member("a", "x/m"), member("b", "x/m", muster={"dtype": "float32"}))

    assert list(pool.engines) == ["m", "m-2"]


def test_an_existing_directory_is_found_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)

    pool = pool_of(member("a", "models/one"), member("b", "org/hub-model"), base_dir=tmp_path)

    assert pool.by_id["a"].engine.model == str(tmp_path / "models" / "one")
    assert pool.by_id["b"].engine.model == "org/hub-model"


def test_a_lora_member_needs_its_base() -> None:
    with pytest.raises(ConfigError, match="without base_model"):
        pool_of(member("a", muster={"adapter": "lora"}))


def test_a_pool_in_which_nobody_answers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no member of the pool may answer"):
        pool_of(member("a", muster={"roles": ["aggregator"]}))


def test_the_fingerprint_follows_what_changes_answers_and_nothing_else() -> None:
    (plain,) = pool_of(member("a")).experts
    (cooler,) = pool_of(
        {"model_name": "a", "litellm_params": {"model": "m", "temperature": 0.7}, "model_info": {}}
    ).experts
    (roomier,) = pool_of(member("a", muster={"gpu_memory_gib": 8})).experts

    assert plain.fingerprint != cooler.fingerprint
    assert plain.fingerprint == roomier.fingerprint


def test_the_same_model_at_two_addresses_or_under_two_keys_is_two_engines() -> None:
    members = (
        elsewhere("a"),
        elsewhere("b", api_base="http://other/v1"),
        elsewhere("c", api_key="k"),
        elsewhere("d"),
    )
    pool = pool_of(*members)
    assert [e.engine.id for e in pool.experts] == ["m", "m-2", "m-3", "m"]
    assert {id_: access.api_base for id_, access in access_of(*members).items()} == {
        "m": "http://host/v1",
        "m-2": "http://other/v1",
        "m-3": "http://host/v1",
    }


def test_a_shared_engine_keeps_the_lowest_limits_of_its_members() -> None:
    members = (elsewhere("a", rpm=60, timeout=30), elsewhere("b", rpm=10, tpm=5000))
    found = access_of(*members, num_retries=1, allowed_fails=0, cooldown_time=5, timeout=99)["m"]
    assert (found.rpm, found.tpm, found.timeout_s) == (10, 5000, 30)
    assert (found.retries, found.allowed_fails, found.cooldown_s) == (1, 0, 5)


def test_where_a_model_is_and_with_which_key_stays_out_of_the_pool() -> None:
    secret = pool_of(elsewhere("a", api_key="sk-secret-7", rpm=5))
    dumped = "".join(expert.model_dump_json() for expert in secret.experts)
    assert "sk-secret-7" not in dumped + repr(secret) + repr(secret.experts)
    assert "http://host" not in dumped
    assert secret.fingerprint == pool_of(elsewhere("a", api_base="http://moved/v1")).fingerprint
    assert "sk-secret-7" not in repr(access_of(elsewhere("a", api_key="sk-secret-7")))


def test_a_member_in_the_form_of_litellm_is_remote() -> None:
    pasted = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}}
    pool = pool_of(pasted, elsewhere("a"), member("b", "local"))
    assert [e.engine.backend for e in pool.experts] == ["remote", "server", "transformers"]


def test_prices_in_the_file_are_known_to_the_engine() -> None:
    assert not access_of(member("a"))["m"].priced
    assert access_of(member("a", input_cost_per_token=1e-6))["m"].priced


def test_the_context_of_a_model_elsewhere_is_unknown_unless_the_file_says() -> None:
    said = {"engine": "server", "max_model_len": 4096}
    stated = {**elsewhere("b", "n"), "model_info": {"muster": said}}
    pool = pool_of(elsewhere("a"), stated, member("c", "local"))
    assert [e.engine.max_model_len for e in pool.experts] == [LONGEST_CONTEXT, 4096, 4096]


@pytest.mark.parametrize(
    ("model", "backend"),
    [
        ("bedrock/anthropic.claude-3-5-sonnet", "remote"),
        ("vertex_ai/gemini-1.5-pro", "remote"),
        ("azure/my-deployment", "remote"),
        ("groq/llama-3.3-70b", "remote"),
        ("openai/gpt-oss-20b", "transformers"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "transformers"),
        ("groq", "transformers"),
        ("/models/bedrock/weights", "transformers"),
    ],
)
def test_a_model_that_only_a_provider_serves_is_remote(model: str, backend: str) -> None:
    assert pool_of(member("a", model)).experts[0].engine.backend == backend


def test_the_engine_that_a_member_names_is_the_one_it_gets() -> None:
    named = member("a", "groq/llama", muster={"engine": "scripted"})
    assert pool_of(named).experts[0].engine.backend == "scripted"
