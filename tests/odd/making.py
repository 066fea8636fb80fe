"""What odd models are made of: a small model, copied and changed, and what is expected of it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.domain.queries import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

QUESTION = "Is 2 + 2 4 or 5?"
CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS, TEMPLATE = "model.safetensors", "chat_template.jinja"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4096\n"
PAGE = "<!DOCTYPE html>\n<html><title>Sign in</title></html>\n"


def user(text: str = QUESTION) -> Message:
    return Message(role="user", content=text)


def system(text: str = "Be brief.") -> Message:
    return Message(role="system", content=text)


def assistant(text: str = "Yes.") -> Message:
    return Message(role="assistant", content=text)


class Made(NamedTuple):
    """A model in a folder.

    Attributes:
        member: further keys of `model_info.muster`.
        adapter: its folder; None = the base alone.
        read_as: messages that the plain reference is asked with; None = as they are.
        prompt: that the plain reference reads; None = as its own template renders the messages.
        factors: of an adapter's B·A, by the last name of a module.
    """

    folder: Path
    member: Mapping[str, Any] = {}
    adapter: Path | None = None
    read_as: tuple[Message, ...] | None = None
    prompt: str | None = None
    factors: Mapping[str, float] = {}


class Odd(NamedTuple):
    """An odd model.

    Attributes:
        make: writes it into a folder, from a folder with a plain small model.
        outcome: it `answers` like the plain reference, or is `down`.
        file: that is named where it is down; `says`: what is said of it.
        messages: that it is asked.
        remark: that a deep check makes of it.
    """

    make: Callable[[Path, Path], Made]
    outcome: Literal["answers", "down"] = "answers"
    file: str = ""
    says: str = ""
    messages: tuple[Message, ...] = (user(),)
    remark: str = ""


def copied(plain: Path, folder: Path) -> Path:
    shutil.copytree(plain, folder, dirs_exist_ok=True)
    return folder


def edited(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes one away."""
    document = json.loads(path.read_text())
    kept = {key: value for key, value in {**document, **changes}.items() if value is not None}
    path.write_text(json.dumps(kept))


def with_template(template: str) -> Callable[[Path, Path], Made]:
    """The plain model with another chat template."""

    def make(plain: Path, folder: Path) -> Made:
        (copied(plain, folder) / TEMPLATE).write_text(template)
        return Made(folder)

    return make


def small_model(folder: Path, tokenizer: "PreTrainedTokenizerFast", **config: Any) -> Path:
    """A random model of the tokenizer's size, which writes any of its tokens."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    fields = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **config,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlamaForCausalLM(LlamaConfig(**fields))
    eos, pad = fields["eos_token_id"], fields["pad_token_id"]
    model.generation_config = GenerationConfig(eos_token_id=eos, pad_token_id=pad)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
