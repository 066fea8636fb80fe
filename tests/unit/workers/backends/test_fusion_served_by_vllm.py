"""Fusions in vLLM, on the side that needs no vLLM: what is refused before a child is asked, which child."""

import sys

import pytest
from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.backends.fusion import FusionBackend
from workers.backends.vllm.backend import child_env, find_python
from workers.device.loading import PreparingBackend

HERE: dict[str, JsonValue] = {"rule": "contrast", "weak": "models/weak"}
THERE: dict[str, JsonValue] = {**HERE, "serve": "vllm", "python": sys.executable}


def spec(options: dict[str, JsonValue], *, devices: int = 1) -> EngineSpec:
    return EngineSpec(
        id="fused", backend="fusion", model="models/large", tensor_parallel_size=devices, options=options
    )


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({**HERE, "kv_cache_gib": 1}, "options.kv_cache_gib"),
        ({**HERE, "enable_prefix_caching": True}, "options.enable_prefix_caching"),
        ({**THERE, "max_batch_tokens": 64}, "options.max_batch_tokens"),
        ({**THERE, "device": "cpu"}, "options.device"),
        ({**THERE, "kv_cache_gib": 0}, "options.kv_cache_gib"),
        ({**THERE, "speculative_config": {"method": "ngram"}}, "options.speculative_config"),
        ({**THERE, "max_num_seqs": 3}, "options.max_num_seqs"),
        ({**THERE, "weak": {"experts_per_token": 1}}, "options.weak"),
        ({**THERE, "serve": "elsewhere"}, "options.serve"),
    ],
)
def test_options_that_mean_nothing_where_it_is_served_are_refused(
    options: dict[str, JsonValue], param: str
) -> None:
    with pytest.raises(EngineLoadError) as caught:
        FusionBackend().load(spec(options), ())
    assert caught.value.param == param
    assert caught.value.is_lasting


def test_several_devices_are_refused() -> None:
    with pytest.raises(EngineLoadError, match="one process"):
        FusionBackend().load(spec(THERE, devices=2), ())


def test_child_is_that_of_vllm_engines_with_the_options_of_the_fusion() -> None:
    assert find_python(spec(THERE)) == sys.executable
    assert child_env(spec({**THERE, "threads": 2}))["OMP_NUM_THREADS"] == "2"


def test_only_what_vllm_serves_is_prepared_ahead() -> None:
    backend = FusionBackend()
    assert isinstance(backend, PreparingBackend)
    assert not backend.prepare(spec(HERE), ())
    assert backend.fits(spec(HERE))
    backend.warm_up(spec(HERE))
    backend.close()
