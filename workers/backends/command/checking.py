"""Mistakes in the configuration of an engine that a command starts, found without starting it."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.runtime.files import barred, no_file
from orchestrator.settings.environment import REFERENCE, referred
from workers.backends.command.options import (
    PLACEHOLDERS,
    CommandOptions,
    placeholders_in,
    program_of,
    stated_context,
    words_of,
)
from workers.backends.options import SpecMistake, read_options
from workers.checkpoints.defects import served_defects
from workers.checkpoints.gguf import GGUF, GgufError, read_gguf
from workers.checkpoints.templates import TemplateFaultError
from workers.checkpoints.turns import LeavesOutError, takes_of

_OF_SHELLS = re.compile(r"\|\|?|&&?|;|[0-9]?>>?(?:&[0-9])?|<<?<?")
_FLAGS = "--chat-template-file of llama-server, --chat-template of vLLM"
_FILLED_IN_BY_SHELLS = re.compile(r"\$\{[A-Za-z_]|\$[A-Z_][A-Z0-9_]|\$\(|`")
_ASSIGNMENT = re.compile(r"\A[A-Za-z_]\w*=")


def mistakes(spec: EngineSpec) -> Iterator[SpecMistake]:
    """All of them: in the words and placeholders, the program, the variables, and the model's file.

    Raises:
        EngineLoadError: options that cannot be read at all.
    """
    options = read_options(CommandOptions, spec)
    try:
        words = words_of(options.command)
    except ValueError as error:
        remedy = "Close the quotes, or write the command as a list."
        yield SpecMistake("options.command", f"the command cannot be taken apart: {error}.", remedy)
        words = []
    else:
        if not words:
            yield SpecMistake("options.command", "the command is blank.", "Name a program and its arguments.")
    if words:
        yield from _word_mistakes(words, is_line=isinstance(options.command, str))
        yield from _program_mistakes(words[0], options)
    yield from _placeholder_mistakes(spec, options, words)
    yield from _variable_mistakes(options)
    if any("model" in placeholders_in(text) for text in (*words, *options.env.values())):
        yield from _model_mistakes(spec)
        yield from _template_mistakes(spec)
    if spec.chat_template is not None:
        message = "a command is not told of chat_template: its server has one of its own in force."
        yield SpecMistake("chat_template", message, f"Hand it over in the command ({_FLAGS}).")


def require_none(spec: EngineSpec) -> None:
    """Refuse an engine with mistakes in its options.

    Raises:
        EngineLoadError: there are mistakes; with all of them.
    """
    found = list(mistakes(spec))
    if found:
        said = " ".join(f"{one.message} {one.remedy}" for one in found)
        raise EngineLoadError(f"engine '{spec.id}': {said}", param=found[0].param, is_lasting=True)


def _word_mistakes(words: Sequence[str], *, is_line: bool) -> Iterator[SpecMistake]:
    if any("\0" in word for word in words):
        yield SpecMistake("options.command", "a word of the command holds a NUL character.", "Remove it.")
    of_shells = next((word for word in words if _OF_SHELLS.fullmatch(word)), None)
    if is_line and of_shells is not None:
        message = f"'{of_shells}' is for shells, and no shell runs the command."
        remedy = "Name one program; or a script; or, if the word is an argument, write the command as a list."
        yield SpecMistake("options.command", message, remedy)
    filled_in = [word for word in words[1:] if _FILLED_IN_BY_SHELLS.search(word) or word.startswith("~/")]
    if is_line and filled_in:
        message = f"'{filled_in[0]}' is for shells to fill in, and no shell runs the command."
        remedy = "Write what it stands for; or, if the argument is meant so, write the command as a list."
        yield SpecMistake("options.command", message, remedy)
    if _ASSIGNMENT.match(words[0]):
        name = words[0].partition("=")[0]
        message = f"'{name}=…' in front of a command is for shells, and no shell runs it."
        yield SpecMistake("options.command", message, f"Set {name} in `env`.")


def _program_mistakes(word: str, options: CommandOptions) -> Iterator[SpecMistake]:
    if any(placeholders_in(word)) or "\0" in word or _ASSIGNMENT.match(word):
        return
    program = program_of(word)
    path = options.env.get("PATH", os.environ.get("PATH"))
    if not program or shutil.which(program, path=path) is None:
        is_file, is_folder = Path(program).is_file(), bool(program) and Path(program).is_dir()
        what = (
            "is not a program that may be run" if is_file else "is a folder" if is_folder else "is not there"
        )
        where = "" if os.sep in program else " on PATH"
        remedy = "Make it executable." if is_file else "Install it, or name it by its path."
        yield SpecMistake("options.command", f"'{program}' {what}{where}.", remedy)


def _placeholder_mistakes(
    spec: EngineSpec, options: CommandOptions, words: Sequence[str]
) -> Iterator[SpecMistake]:
    texts = [*(("options.command", word) for word in words)]
    texts += [(f"options.env.{name}", text) for name, text in options.env.items()]
    used = {name for _, text in texts for name in placeholders_in(text)}
    for place, text in texts:
        for name in placeholders_in(text):
            if name not in PLACEHOLDERS and f"${{{name}}}" not in text:
                known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
                remedy = f"Use one of {known}; {{{{{name}}}}} stands for the text {{{name}}}."
                yield SpecMistake(place, f"nothing is filled in for {{{name}}}.", remedy)
    if words and "port" not in used:
        remedy = "Write {port} where the command takes its port, in an argument or in `env`."
        yield SpecMistake("options.command", "the command is not told its port.", remedy)
    if "max_model_len" in used and stated_context(spec) is None:
        remedy = "Set max_model_len of this member."
        yield SpecMistake("options.command", "{max_model_len} is used, and nobody said it.", remedy)


def _variable_mistakes(options: CommandOptions) -> Iterator[SpecMistake]:
    for name, text in options.env.items():
        if not name or "=" in name or "\0" in name:
            yield SpecMistake("options.env", f"'{name}' is no name of a variable.", "Rename it.")
        elif "\0" in text:
            yield SpecMistake(f"options.env.{name}", "its value holds a NUL character.", "Remove it.")
        elif _FILLED_IN_BY_SHELLS.search(text) is not None:
            message = "its value is for shells to fill in, and no shell sees it."
            remedy = "Write what it stands for, or `os.environ/NAME` for the whole value."
            yield SpecMistake(f"options.env.{name}", message, remedy)
        elif text.startswith(REFERENCE) and referred(text) is None:
            variable = text.removeprefix(REFERENCE)
            yield SpecMistake(
                f"options.env.{name}", f"environment variable {variable} is not set.", "Export it."
            )


def _model_mistakes(spec: EngineSpec) -> Iterator[SpecMistake]:
    path = Path(spec.model)
    reason = barred(path)
    if reason is not None:
        yield SpecMistake(
            "model", f"'{spec.model}' cannot be looked at: {reason}.", "Give the user access to it."
        )
        return
    if not path.exists():
        if _is_path(spec.model):
            yield SpecMistake("model", f"there is no '{spec.model}'.", "Mend the path, or fetch the model.")
        return
    kind = None if path.is_dir() else no_file(path.stat().st_mode)
    if kind is not None:
        yield SpecMistake(
            "model", f"'{spec.model}' is {kind}, not a file.", "Name the model's file or folder."
        )
    if path.is_dir():
        for defect in served_defects(path):
            yield SpecMistake("model", f"in '{spec.model}' {defect}.", defect.remedy)
        return
    if kind is not None or path.suffix.lower() != GGUF:
        return
    try:
        header = read_gguf(path)
    except GgufError as error:
        yield SpecMistake("model", str(error), "Fetch the file again.")
        return
    if header.lack is not None:
        yield SpecMistake("model", f"'{path.name}' {header.lack}.", "Name the file of the whole model.")
    stated, most = stated_context(spec), header.context_length
    if stated is not None and most is not None and stated > most:
        message = f"max_model_len {stated} is beyond the {most} tokens of {path.name}."
        yield SpecMistake("max_model_len", message, f"Set max_model_len: {most} or less.")


def _template_mistakes(spec: EngineSpec) -> Iterator[SpecMistake]:
    """One that hides the question from whoever renders it; of other faults its server is the judge."""
    try:
        takes_of(spec)
    except LeavesOutError as error:
        message = f"the chat template of '{Path(spec.model).name}' cannot be used: {error}."
        yield SpecMistake("model", message, f"Hand another one over in the command ({_FLAGS}).")
    except TemplateFaultError:
        return


def _is_path(model: str) -> bool:
    """True of what is no id of a hub: `owner/name`, perhaps with `:quantisation`."""
    first, *rest = model.split("/")
    is_file = model.lower().endswith((GGUF, ".safetensors", ".bin"))
    return first in ("", ".", "..", "~") or len(rest) > 1 or is_file
