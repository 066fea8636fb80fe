"""Chat templates: which one of a model's is in force, and how it is run.

They are Jinja programs of strangers, run in Jinja's sandbox with what transformers gives them (its
`render_jinja_template`), so that a pool file is checked without a heavy library and an engine renders what
was checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from orchestrator.runtime.files import open_regular, read_json

if TYPE_CHECKING:
    from jinja2 import Template

DEFAULT = "default"
TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FOLDER = "additional_chat_templates"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
MAX_BYTES = 1 << 17
"""Of a template: the largest are a quarter of it, and one is compiled to 2,000 times its size."""
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "

Templates = str | Mapping[str, str] | None
"""Of a tokenizer: one, or several by their names."""
Turn = Mapping[str, JsonValue]


class TemplateFaultError(ValueError):
    """A template that is none, or that does not render."""


class ChatTemplate:
    """A template with the special tokens of its tokenizer.

    Args:
        text: in Jinja.
        tokens: special tokens by what a template calls them (`bos_token`).

    Raises:
        TemplateFaultError: it is no Jinja.
    """

    def __init__(self, text: str, tokens: Mapping[str, str]) -> None:
        self.text = text
        self._tokens = dict(tokens)
        self._compiled = _compiled(text)

    def render(self, turns: Sequence[Turn], *, begun: bool = False) -> str:
        """The prompt of turns. Args: begun: the model goes on with the last one, which is not closed.

        Raises:
            TemplateFaultError: the template refuses them, or breaks.
        """
        from workers.checkpoints.template_sandbox import rendered

        told = [dict(turn) for turn in turns]
        last = told[-1]["content"] if begun else None
        if begun:
            told[-1]["content"] = f"{last}{_TAG}"
        said: dict[str, object] = {
            "messages": told,
            "tools": None,
            "documents": None,
            "add_generation_prompt": not begun,
        }
        try:
            text = rendered(self._compiled, said | self._tokens)
        except Exception as error:  # templates are arbitrary programs and raise anything
            raise TemplateFaultError(_reason(error)) from error
        return _before_tag(text, str(last)) if begun else text


def _before_tag(text: str, last: str) -> str:
    """A rendered conversation up to the end of its last turn's text."""
    at = text.rfind(_TAG.strip())
    if at < 0 or last.strip() not in text:
        raise TemplateFaultError("it does not end in the answer that was begun")
    is_as_written = text[at : at + len(_TAG)] == _TAG
    return text[:at] if is_as_written else text[:at].rstrip()


def chosen(templates: Templates, wanted: str | None) -> str | None:
    """The template in force; None = there is none.

    Args:
        wanted: of the pool file: a template, or the name of one of the model's.

    Raises:
        TemplateFaultError: no such name, or several without a default.
    """
    named = {DEFAULT: templates} if isinstance(templates, str) else dict(templates or {})
    if wanted is not None and is_jinja(wanted):
        return wanted
    if wanted is not None:
        if wanted not in named:
            known = f"has {', '.join(sorted(named))}" if named else "has none"
            raise TemplateFaultError(f"'{wanted}' is no template, and none of the model's, which {known}")
        return named[wanted]
    if len(named) > 1 and DEFAULT not in named:
        raise TemplateFaultError(f"it has several, and no default: {', '.join(sorted(named))}")
    return named.get(DEFAULT, next(iter(named.values()), None))


def is_jinja(text: str) -> bool:
    """True for what may be a template: without a brace it would be one prompt for all questions."""
    return "{" in text


def templates_of(folder: Path) -> Templates:
    """Templates of a model's folder, as transformers finds them.

    Raises:
        OSError: a file cannot be read.
        TemplateFaultError: a file is none of a tokenizer's.
    """
    found = _of_config(folder / TOKENIZER_CONFIG, "chat_template")
    if (folder / TEMPLATE_FILE).is_file() or (folder / TEMPLATE_FOLDER).is_dir():
        files = {DEFAULT: folder / TEMPLATE_FILE} if (folder / TEMPLATE_FILE).is_file() else {}
        files |= {path.stem: path for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))}
        by_name = {name: read_template(path) for name, path in files.items()}
        found = by_name or found
    return found


def read_template(path: Path) -> str:
    """A template of a file.

    Raises:
        OSError: it cannot be read.
        TemplateFaultError: it is too large, or no text.
    """
    if path.stat().st_size > MAX_BYTES:
        raise TemplateFaultError(f"{path.name} is larger than {MAX_BYTES >> 10} KiB")
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8")
    except UnicodeDecodeError:
        raise TemplateFaultError(f"{path.name} is no text in UTF-8") from None


def special_tokens_of(folder: Path) -> dict[str, str]:
    """Special tokens of a model's folder, by what templates call them; none of files that are not there or
    are broken."""
    found: dict[str, str] = {}
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        try:
            document = read_json(folder / name)
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            found |= dict(_token_texts(document))
    return found


def _token_texts(document: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        text = value.get("content") if isinstance(value, dict) else value
        if key.endswith("_token") and isinstance(text, str):
            yield key, text


def _of_config(path: Path, key: str) -> Templates:
    if not path.is_file():
        return None
    try:
        document = read_json(path)
    except ValueError as error:
        raise TemplateFaultError(f"{path.name} is no JSON: {_reason(error)}") from error
    value = document.get(key) if isinstance(document, dict) else None
    if isinstance(value, str) or value is None:
        return value
    texts = dict(_named(value))
    if not texts or len(texts) != len(value if isinstance(value, list | dict) else ()):
        raise TemplateFaultError(f"{path.name}: {key} is neither a template nor several with their names")
    return texts


def _named(value: JsonValue) -> Iterator[tuple[str, str]]:
    """Templates of a list or a mapping, by their names."""
    rows: list[tuple[JsonValue, JsonValue]] = []
    if isinstance(value, dict):
        rows += value.items()
    elif isinstance(value, list):
        rows += [(row.get("name"), row.get("template")) for row in value if isinstance(row, dict)]
    for name, text in rows:
        if isinstance(name, str) and isinstance(text, str):
            yield name, text


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")


@lru_cache(maxsize=64)
def _compiled(text: str) -> "Template":
    """
    Raises:
        TemplateFaultError: it is no Jinja, or too large.
    """
    from workers.checkpoints.template_sandbox import ENVIRONMENT

    if len(text) > MAX_BYTES:
        raise TemplateFaultError(f"it is larger than {MAX_BYTES >> 10} KiB")
    try:
        return ENVIRONMENT.from_string(text)
    except Exception as error:  # also a RecursionError of the parser
        raise TemplateFaultError(_reason(error)) from error
