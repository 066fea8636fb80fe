"""Odd models answer like a plain reference, or are down at their first load; a deep check says the same."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import ConfigError, EngineLoadError, MistakesError
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest, Tokens
from tests.odd.making import Made, Odd, user
from tests.odd.table import ANSWERING, CHECKED, DOWN, ODD
from tests.odd.tokenizers import EXTRA
from tests.tiny_models import tiny_model
from workers.backends.transformers import TransformersBackend

N_TOKENS = 24


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


def made(name: str, plain: Path, tmp_path: Path) -> tuple[Odd, Made]:
    odd = ODD[name]
    return odd, odd.make(plain, tmp_path / "odd")


def pool_file(tmp_path: Path, of: Made) -> Path:
    """A pool of the odd model alone; its weights stand in line 3."""
    options = {"max_model_len": 128, **of.member}
    info: dict[str, object] = {"muster": options}
    if of.adapter is not None:
        info["base_model"] = str(of.folder)
        options["adapter"] = "lora"
    path = tmp_path / "pool.yaml"
    path.write_text(
        "model_list:\n- model_name: odd\n"
        f"  litellm_params: {{model: {json.dumps(str(of.adapter or of.folder), ensure_ascii=False)}}}\n"
        f"  model_info: {json.dumps(info, ensure_ascii=False)}\n"
    )
    return path


def engine_spec(tmp_path: Path, of: Made) -> EngineSpec:
    """As the pool file has it."""
    return check_pool_file(pool_file(tmp_path, of)).pool.experts[0].engine


def plain_spec(of: Made) -> EngineSpec:
    options = {"threads": 1}
    return EngineSpec(
        id="odd", backend="transformers", model=str(of.folder), max_model_len=128, options=options
    )


def asked(engine: Engine, odd: Odd, of: Made, *, id: str = "q") -> tuple[Finished | Failed, str]:
    """The end of a question that somebody waits for, and the text that was streamed."""
    engine.submit(
        GenerationRequest(
            id,
            odd.messages,
            Sampling(max_tokens=N_TOKENS),
            adapter=None if of.adapter is None else str(of.adapter),
            priority=INTERACTIVE,
        )
    )
    streamed = ""
    while True:
        for event in engine.poll(0.1):
            if not isinstance(event, Tokens):
                return event, streamed
            streamed += event.text


def reference(odd: Odd, of: Made) -> str:
    """The text by `generate` and `decode` of transformers, with an adapter folded into the weights."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(of.folder)
    model = AutoModelForCausalLM.from_pretrained(of.folder, dtype=torch.float32).eval()
    if of.adapter is not None:
        factors = load_file(of.adapter / "adapter_model.safetensors")
        for name in [name for name in factors if name.endswith("lora_A.weight")]:
            path = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            up = factors[name.replace("lora_A", "lora_B")]
            scale = of.factors[path.rpartition(".")[2]]
            model.get_submodule(path).weight.data += scale * up @ factors[name]
    messages = [m.model_dump(include={"role", "content"}) for m in of.read_as or odd.messages]
    prompt = of.prompt or tokenizer.apply_chat_template(
        in_parts(messages) if "content[0]" in str(tokenizer.chat_template) else messages,
        tokenize=False,
        add_generation_prompt=True,
    )
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
    with torch.inference_mode():
        found = model.generate(ids, max_new_tokens=N_TOKENS, do_sample=False, pad_token_id=0)[0]
    said = found[ids.shape[1] :].tolist()
    ends = model.generation_config.eos_token_id
    is_over = said[-1] in (ends if isinstance(ends, list) else [ends])
    return str(tokenizer.decode(said[:-1] if is_over else said, skip_special_tokens=True))


def in_parts(messages: Sequence[dict[str, str]]) -> list[dict[str, object]]:
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


@pytest.mark.parametrize("name", ANSWERING)
def test_it_answers_like_the_plain_reference_and_streams_what_it_answers(
    name: str, plain: Path, tmp_path: Path
) -> None:
    odd, of = made(name, plain, tmp_path)
    checked = check_pool_file(pool_file(tmp_path, of), deep=True)
    engine = TransformersBackend().load(
        checked.pool.experts[0].engine, [] if of.adapter is None else [str(of.adapter)]
    )
    end, streamed = asked(engine, odd, of)

    assert isinstance(end, Finished), end
    assert end.text == reference(odd, of)
    assert end.text.startswith(streamed)
    assert odd.remark in " ".join(checked.remarks)
    assert bool(odd.remark) or not any("chat template" in remark for remark in checked.remarks)


@pytest.mark.parametrize("name", [name for name in DOWN if name in CHECKED])
def test_a_deep_check_names_its_file_its_fault_and_the_line(name: str, plain: Path, tmp_path: Path) -> None:
    odd, of = made(name, plain, tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_pool_file(pool_file(tmp_path, of), deep=True)
    mistakes = caught.value.mistakes if isinstance(caught.value, MistakesError) else (caught.value,)
    told = [str(one) for one in mistakes if odd.file in str(one) and re.search(odd.says, str(one))]

    assert told, str(caught.value)
    assert all(one.line in (3, 4) and one.remedy for one in mistakes)


@pytest.mark.parametrize("name", DOWN)
def test_its_first_load_says_the_same_and_is_for_good(name: str, plain: Path, tmp_path: Path) -> None:
    odd, of = made(name, plain, tmp_path)
    with pytest.raises(EngineLoadError) as caught:
        TransformersBackend().load(plain_spec(of), [] if of.adapter is None else [str(of.adapter)])

    assert caught.value.is_lasting
    assert caught.value.remedy
    assert re.search(odd.says, caught.value.message), caught.value.message


def test_a_token_that_the_model_lacks_is_read_letter_by_letter(plain: Path, tmp_path: Path) -> None:
    odd, of = made("tokens that the model lacks", plain, tmp_path)
    engine = TransformersBackend().load(plain_spec(of), ())
    end, _ = asked(engine, odd._replace(messages=(user(f"a {EXTRA} wordy b"),)), of)

    assert isinstance(end, Finished)
    assert end.usage.prompt_tokens == len(f"a {EXTRA} wordy b")
