"""Defects of a model's folder: files that are not what their names say, told from first bytes and headers,
before anything is loaded.

No tensor is read, and no heavy library is needed: a pool is checked in seconds, and a load that would fail
says which file is at fault.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from orchestrator.errors import EngineLoadError
from orchestrator.runtime.files import no_file, open_regular, read_json
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS, require_adapter
from workers.checkpoints.kinds import is_known_kind, writes_texts
from workers.checkpoints.merging.headers import FLOATS, INDEX, SINGLE, Head, owns, read_header, weight_files
from workers.checkpoints.peft import PeftConfig
from workers.checkpoints.stated import (
    config_slips,
    is_quantised,
    token_slips,
    tokenizer_code_slips,
    tokenizer_slips,
)

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = (TOKENIZER, "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
"""Files of which a tokenizer's folder has one at least; tiktoken's end in `.tiktoken`."""
BESIDE_TOKENIZER = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
_FETCH = "Fetch it again (of a repository: `git lfs pull`)."
_ANEW = "Fetch it again, or save the model again."
_N_SNIFFED = 512
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d{1,6})\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embed_in|word_embeddings|tok_embeddings)\.weight$")
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.weight$")
_UNTIED = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3"})
"""Kinds of models whose head is apart from the embedding where the configuration says nothing."""
_ADAPTER_SIDE = re.compile(r"\Abase_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])\.weight\Z")
_MOST_TOLD = 5
"""Tensors of one kind that are named."""


class Defect(NamedTuple):
    """Fault of one file, and what mends it."""

    file: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file.name} {self.what}"


class Weights(NamedTuple):
    """Folder as far as its configuration and its headers tell."""

    config: Mapping[str, JsonValue]
    heads: Mapping[str, Head]

    @property
    def n_embedded(self) -> int | None:
        """Token ids that have an embedding; None = not known."""
        rows = [head.shape[0] for name, head in self.heads.items() if _EMBEDDING.search(name) and head.shape]
        return rows[0] if len(rows) == 1 else None


def require_sound(
    engine_id: str, folder: str, adapters: Iterable[str] = (), *, by_vllm: bool = False
) -> Weights | None:
    """Refuse a model's folder that cannot be loaded, or would be loaded as something else.

    What its headers tell is returned; None of a hub id.

    Args:
        folder: of the model; what is no folder (a hub id) is left to its loader.
        by_vllm: it loads them: weights from files of any name, and adapters of one rank and factor.

    Raises:
        EngineLoadError: it names each file, and what is wrong with it.
    """
    home = Path(folder)
    if not home.is_dir():
        return None
    of_model, weights = model_defects(home, by_vllm=by_vllm)
    of_adapters = [
        defect for adapter in adapters for defect in adapter_defects(Path(adapter), weights, by_vllm=by_vllm)
    ]
    if of_model or of_adapters:
        param = "model" if of_model else "adapter"
        raise refused(engine_id, [*of_model, *of_adapters], param=param)
    return weights


def refused(engine_id: str, defects: Sequence[Defect], *, param: str = "model") -> EngineLoadError:
    """The error of an engine whose files have defects: no wait heals them."""
    return EngineLoadError(
        f"engine '{engine_id}': {told(defects)}.",
        param=param,
        remedy=" ".join(dict.fromkeys(defect.remedy for defect in defects)),
        is_lasting=True,
    )


def told(defects: Iterable[Defect]) -> str:
    """Defects in one line, by folder."""
    by_folder: dict[Path, list[str]] = {}
    for defect in defects:
        by_folder.setdefault(defect.file.parent, []).append(str(defect))
    return "; ".join(f"in '{folder}' {', and '.join(whats)}" for folder, whats in by_folder.items())


def model_defects(folder: Path, *, by_vllm: bool = False) -> tuple[list[Defect], Weights | None]:
    """Defects of a model's folder, and what its headers tell; None where these cannot be read.

    Args:
        by_vllm: it is vLLM that will load it.
    """
    found: list[Defect] = []
    try:
        config = _config(folder, found)
        heads = _heads(folder, found, by_vllm=by_vllm)
        found += _tokenizer_defects(folder)
        found += _strange_defects(folder, {defect.file for defect in found})
    except OSError as error:  # a folder that may not be looked into
        where = Path(error.filename) if isinstance(error.filename, str) else folder
        return [
            *found,
            Defect(where, f"cannot be read: {error.strerror}", "Give the worker's user access."),
        ], None
    if config is None or heads is None:
        return found, None
    weights = Weights(config, heads)
    found += _kind_defects(folder, config, by_vllm=by_vllm)
    found += _stated_defects(folder, config, by_vllm=by_vllm)
    found += _shape_defects(folder, weights)
    return found, weights


def served_defects(folder: Path) -> list[Defect]:
    """Defects of a folder that a server of any kind loads: files that are not what their names say."""
    found: list[Defect] = []
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".safetensors":
                file_heads(path, None, found)
            elif path.name in (CONFIG, *BESIDE_TOKENIZER):
                json_object(path, found)
            elif path.name in TOKENIZER_FILES and (defect := content_defect(path)) is not None:
                found.append(defect)
    except OSError as error:
        found.append(Defect(folder, f"cannot be read: {error.strerror}", "Give the worker's user access."))
    return found


def content_defect(path: Path) -> Defect | None:
    """Fault of a file that is something else than its name says, or nothing; None = none that shows."""
    try:
        info = path.stat()
        kind = no_file(info.st_mode)
        if kind is not None:
            return Defect(path, f"is {kind}", _ANEW)
        with open_regular(path) as file:
            first = file.read(_N_SNIFFED)
    except FileNotFoundError:
        what = "is a link to nothing" if path.is_symlink() else "is missing"
        return Defect(path, what, _ANEW)
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return Defect(path, f"cannot be read: {reason}", "Mend the link, or give the worker's user access.")
    return _sniffed(path, first, info.st_size)


def _sniffed(path: Path, first: bytes, size: int) -> Defect | None:
    start = first.lstrip().lower()
    if not first:
        return Defect(path, "is empty", _ANEW)
    if first.startswith(b"version https://git-lfs") or b"/annex/objects/" in first:
        return Defect(path, "is a Git LFS pointer in place of the file", _FETCH)
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<error>")):
        return Defect(path, "is a web page in place of the file", _ANEW)
    if first.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\x80\x02", b"\x80\x04")):
        what = "is an archive or a pickle, which can run code"
        return Defect(path, what, "Convert it to safetensors (save_pretrained on a machine you can lose).")
    if not first.strip(b"\0"):
        return Defect(path, "begins with zeros: it was never written", _ANEW)
    is_weights = path.suffix == ".safetensors"
    if is_weights and size < _N_SNIFFED and first[8:9] != b"{" and _is_text(first):
        line = " ".join(first.decode("utf-8", "replace").split())[:80]
        return Defect(path, f"is a text in place of weights: '{line}'", _ANEW)
    return None


def _is_text(first: bytes) -> bool:
    try:
        return first.decode("utf-8").replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable()
    except UnicodeDecodeError:
        return False


def json_object(path: Path, found: list[Defect]) -> dict[str, JsonValue] | None:
    """A JSON object of a file; None = it is none, which was added to `found`."""
    defect = content_defect(path)
    if defect is None:
        try:
            document = read_json(path)
            if isinstance(document, dict):
                return document
            defect = Defect(path, "holds no JSON object", _ANEW)
        except ValueError as error:
            defect = Defect(path, f"is no JSON: {_reason(error).removeprefix(f'{path.name} ')}", _ANEW)
    found.append(defect)
    return None


def _config(folder: Path, found: list[Defect]) -> dict[str, JsonValue] | None:
    """The configuration of the text model, which stands inside where there are several."""
    config = json_object(folder / CONFIG, found)
    inner = None if config is None else config.get("text_config")
    return {**config, **inner} if config is not None and isinstance(inner, dict) else config


def _heads(folder: Path, found: list[Defect], *, by_vllm: bool) -> dict[str, Head] | None:
    """Tensors by name; None where not all headers can be read."""

    def refuse(kind: str, have: JsonValue, *, tensor: str | None = None, want: JsonValue = None) -> None:
        at = SINGLE if kind == "model" else INDEX
        found.append(Defect(folder / at, f"cannot be used: {_said(have, tensor, want)}", _ANEW))

    n_before = len(found)
    files = weight_files(folder, refuse, anywhere=True)
    if files is None and by_vllm and not (folder / INDEX).exists():
        del found[n_before:]
        files = {path: None for path in sorted(folder.glob("*.safetensors")) if path.name != ADAPTER_WEIGHTS}
    if files is None:
        return None
    if not by_vllm and not {SINGLE} >= {path.name for path in files} and not (folder / INDEX).exists():
        named = ", ".join(sorted(path.name for path in files))
        what = f"is missing: weights lie in {named}, which are not looked for"
        found.append(Defect(folder / SINGLE, what, f"Rename the file to {SINGLE}, or write {INDEX}."))
    heads: dict[str, Head] = {}
    is_whole = True
    for path, owned in files.items():
        part = file_heads(path, owned, found)
        is_whole &= part is not None
        heads |= part or {}
    return heads if is_whole else None


def file_heads(path: Path, owned: frozenset[str] | None, found: list[Defect]) -> dict[str, Head] | None:
    """Headers of a file of weights; None where it has a defect, which `found` is told.

    Args:
        owned: names of its tensors by the index; None = there is no index.
    """
    defect = content_defect(path)
    if defect is not None:
        found.append(defect)
        return None

    def refuse(kind: str, have: JsonValue, *, tensor: str | None = None, want: JsonValue = None) -> None:
        begin = "is truncated" if kind == "truncated" else "is no sound safetensors file"
        said = _said(have, tensor, want).removeprefix(f"{path.name}: ")
        found.append(Defect(path, f"{begin}: {said}", _ANEW))

    heads = read_header(path, refuse, anywhere=True)
    return heads if heads is not None and owns(path, heads, owned, refuse) else None


def _said(have: JsonValue, tensor: str | None, want: JsonValue) -> str:
    where = "" if tensor is None else f"'{tensor}' is "
    return f"{where}{have}" + ("" if want is None else f" (wanted: {want})")


def _tokenizer_defects(folder: Path) -> Iterator[Defect]:
    present = [name for name in TOKENIZER_FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if not present and not any(folder.glob("*.tiktoken")):
        what = f"is missing, as is any other tokenizer ({', '.join(TOKENIZER_FILES[1:])})"
        yield Defect(folder / TOKENIZER, what, "Copy the tokenizer of its base model into the folder.")
    for name in present:
        defect = content_defect(folder / name)
        if defect is not None:
            yield defect
    for name in BESIDE_TOKENIZER:
        if (folder / name).exists() or (folder / name).is_symlink():
            found: list[Defect] = []
            json_object(folder / name, found)
            yield from found


def _strange_defects(folder: Path, told: Container[Path]) -> Iterator[Defect]:
    """Whatever stands there and is no file: a loader might wait for it for ever."""
    for path in sorted(folder.iterdir()):
        kind = no_file(path.stat().st_mode) if path.exists() else None
        if kind not in (None, "a folder") and path not in told:
            yield Defect(path, f"is {kind}", "Remove it from the folder.")


def _stated_defects(folder: Path, config: Mapping[str, JsonValue], *, by_vllm: bool) -> Iterator[Defect]:
    """Values of the configurations that no loader takes."""
    yield from (Defect(folder / CONFIG, *slip) for slip in config_slips(config, by_vllm=by_vllm))
    code_slips = partial(tokenizer_code_slips, config=config)
    for name, slips in (
        ("generation_config.json", token_slips),
        ("tokenizer_config.json", tokenizer_slips),
        ("tokenizer_config.json", code_slips),
    ):
        document = json_object(folder / name, []) if (folder / name).exists() else None
        yield from (Defect(folder / name, *slip) for slip in slips(document or {}))


def _kind_defects(folder: Path, config: Mapping[str, JsonValue], *, by_vllm: bool) -> Iterator[Defect]:
    """A kind of model that no library here has, or that writes no texts."""
    kind = config.get("model_type")
    elsewhere = "Serve it elsewhere, and name it with engine `server`."
    if not isinstance(kind, str) or not kind:
        yield Defect(folder / CONFIG, "names no model_type", "Fetch the configuration of the model again.")
    elif not is_known_kind(kind):
        brings = config.get("auto_map") is not None
        own = "and the model brings code of its own, which is never run"
        why = own if brings else "which transformers has not"
        yield Defect(folder / CONFIG, f"names the kind of model '{kind[:64]}', {why}", elsewhere)
    elif not by_vllm and "text_config" not in config and not writes_texts(kind):
        what = f"names the kind of model '{kind[:64]}', of which transformers has none that writes texts"
        yield Defect(folder / CONFIG, what, elsewhere)


def _shape_defects(folder: Path, weights: Weights) -> Iterator[Defect]:
    """Weights that are not those of their configuration."""
    config, heads = weights.config, weights.heads
    file = folder / (SINGLE if (folder / SINGLE).exists() else INDEX)
    if not is_quantised(config):
        odd = {name: h.dtype for name, h in heads.items() if len(h.shape) > 1 and h.dtype not in FLOATS}
        if odd:
            name, dtype = next(iter(odd.items()))
            known = " of a known kind" if config.get("quantization_config") else ""
            what = f"holds {dtype} ('{name}'), and {CONFIG} has no quantization_config{known}"
            yield Defect(file, what, "Save the model in bfloat16, or with its quantization_config.")
    vocabulary, rows = config.get("vocab_size"), weights.n_embedded
    if rows is not None and isinstance(vocabulary, int) and vocabulary != rows:
        what = f"has an embedding of {rows} token ids, and {CONFIG} says vocab_size {vocabulary}"
        yield Defect(file, what, "Save the model after its embedding was resized.")
    n_layers = config.get("num_hidden_layers", config.get("n_layer"))
    n_held = _n_layers(heads)
    if isinstance(n_layers, int) and 0 < n_held < n_layers:
        what = f"holds {n_held} of the {n_layers} layers that {CONFIG} says"
        yield Defect(file, what, "Fetch all of its files.")
    has_head = any(_HEAD.search(name) for name in heads)
    tied = config.get("tie_word_embeddings", str(config.get("model_type")) not in _UNTIED)
    if rows is not None and not has_head and not tied:
        what = f"holds no lm_head.weight, and {CONFIG} does not tie it to the embedding"
        yield Defect(file, what, f"Set tie_word_embeddings in {CONFIG} if it is tied; else fetch it again.")


def adapter_defects(folder: Path, base: Weights | None, *, by_vllm: bool = False) -> list[Defect]:
    """Defects of an adapter's folder.

    Args:
        base: weights that it is for; None = not known.
        by_vllm: it is vLLM that will load it, which applies less.
    """
    found: list[Defect] = []
    try:
        require_adapter(str(folder))
    except (EngineLoadError, OSError) as error:
        message = error.message if isinstance(error, EngineLoadError) else error.strerror or str(error)
        return [Defect(folder / ADAPTER_WEIGHTS, f"cannot be used: {message.rstrip('.')}", _ANEW)]
    found += _strange_defects(folder, ())
    document = json_object(folder / ADAPTER_CONFIG, found)
    heads = file_heads(folder / ADAPTER_WEIGHTS, None, found)
    if document is None:
        return found
    try:
        config = PeftConfig.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"is no adapter's: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        return [*found, Defect(folder / ADAPTER_CONFIG, what, _ANEW)]
    if config.unsupported or (by_vllm and config.has_patterns):
        used = ", ".join(config.unsupported) or "rank_pattern or alpha_pattern"
        what = f"uses {used}, which {'vLLM does not apply' if by_vllm else 'only the peft package applies'}"
        remedy = "Merge the adapter into its base (merge_and_unload, save_pretrained), and serve the result."
        found.append(Defect(folder / ADAPTER_CONFIG, what, remedy))
    elif heads is not None:
        found += _fit_defects(folder, heads, config, base)
    return found


def _fit_defects(
    folder: Path, heads: Mapping[str, Head], config: PeftConfig, base: Weights | None
) -> Iterator[Defect]:
    """Factors that are not those of the configuration, or of another base."""
    file = folder / ADAPTER_WEIGHTS
    sides: dict[str, dict[str, tuple[int, ...]]] = {"A": {}, "B": {}}
    for name, head in heads.items():
        match = _ADAPTER_SIDE.fullmatch(name)
        if match is None or len(head.shape) != 2:
            yield Defect(file, f"holds '{name[:120]}', which is no factor of a plain LoRA", _ANEW)
            return
        sides[match["side"]][match["path"]] = head.shape
    if not heads or sides["A"].keys() != sides["B"].keys():
        yield Defect(file, "lacks lora_A or lora_B weights", _ANEW)
        return
    remedy = "Name the base that the adapter was trained over in base_model."
    shapes = {} if base is None else {_tail(name): head.shape for name, head in base.heads.items()}
    unknown = [path for path in sides["A"] if shapes and _tail(f"{path}.weight") not in shapes]
    n_layers = _n_layers(shapes)
    beyond = [path for path in unknown if (match := _LAYER.search(path)) and int(match[1]) >= n_layers]
    if unknown and (len(unknown) == len(sides["A"]) or beyond):
        yield Defect(file, f"is for another base: that has no '{(beyond or unknown)[0][:120]}'", remedy)
        return
    wrong = [
        path
        for path, down in sides["A"].items()
        if (shape := shapes.get(_tail(f"{path}.weight"))) is not None
        and shape != (sides["B"][path][0], down[1])
    ]
    if wrong:
        yield Defect(file, f"is for another base: '{wrong[0][:120]}' has another shape there", remedy)
    ranks = [path for path, down in sides["A"].items() if down[0] != config.rank_of(path)]
    if ranks:
        what = f"has at '{ranks[0][:120]}' another rank than {ADAPTER_CONFIG} says"
        yield Defect(file, what, _ANEW)


def _n_layers(names: Iterable[str]) -> int:
    """Layers up to the last that a tensor is of; 0 = none has a number."""
    return max((int(match[1]) + 1 for name in names if (match := _LAYER.search(name))), default=0)


def _tail(name: str) -> str:
    """The name of a tensor from its layer on: what stands before differs between ways of saving."""
    match = _LAYER.search(name)
    return name if match is None else name[match.start() :].lstrip(".")


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
