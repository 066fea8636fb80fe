"""Reading of a model's folder, tried without the model: its chat template on short conversations, its
tokenizer on the prompt that comes of it, and both beside the embedding."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from workers.checkpoints.defects import TOKENIZER, Defect, Weights, content_defect, json_object, refused
from workers.checkpoints.formats import load_tokenizer
from workers.checkpoints.gguf import GGUF, GgufError, read_gguf
from workers.checkpoints.templates import (
    TEMPLATE_FILE,
    TOKENIZER_CONFIG,
    ChatTemplate,
    TemplateFaultError,
    chosen,
    is_jinja,
    special_tokens_of,
    templates_of,
)
from workers.checkpoints.turns import Takes, names_another, question_for, taken_by, takes_of, turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_RENAME = "Name another one in chat_template: a text, a file, or one of the model's by its name."
_GENERATION = "generation_config.json"


class Read(NamedTuple):
    """Findings: defects, and remarks of what may surprise."""

    defects: list[Defect]
    remarks: list[str]


def read_folder(engine: EngineSpec, weights: Weights | None) -> Read:
    """Try template and tokenizer of an engine's folder. Args: weights: beside them; None = not known."""
    folder, read = Path(engine.model), Read([], [])
    try:
        text = chosen(templates_of(folder), engine.chat_template)
        template = None if text is None else ChatTemplate(text, special_tokens_of(folder))
        takes = None if template is None else taken_by(template)
        prompt = "Hello" if template is None or takes is None else _question(template, takes)
    except (OSError, TemplateFaultError) as error:
        what = f"holds no usable chat template: {error}"
        read.defects.append(Defect(_template_file(folder, engine.chat_template), what, _RENAME))
        return read
    if takes is None:
        read.remarks.append("has no chat template: messages are joined by blank lines")
    else:
        read.remarks.extend(_untaken(takes))
    _try_tokenizer(folder, prompt, weights, read)
    if not _has_end(folder, {} if weights is None else weights.config):
        read.remarks.append("names no token that ends a text: responses end at max_tokens")
    return read


def served_remarks(engine: EngineSpec) -> list[str]:
    """Remarks on the chat template of a model that a command's server loads, as it is read here."""
    try:
        takes = takes_of(engine)
    except TemplateFaultError as error:
        return [f"its chat template renders no question here, and its server may refuse it: {error}"]
    path = Path(engine.model)
    try:
        is_bare = path.suffix.lower() == GGUF and path.is_file() and read_gguf(path).template is None
    except GgufError:  # told as a mistake
        return []
    if is_bare and not names_another(engine):
        return ["has no chat template: one of its server's own is in force"]
    return _untaken(takes)


def load_sound_tokenizer(spec: EngineSpec, weights: Weights | None) -> "PreTrainedTokenizerFast":
    """The tokenizer beside the weights.

    Raises:
        EngineLoadError: it cannot be loaded; where its files tell why, they are named.
    """
    try:
        return load_tokenizer(spec)
    except EngineLoadError as error:
        defects = read_folder(spec, weights).defects if Path(spec.model).is_dir() else []
        if not defects:
            raise
        raise refused(spec.id, defects) from error


def adapter_remark(adapter: Path, engine: EngineSpec) -> str | None:
    """Remark on an adapter that brings a chat template other than the one in force, which is its base's."""
    try:
        own = chosen(templates_of(adapter), None)
        used = chosen(templates_of(Path(engine.model)), engine.chat_template)
    except (OSError, TemplateFaultError):
        return None
    if own is None or own == used:
        return None
    return (
        "brings a chat template of its own, which is not used: its base's is. "
        f"Name it in chat_template if the adapter was trained with it ({_template_file(adapter, None)})"
    )


def _question(template: ChatTemplate, takes: Takes) -> str:
    """
    Raises:
        TemplateFaultError: a template that took words refuses others.
    """
    said = question_for(takes)
    return template.render([turn(m.role, m.content, as_text=takes.as_text) for m in said])


def _template_file(folder: Path, wanted: str | None) -> Path:
    """The file that a template in force stands in; the folder, if that is the pool file."""
    if wanted is not None and is_jinja(wanted):
        return folder
    names = (TEMPLATE_FILE, TOKENIZER_CONFIG)
    return next((folder / name for name in names if (folder / name).is_file()), folder / TOKENIZER_CONFIG)


def _untaken(takes: Takes) -> list[str]:
    """Remarks of what a template does not take as it is."""
    said = {
        "takes no system message: its text goes into the user's": takes.system,
        "takes no two turns of one role in a row: they are joined": takes.neighbours,
        "refuses earlier turns: they are joined to the question": takes.history,
        "reads the last question only: system messages and earlier turns are left out": not takes.last_only,
        "refuses conversations that an assistant's turn begins: it is not asked": takes.first_assistant,
        "cannot go on with an answer that is begun: it is not asked to": takes.prefill,
        "takes no question without a system message: set system_prompt": takes.alone,
    }
    return [f"its chat template {words}" for words, is_taken in said.items() if not is_taken]


def _try_tokenizer(folder: Path, prompt: str, weights: Weights | None, read: Read) -> None:
    """Encode a prompt with tokenizer.json; other forms are left to the load, for they need libraries of their
    own."""
    path = folder / TOKENIZER
    if not path.is_file() or content_defect(path) is not None:
        return
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    except Exception as error:  # the library raises a bare one
        reason = " ".join(str(error).split())[:200].rstrip(".")
        what = f"is no tokenizer: {reason}"
        read.defects.append(Defect(path, what, "Fetch it again, or copy that of its base model."))
        return
    rows = None if weights is None else weights.n_embedded
    if rows is None:
        return
    beyond = {n: word for word, n in tokenizer.get_vocab(with_added_tokens=True).items() if n >= rows}
    if not ids:
        read.defects.append(Defect(path, "makes no token of a question", "Copy that of its base model."))
    elif max(ids) >= rows:
        worst = f"'{beyond.get(max(ids), '?')}' (id {max(ids)})"
        what = f"writes {worst} in every prompt, and the model has {rows} ids"
        read.defects.append(Defect(path, what, "Resize the model's embedding, and save it again."))
    elif beyond:
        named = ", ".join(f"'{word}'" for _, word in sorted(beyond.items())[:5])
        read.remarks.append(
            f"its tokenizer has {len(beyond)} tokens that the model does not know: {named}; a question that "
            "holds one is read letter by letter"
        )


def _has_end(folder: Path, config: Mapping[str, JsonValue]) -> bool:
    """True if the model or its tokenizer names a token that ends a text."""
    generation = json_object(folder / _GENERATION, [])
    named = [config.get("eos_token_id"), (generation or {}).get("eos_token_id")]
    return any(value is not None and value != [] for value in named) or "eos_token" in special_tokens_of(
        folder
    )
