"""The `remote` backend over a stand-in for litellm; the real one runs in the backend contract."""

import json
from collections.abc import Mapping, Sequence

import pytest
from pydantic import SecretStr

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.remote import RemoteBackend

KEY = "sk-secret-7"


class Completed:
    def __init__(self, text: str | None) -> None:
        self._text = text

    def model_dump_json(self) -> str:
        choice = {"message": {"content": self._text}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})


class ProviderError(Exception):
    """As litellm's are: a status, and the provider's response."""

    def __init__(self, status_code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.litellm_response_headers = headers


class FakeLiteLlm:
    """Says or raises one thing after the other, and knows the price of `openai/gpt`."""

    def __init__(self, *does: str | Exception | None, missing_keys: Sequence[str] = ()) -> None:
        self.calls: list[dict[str, object]] = []
        self._does = list(does)
        self._missing_keys = missing_keys

    async def acompletion(self, **params: object) -> Completed:
        self.calls.append(params)
        does = self._does.pop(0)
        if isinstance(does, Exception):
            raise does
        return Completed(does)

    def get_llm_provider(self, model: str) -> Sequence[object]:
        if "/" not in model:
            raise ValueError("LLM Provider NOT provided")
        provider, _, name = model.partition("/")
        return name, provider

    def validate_environment(self, model: str) -> Mapping[str, object]:
        return {"keys_in_environment": not self._missing_keys, "missing_keys": list(self._missing_keys)}

    def cost_per_token(
        self, *, model: str, prompt_tokens: int, completion_tokens: int
    ) -> tuple[float, float]:
        if model != "openai/gpt":
            raise Exception("This model isn't mapped yet.")
        return prompt_tokens * 0.001, completion_tokens * 0.01


def engine_over(
    library: FakeLiteLlm,
    *,
    model: str = "openai/gpt",
    access: EngineAccess | None = None,
    adapters: Sequence[str] = (),
    **options: object,
) -> Engine:
    spec = EngineSpec(id="e", backend="remote", model=model, options=options)
    access = access or EngineAccess(api_key=SecretStr(KEY), retries=1)
    return RemoteBackend({"e": access}, library=library).load(spec, adapters)


def run(engine: Engine, *, adapter: str | None = None, **sampling: object) -> list[EngineEvent]:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    engine.submit(GenerationRequest("a", messages, Sampling.model_validate(sampling), adapter, INTERACTIVE))
    events: list[EngineEvent] = []
    while not events or isinstance(events[-1], Tokens):
        events += engine.poll(1)
    engine.close()
    return events


def end(engine: Engine, *, adapter: str | None = None, **sampling: object) -> Finished | Failed:
    last = run(engine, adapter=adapter, **sampling)[-1]
    assert not isinstance(last, Tokens)
    return last


def test_only_messages_and_sampling_come_from_the_request() -> None:
    library = FakeLiteLlm("Because.")
    access = EngineAccess(api_key=SecretStr(KEY), api_base="https://host/v1", timeout_s=9.0)
    events = run(
        engine_over(library, access=access, extra_params={"api_version": "v2"}, drop_params=["stop"]),
        max_tokens=5,
        temperature=0.5,
        seed=3,
        stop=("\n",),
    )
    timeout_s = library.calls[0].pop("timeout")
    assert isinstance(timeout_s, float)
    assert 8 < timeout_s <= 9
    assert library.calls == [
        {
            "model": "openai/gpt",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
            "max_tokens": 5,
            "temperature": 0.5,
            "seed": 3,
            "api_base": "https://host/v1",
            "api_key": KEY,
            "api_version": "v2",
            "stream": False,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
        }
    ]
    assert events[0] == Tokens("a", "Because.")


def test_costs_come_from_litellm() -> None:
    """100 * 0.001 + 10 * 0.01 USD."""
    done = end(engine_over(FakeLiteLlm("x")))
    assert isinstance(done, Finished)
    assert done.usage.cost_usd == pytest.approx(0.2)


@pytest.mark.parametrize(("model", "priced"), [("openai/gpt", True), ("openai/unknown", False)])
def test_costs_are_left_to_the_pool_where_it_states_them_or_nobody_does(model: str, priced: bool) -> None:
    access = EngineAccess(api_key=SecretStr(KEY), priced=priced)
    done = end(engine_over(FakeLiteLlm("x"), model=model, access=access))
    assert isinstance(done, Finished)
    assert done.usage.cost_usd == 0


@pytest.mark.parametrize(
    ("error", "code", "n_calls"),
    [
        (ProviderError(401, "wrong"), "expert_misconfigured", 1),
        (ProviderError(404, "no such model"), "expert_misconfigured", 1),
        (ProviderError(400, "litellm.ContextWindowExceededError: too long"), "context_exceeded", 1),
        (ProviderError(400, "litellm.BadRequestError: seed"), "request_refused", 1),
        (ProviderError(408, "litellm.Timeout"), "generation_timeout", 2),
        (ProviderError(429, "slow down", {"Retry-After": "0"}), "rate_limited", 2),
        (ProviderError(500, "litellm.APIConnectionError"), "expert_unavailable", 2),
        (ValueError("what?"), "bad_response", 1),
        (None, "bad_response", 1),
    ],
)
def test_failures_are_sorted_by_status_and_retried_here_only(
    error: Exception | None, code: str, n_calls: int
) -> None:
    library = FakeLiteLlm(error, error)
    failed = end(engine_over(library))
    assert isinstance(failed, Failed)
    assert failed.error_code == code
    assert len(library.calls) == n_calls


def test_the_key_is_not_shown_in_errors() -> None:
    failed = end(engine_over(FakeLiteLlm(ProviderError(401, f"Incorrect API key: {KEY}"))))
    assert isinstance(failed, Failed)
    assert KEY not in failed.error
    assert "[api_key]" in failed.error


def test_adapters_are_models_of_their_own() -> None:
    library = FakeLiteLlm("x")
    engine = engine_over(library, adapters=["/lora"], adapter_models={"/lora": "openai/gpt-lora"})
    end(engine, adapter="/lora")
    assert library.calls[0]["model"] == "openai/gpt-lora"


def test_the_key_of_the_environment_is_not_sent_to_another_address() -> None:
    library = FakeLiteLlm("x")
    end(engine_over(library, access=EngineAccess(api_base="http://127.0.0.1:8000/v1")))
    assert library.calls[0]["api_key"] == "none"


def test_a_missing_key_is_found_at_load() -> None:
    library = FakeLiteLlm(missing_keys=["OPENAI_API_KEY"])
    with pytest.raises(EngineLoadError, match="export OPENAI_API_KEY") as caught:
        engine_over(library, access=EngineAccess())
    assert caught.value.param == "api_key"


def test_a_model_without_provider_is_found_at_load() -> None:
    with pytest.raises(EngineLoadError, match="Write PROVIDER/MODEL"):
        engine_over(FakeLiteLlm(), model="gpt")


def test_options_cannot_replace_what_the_pool_says() -> None:
    with pytest.raises(EngineLoadError) as caught:
        engine_over(FakeLiteLlm(), extra_params={"api_key": "x"})
    assert caught.value.param == "options.extra_params.api_key"
