"""Chat templates: which one of a model's is in force, and how it is run.

They are Jinja programs of strangers, run in Jinja's sandbox with what transformers gives them (its
`render_jinja_template`), so that a pool file is checked without a heavy library and an engine renders what
was checked.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from orchestrator.runtime.files import read_json

if TYPE_CHECKING:
    from jinja2 import Template

DEFAULT = "default"
TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FOLDER = "additional_chat_templates"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
MAX_BYTES = 1 << 20
"""Of a template."""
MOST_S = 5.0
"""Processor time of one rendering, which takes milliseconds: a template may be made to run for ever."""
MOST_MADE = 1 << 24
"""Characters, items or bits of what one multiplication makes."""
_until: ContextVar[float] = ContextVar("until", default=float("inf"))
"""Processor time of this thread at which the template that it renders is stopped."""
T = TypeVar("T")
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
        told = [dict(turn) for turn in turns]
        last = told[-1]["content"] if begun else None
        if begun:
            told[-1]["content"] = f"{last}{_TAG}"
        started = _until.set(time.thread_time() + MOST_S)
        try:
            text = self._compiled.render(
                messages=told, tools=None, documents=None, add_generation_prompt=not begun, **self._tokens
            )
        except Exception as error:  # templates are arbitrary programs and raise anything
            raise TemplateFaultError(_reason(error)) from error
        finally:
            _until.reset(started)
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
        raise TemplateFaultError(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8")
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


def _n_made(operator: str, left: object, right: object) -> int:
    """Characters, items or bits of a product or a power; 0 = few."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return bits * abs(right) if operator == "**" else bits + right.bit_length()
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int):
            return len(many) * times
    return 0


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")


@lru_cache(maxsize=64)
def _compiled(text: str) -> "Template":
    """
    Raises:
        TemplateFaultError: it is no Jinja.
    """
    from jinja2 import TemplateError, ext, nodes, pass_context, pass_eval_context
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension
    from jinja2.nodes import CallBlock, EvalContext
    from jinja2.parser import Parser
    from jinja2.runtime import Context, Macro
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """`{% generation %}`: marks what a model wrote, for training; here it is what it holds."""

        tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

        def parse(self, parser: Parser) -> CallBlock:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return CallBlock(self.call_method("_inner"), [], [], body, lineno=line)

        @pass_eval_context
        def _inner(self, context: EvalContext, caller: Macro) -> str:
            del context
            return str(caller())

    class OpenNamespace(Namespace):
        """A namespace without names that lead into Python."""

        def __init__(*args: object, **kwargs: object) -> None:
            self, *rest = args
            names = dict(*rest, **kwargs)
            for name in names:
                _refuse_hidden(name)
            Namespace.__init__(self, names)

        def __setitem__(self, name: str, value: object) -> None:
            _refuse_hidden(name)
            super().__setitem__(name, value)

    class BoundedEnvironment(ImmutableSandboxedEnvironment):
        """A sandbox that also ends: time is looked at where a loop begins and where anything is called."""

        intercepted_binops = frozenset(("*", "**"))

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree = super()._parse(source, name, filename)
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = nodes.Filter(loop.iter, "begun_in_time", [], [], None, None, lineno=loop.lineno)
            tree.set_environment(self)
            return tree

        def call(self, context: Context, function: object, /, *args: object, **kwargs: object) -> object:
            _require_time()
            return super().call(context, function, *args, **kwargs)

        def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
            if _n_made(operator, left, right) > MOST_MADE:
                raise SecurityError("a template may not make anything so large")
            return super().call_binop(context, operator, left, right)

    def _require_time() -> None:
        if time.thread_time() > _until.get():
            raise SecurityError(f"it did not end within {MOST_S:g} s")

    @pass_context  # so that it is not computed while the template is compiled
    def begun_in_time(context: Context, items: T) -> T:
        del context
        _require_time()
        return items

    def _refuse_hidden(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a template may not set '{name}'")

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: object,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def strftime_now(form: str) -> str:
        return datetime.now().strftime(form)

    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters |= {"tojson": tojson, "begun_in_time": begun_in_time}
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "namespace": OpenNamespace,
    }
    try:
        return environment.from_string(text)
    except Exception as error:  # also a RecursionError of the parser
        raise TemplateFaultError(_reason(error)) from error
