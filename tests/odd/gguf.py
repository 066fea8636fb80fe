"""Odd GGUF files, written of the plain model as llama.cpp's converter writes them, with one oddity each."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.domain.queries import Message
from tests.odd.making import (
    CONFIG,
    LFS,
    PAGE,
    QUESTION,
    TEMPLATE,
    TOKENIZER,
    WEIGHTS,
    assistant,
    system,
    user,
)
from tests.odd.templates import (
    ALTERNATING,
    BEFORE,
    DROPS_SYSTEM,
    FIRST_SYSTEM_ONLY,
    NO_SYSTEM,
    ONE_TURN,
    SAID_BEFORE,
    SYSTEM,
    TURNS,
)

if TYPE_CHECKING:
    import numpy as np

    Tensors = dict[str, np.ndarray[Any, Any]]

NORMAL, UNKNOWN, CONTROL, ADDED = 1, 2, 3, 4
"""Kinds of tokens."""
PLAIN = f"<u>{QUESTION}>"
LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
TOKENS, SCORES, KINDS = (f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type"))
CHAT = "tokenizer.chat_template"
N_TENSORS = "split.tensors.count"
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    f"{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
)
"""What llama.cpp makes of a conversation where a model brings no template."""
Values = dict[str, Any]


class OddFile(NamedTuple):
    """An odd GGUF file.

    Attributes:
        make: writes it into a folder, from a folder with the plain model, and returns what the pool names.
        outcome: it `answers` as the plain model does, is `told` before a server is started, or its server
            `dies` at its start.
        says: what is said of it.
        messages: that it is asked; `prompt` is what the model reads then.
        remark: that a deep check makes of it.
    """

    make: Callable[[Path, Path], Path]
    outcome: Literal["answers", "told", "dies"] = "answers"
    says: str = ""
    messages: tuple[Message, ...] = (user(),)
    prompt: str = PLAIN
    remark: str = ""


# ── writing ───────────────────────────────────────────────────────────────────────────────────────


def tensors_of(plain: Path) -> "Tensors":
    """Tensors by their names in GGUF files; rows of queries and keys in the order in which llama.cpp turns
    them: neighbours in pairs, where transformers pairs the halves."""
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((plain / CONFIG).read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    found: Tensors = {}
    for name, tensor in load_file(plain / WEIGHTS).items():
        stem = name.removesuffix(".weight")
        if stem in OUTER:
            found[f"{OUTER[stem]}.weight"] = tensor
            continue
        _, _, layer, inner = stem.split(".", 3)
        short = LAYER[inner]
        if short in heads:
            n_rows, width = tensor.shape
            halves = tensor.reshape(heads[short], 2, n_rows // heads[short] // 2, width)
            tensor = halves.swapaxes(1, 2).reshape(n_rows, width)
        found[f"blk.{layer}.{short}.weight"] = np.ascontiguousarray(tensor)
    return found


def values_of(plain: Path) -> Values:
    """Keys of the header and their values."""
    config = json.loads((plain / CONFIG).read_text())
    vocabulary = json.loads((plain / TOKENIZER).read_text())["model"]["vocab"]
    tokens = [token.replace(" ", "▁") for token, _ in sorted(vocabulary.items(), key=lambda pair: pair[1])]
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "llama.rope.freq_base": 10_000.0,
        "tokenizer.ggml.model": "llama",
        TOKENS: tokens,
        SCORES: [0.0] * len(tokens),
        KINDS: [CONTROL, CONTROL, UNKNOWN, *([NORMAL] * (len(tokens) - 3))],
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        CHAT: (plain / TEMPLATE).read_text(),
    }


def written(
    path: Path, values: Mapping[str, Any], tensors: Mapping[str, Any], *, in_big_endian: bool = False
) -> Path:
    """A file of these; values that are None are left out."""
    from gguf import GGUFEndian, GGUFWriter

    order = GGUFEndian.BIG if in_big_endian else GGUFEndian.LITTLE
    writer = GGUFWriter(path, "llama", endianess=order)
    writer.kv_data[0].clear()
    for key, value in values.items():
        if value is not None:
            _add(writer, key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: object) -> None:
    by_key = {"split.no": writer.add_uint16, "split.count": writer.add_uint16, N_TENSORS: writer.add_int32}
    by_type = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    add = by_key.get(key) or by_type.get(type(value), writer.add_array)
    add(key, value)


# ── making ────────────────────────────────────────────────────────────────────────────────────────

Make = Callable[[Path, Path], Path]


def with_values(*, name: str = "odd.gguf", **values: Any) -> Make:
    """The plain model with other values; `__` stands for a point in a key, None leaves it out."""
    return with_header(
        lambda header: {**header, **{key.replace("__", "."): v for key, v in values.items()}}, name
    )


def with_header(change: Callable[[Values], Values], name: str = "odd.gguf") -> Make:
    def make(plain: Path, folder: Path) -> Path:
        return written(folder / name, change(values_of(plain)), tensors_of(plain))

    return make


def with_template(template: str | None) -> Make:
    return with_header(lambda header: {**header, CHAT: template})


def with_tensors(change: Callable[["Tensors"], "Tensors"]) -> Make:
    def make(plain: Path, folder: Path) -> Path:
        return written(folder / "odd.gguf", values_of(plain), change(tensors_of(plain)))

    return make


def with_bytes(change: Callable[[bytes], bytes]) -> Make:
    def make(plain: Path, folder: Path) -> Path:
        path = with_values()(plain, folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def holding(content: str | bytes) -> Make:
    return with_bytes(lambda _: content.encode() if isinstance(content, str) else content)


def big_endian(plain: Path, folder: Path) -> Path:
    return written(folder / "odd.gguf", values_of(plain), tensors_of(plain), in_big_endian=True)


def linked(plain: Path, folder: Path) -> Path:
    """As caches of weights do."""
    with_values(name="blob")(plain, folder)
    (folder / "odd.gguf").symlink_to(folder / "blob")
    return folder / "odd.gguf"


def a_folder(plain: Path, folder: Path) -> Path:
    (folder / "odd.gguf").mkdir()
    return folder / "odd.gguf"


def in_parts(named: int, *, lost: int | None = None) -> Make:
    """Two files. Args: named: the one that the pool names; `lost`: one that is missing."""

    def make(plain: Path, folder: Path) -> Path:
        tensors = tensors_of(plain)
        names = sorted(tensors)
        paths = [folder / f"odd-0000{n}-of-00002.gguf" for n in (1, 2)]
        for number, path in enumerate(paths):
            own = {name: tensors[name] for name in names[number::2]}
            split = {"split.no": number, "split.count": 2, N_TENSORS: len(names)}
            header = {**(values_of(plain) if number == 0 else {}), **split}
            written(path, header, own)
        if lost is not None:
            paths[lost].unlink()
        return paths[named]

    return make


def without(*endings: str) -> Callable[["Tensors"], "Tensors"]:
    return lambda tensors: {name: t for name, t in tensors.items() if not name.startswith(endings)}


def halved(tensors: "Tensors") -> "Tensors":
    import numpy as np

    return {name: t.astype(np.float16) if t.ndim > 1 else t for name, t in tensors.items()}


def fewer_tokens(header: Values) -> Values:
    return {**header, **{key: header[key][:80] for key in (TOKENS, SCORES, KINDS)}}


def one_token_more(header: Values) -> Values:
    more = {TOKENS: "<|extra|>", SCORES: 0.0, KINDS: ADDED}
    return {**header, **{key: [*header[key], value] for key, value in more.items()}}


def no_tokenizer(header: Values) -> Values:
    return {key: value for key, value in header.items() if not key.startswith("tokenizer.ggml")}


OF_TEMPLATES = {
    "plain": OddFile(with_values()),
    "no system role": OddFile(
        with_template(NO_SYSTEM), messages=SYSTEM, prompt=f"<u>{BEFORE}>", remark="takes no system message"
    ),
    "strict alternation": OddFile(
        with_template(ALTERNATING),
        messages=(system(), user("Hi"), user()),
        prompt=f"<u>Be brief.\n\nHi\n\n{QUESTION}>",
        remark="two turns of one role",
    ),
    "strict alternation, history": OddFile(
        with_template(ALTERNATING),
        messages=(system(), user("Hi"), assistant(), assistant("No."), user()),
        prompt=f"<u>Be brief.\n\nHi<a>Yes.\n\nNo.<u>{QUESTION}>",
        remark="two turns of one role",
    ),
    "system left out": OddFile(
        with_template(DROPS_SYSTEM), messages=SYSTEM, prompt=f"<u>{BEFORE}>", remark="no system"
    ),
    "a later system": OddFile(
        with_template(FIRST_SYSTEM_ONLY),
        messages=(system(), user("Hi"), assistant(), system(), user()),
        prompt=f"<s>Be brief.<u>Hi<a>Yes.<u>{BEFORE}>",
    ),
    "one turn": OddFile(
        with_template(ONE_TURN),
        messages=SAID_BEFORE,
        prompt=f"<u>Hi\n\nYes.\n\n{QUESTION}>",
        remark="earlier turns",
    ),
    "last turn": OddFile(
        with_template("<u>{{ messages[-1].content }}>"), messages=SAID_BEFORE, remark="last question only"
    ),
    "no template": OddFile(with_template(None), messages=SYSTEM, prompt=CHATML, remark="no chat template"),
    "a list of templates": OddFile(
        with_header(lambda h: {**h, f"{CHAT}s": ["tool_use"], f"{CHAT}.tool_use": f"T{TURNS}"})
    ),
    "templates without a default": OddFile(
        with_header(lambda h: {**h, CHAT: None, f"{CHAT}s": ["rag"], f"{CHAT}.rag": f"R{TURNS}"}),
        messages=SYSTEM,
        prompt=CHATML,
        remark="no chat template",
    ),
    "template that is a list": OddFile(
        with_template(["a", "b"]),  # type: ignore[arg-type]
        messages=SYSTEM,
        prompt=CHATML,
        remark="no chat template",
    ),
    "broken template": OddFile(
        with_template("{% for m in messages %}"), "dies", "end of template", remark="renders no"
    ),
    "raising template": OddFile(
        with_template("{{ raise_exception('never') }}"), "dies", "never", remark="renders no question here"
    ),
    "template without the question": OddFile(
        with_template("{{ 1 }}"), "told", "leaves out what the user says"
    ),
    "template that needs what nobody gives": OddFile(
        with_template("{{ reasons.length }}" + TURNS),
        prompt=f"<u>{QUESTION}",
        remark="renders no question here",
    ),
}
OF_FILES = {
    "cut off": OddFile(with_bytes(lambda whole: whole[:-1000]), "told", "is cut off: it has"),
    "cut off in its header": OddFile(
        with_bytes(lambda whole: whole[:1000]), "told", "cut off within its header"
    ),
    "a tail": OddFile(with_bytes(lambda whole: whole + bytes(4096))),
    "pointer": OddFile(holding(LFS), "told", "pointer of Git LFS"),
    "page": OddFile(holding(PAGE), "told", "no GGUF file"),
    "empty": OddFile(holding(""), "told", "no GGUF file"),
    "zeros": OddFile(holding(bytes(4096)), "told", "no GGUF file"),
    "wrong magic": OddFile(with_bytes(lambda whole: b"lmgg" + whole[4:]), "told", "no GGUF file"),
    "first version": OddFile(
        with_bytes(lambda whole: whole[:4] + b"\1\0\0\0" + whole[8:]), "told", "of version 1"
    ),
    "byte order of others": OddFile(big_endian, "told", "byte order of other machines"),
    "a folder": OddFile(a_folder, "dies", "odd.gguf"),
    "in two files": OddFile(in_parts(0)),
    "the second of two files": OddFile(in_parts(1)),
    "a file that is missing": OddFile(in_parts(0, lost=1), "told", "1 are missing: odd-00002-of-00002"),
    "link to elsewhere": OddFile(linked),
    "ending in capitals": OddFile(with_values(name="ODD.GGUF")),
    "no ending": OddFile(with_values(name="odd")),
    "blanks in its name": OddFile(with_values(name="my model (v2) -m.gguf")),
    "letters of all kinds in its name": OddFile(with_values(name="módèl-模型-😀.gguf")),
}
OF_HEADERS = {
    "no tokens": OddFile(with_header(lambda h: {**h, TOKENS: None}), "told", "brings no tokenizer"),
    "no kind of tokenizer": OddFile(with_values(tokenizer__ggml__model=None), "told", "brings no tokenizer"),
    "no tokenizer": OddFile(with_header(no_tokenizer), "told", "brings no tokenizer"),
    "unknown tokenizer": OddFile(with_values(tokenizer__ggml__model="homegrown"), "dies", "homegrown"),
    "no scores": OddFile(with_header(lambda h: {**h, SCORES: None})),
    "no end": OddFile(with_values(tokenizer__ggml__eos_token_id=None)),
    "end beyond the vocabulary": OddFile(with_values(tokenizer__ggml__eos_token_id=999_999)),
    "fewer tokens than rows": OddFile(with_header(fewer_tokens), "dies", "token_embd.weight"),
    "more tokens than rows": OddFile(with_header(one_token_more), "dies", "token_embd.weight"),
    "no architecture": OddFile(
        with_values(general__architecture=None), "told", "does not name its architecture"
    ),
    "unknown architecture": OddFile(with_values(general__architecture="homegrown"), "dies", "homegrown"),
    "an adapter": OddFile(with_values(general__type="adapter"), "told", "an adapter, not a model"),
    "a reader of pictures": OddFile(with_values(general__architecture="clip"), "told", "reads pictures"),
    "no tensors": OddFile(with_tensors(lambda _: {}), "told", "holds no tensors"),
    "no context": OddFile(with_values(llama__context_length=None), "dies", "context_length"),
    "a layer too few": OddFile(with_tensors(without("blk.2.")), "dies", "blk.2"),
    "a lost norm": OddFile(with_tensors(without("output_norm")), "dies", "output_norm"),
    "half precision": OddFile(with_tensors(halved)),
}
GGUF_FILES: Mapping[str, OddFile] = {**OF_TEMPLATES, **OF_FILES, **OF_HEADERS}
