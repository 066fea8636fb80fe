"""Values in a model's configuration that no loader takes: of another kind, or naming what is not here."""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import NamedTuple, TypeGuard

from pydantic import JsonValue

from workers.checkpoints.kinds import has_tokenizer, is_known_quantisation

COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)
"""Fields of `config.json` that count something; a list counts for each layer."""
FORMATS = frozenset({"auto", "float64", "float32", "float16", "bfloat16", "double", "float", "half"})
"""Formats of numbers in which models compute, as `dtype` names them."""
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "aqlm": ("aqlm",),
    "auto-round": ("auto_round",),
    "awq": ("gptqmodel",),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed_tensors",),
    "gptq": ("optimum", "gptqmodel"),
    "hqq": ("hqq",),
    "torchao": ("torchao",),
    "vptq": ("vptq",),
}
"""Packages without which transformers does not load weights quantised so."""
TOKENS = ("bos_token_id", "pad_token_id")
TOKENIZER_CODE_REMEDY = (
    "If its tokenizer.json is the whole tokenizer: take auto_map out, and write tokenizer_class "
    '"PreTrainedTokenizerFast". Else serve the model elsewhere, and name it with engine `server`.'
)
ANEW = "Fetch the file again, or write the value that the model was made with."


class Slip(NamedTuple):
    """Fault of a file, as it goes on after the file's name, and what mends it."""

    what: str
    remedy: str = ANEW


def config_slips(config: Mapping[str, JsonValue], *, by_vllm: bool = False) -> Iterator[Slip]:
    """Slips of `config.json`.

    Args:
        by_vllm: it is vLLM that will load the weights, which has quantisations of its own.
    """
    for key in COUNTS:
        value = config.get(key)
        if value is not None and not isinstance(value, list) and not (_is_whole(value) and value >= 1):
            yield Slip(f"says {key} {_shown(value)}, which is no whole number above 0")
    dtype = config.get("dtype", config.get("torch_dtype"))
    if dtype is not None and not (isinstance(dtype, str) and dtype.removeprefix("torch.") in FORMATS):
        remedy = "Write float32, bfloat16 or float16 there."
        yield Slip(f"says dtype {_shown(dtype)}, which is no format that models compute in", remedy)
    yield from token_slips(config)
    yield from _quantisation_slips(config.get("quantization_config"), by_vllm=by_vllm)


def token_slips(document: Mapping[str, JsonValue]) -> Iterator[Slip]:
    """Slips of token ids in `config.json` or `generation_config.json`."""
    ends = document.get("eos_token_id")
    if not all(
        _is_whole(one) for one in (ends if isinstance(ends, list) else [] if ends is None else [ends])
    ):
        yield Slip(f"says eos_token_id {_shown(ends)}, which is neither a token's id nor a list of such")
    for key in TOKENS:
        value = document.get(key)
        if value is not None and not _is_whole(value):
            yield Slip(f"says {key} {_shown(value)}, which is no token's id")


def tokenizer_slips(document: Mapping[str, JsonValue]) -> Iterator[Slip]:
    """Slips of `tokenizer_config.json`."""
    longest, kind = document.get("model_max_length"), document.get("tokenizer_class")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int | float)):
        yield Slip(f"says model_max_length {_shown(longest)}, which is no number")
    if kind is not None and not isinstance(kind, str):
        yield Slip(f"says tokenizer_class {_shown(kind)}, which is no name")
    added = document.get("added_tokens_decoder")
    odd = [key for key in added if not key.isdecimal()] if isinstance(added, dict) else []
    if odd or (added is not None and not isinstance(added, dict)):
        named = f"'{odd[0][:40]}' among its added_tokens_decoder" if odd else "added_tokens_decoder"
        yield Slip(f"has {named}, which is no token's id")
    for key, value in document.items():
        if key in ("bos_token", "eos_token", "pad_token", "unk_token") and not _is_token(value):
            yield Slip(f"says {key} {_shown(value)}, which is no token's text")


def tokenizer_code_slips(
    document: Mapping[str, JsonValue], config: Mapping[str, JsonValue]
) -> Iterator[Slip]:
    """Code in `tokenizer_config.json` without which there is no tokenizer: code of a model is never run.

    Args:
        config: the model's `config.json`.
    """
    brought, kind = document.get("auto_map"), config.get("model_type")
    brings = isinstance(brought, list) or (isinstance(brought, dict) and "AutoTokenizer" in brought)
    named = document.get("tokenizer_class") or config.get("tokenizer_class")
    name = named if isinstance(named, str) else None
    if brings and isinstance(kind, str) and not has_tokenizer(kind, name):
        what = "brings code of its own for the tokenizer (auto_map), which is never run"
        called = f"; transformers has no {_shown(name)}" if name else ""
        yield Slip(what + called, TOKENIZER_CODE_REMEDY)


def is_quantised(config: Mapping[str, JsonValue]) -> bool:
    """True if weights may be whole numbers: a configuration says how they were quantised."""
    stated = config.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, dict) else None
    return bool(stated) and not (isinstance(method, str) and not is_known_quantisation(method))


def _quantisation_slips(stated: JsonValue, *, by_vllm: bool) -> Iterator[Slip]:
    if stated is None:
        return
    if not isinstance(stated, dict):
        yield Slip(f"says quantization_config {_shown(stated)}, which holds no keys")
        return
    method = stated.get("quant_method")
    if method is None and (stated.get("load_in_8bit") or stated.get("load_in_4bit")):
        method = "bitsandbytes"
    if not isinstance(method, str):
        yield Slip("has a quantization_config that names no quant_method")
        return
    missing = [name for name in PACKAGES.get(method, ()) if not by_vllm and find_spec(name) is None]
    if missing:
        what = f"says that its weights are quantised by '{method}', which needs the package {missing[0]}"
        yield Slip(what, f"Install {missing[0]}, or serve the model with another engine or server.")


def _is_whole(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_token(value: JsonValue) -> bool:
    return value is None or isinstance(value, str | dict)


def _shown(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
