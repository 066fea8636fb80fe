"""Check of a pool file: all that can be found out without loading a model, each mistake with its line."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from aggregators.outputs import AGGREGATORS
from orchestrator.bootstrap.annotators import SkillParts
from orchestrator.bootstrap.checks import WEIGHED, composition_mistakes
from orchestrator.bootstrap.deep_check import NOTHING_READ, DeepCheck, check_files
from orchestrator.bootstrap.pool_parts import part_mistakes
from orchestrator.bootstrap.references import check_references
from orchestrator.compositions.catalogue import Catalogue
from orchestrator.compositions.knowledge import NOTHING
from orchestrator.domain.experts import Pool
from orchestrator.domain.families import family_of, main_family
from orchestrator.domain.names import name_fault
from orchestrator.domain.origins import objection
from orchestrator.errors import ConfigError, EngineLoadError, MistakesError
from orchestrator.pool import backend_of, build_pool, locate
from orchestrator.runtime.files import barred, read_json
from orchestrator.settings.environment import variable_of
from orchestrator.settings.load import load_with_lines, name_of, raise_all
from orchestrator.settings.members import Member
from orchestrator.settings.schema import EmbedderSettings, Settings
from orchestrator.settings.yaml_lines import Document, KeyPath
from skills.grading.grader import GRADERS, AnswerGrader
from skills.vocabulary import load_vocabulary
from workers.backends.fusion import mixed_members
from workers.backends.registry import SERVER_BACKENDS, check_options, features_of, parts_of, spec_mistakes
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.turns import rendering_of

COMMAND = "command"
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
SCALED = frozenset({"yarn", "linear", "dynamic"})
OTHER_NAME = "Use letters, digits, - or _."
_DEVICE = re.compile(r"auto|cpu|mps|xpu(:\d{1,4})?|cuda(:\d{1,4})?")
"""Devices of torch's beside CUDA's are left to torch."""
_HOST = re.compile(r"[\w.:%\[\]-]{0,253}")
"""Names and numbers; an empty one is all addresses."""
_VOCABULARIES = frozenset({"induced", "builtin"})
_EMBEDDERS = frozenset({"minilm", "hash"})


class CheckedFile(NamedTuple):
    """A pool file without mistakes. `remarks`: of things that may be meant, and may surprise; `n_folders`: of
    weights that were looked into."""

    settings: Settings
    pool: Pool
    compositions: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    n_folders: int = 0


def check_pool_file(path: Path, *, deep: bool = False) -> CheckedFile:
    """Find all mistakes of a pool file; no database is opened, and nothing is connected to.

    Args:
        deep: look into the folders of weights, too: headers, chat templates, tokenizers.

    Raises:
        ConfigError: with all mistakes, their lines and what to do.
    """
    settings, document = load_with_lines(path)
    mistakes = list(_file_mistakes(settings, document))
    try:
        pool = build_pool(
            settings,
            weights_hash=weights_hash,
            servers=SERVER_BACKENDS,
            parts=parts_of,
            features=features_of,
            renderings=rendering_of,
        )
        check_references(settings, pool)
    except ConfigError as error:
        found = error.mistakes if isinstance(error, MistakesError) else (error,)
        raise_all([*mistakes, *(_with_line(one, document) for one in found)])
        raise
    catalogue = _unmeasured_catalogue(settings, pool)
    mistakes += _option_mistakes(settings, pool, document)
    mistakes += _composition_mistakes(settings, catalogue, document)
    mistakes += _stack_mistakes(settings, document)
    files = check_files(pool) if deep else NOTHING_READ
    mistakes += _file_defects(settings, files, document)
    raise_all(mistakes)
    remarks = (*settings.remarks, *judge_remarks(pool), *files.remark_lines)
    return CheckedFile(settings, pool, tuple(catalogue.names), remarks, files.n_folders)


def _file_defects(settings: Settings, files: DeepCheck, document: Document) -> Iterator[ConfigError]:
    """Defects of files at the line that names their folder."""
    members = {member.model_name: (index, member) for index, member in enumerate(settings.model_list)}
    for expert, defect, is_base in files.defects:
        index, member = members[expert]
        place = ("model_list", _place_in_file(document, member, index))
        key = ("model_info", "base_model") if is_base else ("litellm_params", "model")
        message = f"'{expert}': in '{defect.file.parent}' {defect}."
        yield _mistake(settings, document, (*place, *key), message, defect.remedy)


def judge_remarks(pool: Pool) -> Iterator[str]:
    """Judges that would score mostly answers of their own family: these are favoured."""
    family = main_family([expert.engine.model for expert in pool.answerers])
    for judge in pool.judges:
        if family is not None and len(pool.answerers) > 1 and family_of(judge.engine.model) == family:
            yield (
                f"judge '{judge.id}' is of the family '{family}', as most of the pool is, and will favour "
                "it: give the role to a model of another family."
            )


def context_of(folder: Path) -> int | None:
    """Longest context that a model's `config.json` states, in tokens, as far as it is scaled there."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    inner = config.get("text_config")
    texts = {**config, **inner} if isinstance(inner, dict) else config
    stated = next((n for key in CONTEXT_KEYS if isinstance(n := texts.get(key), int)), None)
    return None if stated is None else round(stated * _scaling(texts))


def _scaling(config: Mapping[str, object]) -> float:
    rope = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type")) not in SCALED:
        return 1.0
    factor = rope.get("factor")
    return float(factor) if isinstance(factor, int | float) and factor > 1 else 1.0


def _file_mistakes(settings: Settings, document: Document) -> Iterator[ConfigError]:
    for index, member in enumerate(settings.model_list):
        place = ("model_list", _place_in_file(document, member, index))
        yield from _member_mistakes(member, settings, document, place)
    for name in settings.muster.compositions:
        if (fault := name_fault(name)) is not None:
            yield _mistake(settings, document, ("muster", "compositions", name), fault, OTHER_NAME)
    yield from _muster_paths(settings, document)
    yield from _address_mistakes(settings, document)


def _member_mistakes(
    member: Member, settings: Settings, document: Document, place: KeyPath
) -> Iterator[ConfigError]:
    info, params = member.model_info, member.litellm_params
    if (unfit := name_fault(member.model_name)) is not None:
        yield _mistake(settings, document, (*place, "model_name"), unfit, OTHER_NAME)
    if backend_of(member) == "server" and params.api_base is None:
        message = f"'{member.model_name}' is asked over a server and has no api_base."
        yield _mistake(settings, document, (*place, "litellm_params"), message, "Give the server's URL.")
    if params.api_base is not None and (fault := _address_fault(params.api_base, backend_of(member))):
        what, remedy = fault
        key = (*place, "litellm_params", "api_base")
        yield _mistake(settings, document, key, f"'{member.model_name}': api_base {what}.", remedy)
    if backend_of(member) == COMMAND and params.api_base is not None:
        message = f"'{member.model_name}': the address of a server that a command starts is made for it."
        key = (*place, "litellm_params", "api_base")
        yield _mistake(settings, document, key, message, "Leave api_base out; or set engine: server.")
    if backend_of(member) not in WEIGHED:
        return
    closed = list(_closed(member, settings.base_dir))
    for key, path, reason in closed:
        message = f"'{path}' cannot be looked at: {reason}."
        remedy = "Give the user access to it and to the folders above."
        yield _mistake(settings, document, (*place, *key), message, remedy)
    if closed:
        return
    weights = info.base_model if info.muster.adapter is not None else params.model
    if weights is not None and _is_without_config(Path(locate(weights, settings.base_dir))):
        message = f"'{weights}' holds no config.json."
        key = (*place, "litellm_params", "model")
        yield _mistake(settings, document, key, message, "Name the folder with the model's weights.")
    paths: list[tuple[KeyPath, str]] = [((*place, "litellm_params", "model"), params.model)]
    if info.base_model is not None and info.muster.adapter is not None:
        paths.append(((*place, "model_info", "base_model"), info.base_model))
    for key, path in paths:
        if _is_missing(path, settings.base_dir):
            message = f"there is no '{path}'."
            yield _mistake(settings, document, key, message, "Mend the path, or fetch the model.")
        elif path == weights and (
            against := objection(locate(path, settings.base_dir), info.muster.revision)
        ):
            yield _mistake(settings, document, key, f"{against.why}.", against.remedy)
    yield from _context_mistakes(member, settings, document, place)
    options = info.muster.options
    for wrong in part_mistakes(
        member.model_name, params.model, backend_of(member), options, settings.base_dir
    ):
        key = (*place, "model_info", "muster", "options")
        yield _mistake(settings, document, key, wrong.message, wrong.remedy)


def _closed(member: Member, base_dir: Path) -> Iterator[tuple[KeyPath, str, str]]:
    """Paths of a member that this user may not look at: key, path and reason."""
    base = member.model_info.base_model if member.model_info.muster.adapter is not None else None
    parts = parts_of(backend_of(member), member.model_info.muster.options)
    options = ("model_info", "muster", "options")
    paths: list[tuple[KeyPath, str | None]] = [
        (("litellm_params", "model"), member.litellm_params.model),
        (("model_info", "base_model"), base),
        *((options, path) for part in parts for path in (part.model, part.adapter)),
    ]
    for key, path in paths:
        reason = None if path is None else barred(base_dir / path)
        if path is not None and reason is not None:
            yield key, path, reason


def _context_mistakes(
    member: Member, settings: Settings, document: Document, place: KeyPath
) -> Iterator[ConfigError]:
    info = member.model_info
    is_adapter = info.muster.adapter is not None
    weights = (info.base_model or "") if is_adapter else member.litellm_params.model
    parts = [part.model for part in parts_of(backend_of(member), info.muster.options)]
    found = [context_of(Path(locate(name, settings.base_dir))) for name in (weights, *parts) if name]
    most = min((n for n in found if n is not None), default=None)
    if most is None or info.muster.max_model_len <= most:
        return
    key = (*place, "model_info", "muster", "max_model_len")
    default = "" if "max_model_len" in info.muster.model_fields_set else ", its default,"
    message = (
        f"max_model_len {info.muster.max_model_len}{default} is beyond the {most} tokens of config.json."
    )
    yield _mistake(settings, document, key, message, f"Set max_model_len: {most} or less.")


def _muster_paths(settings: Settings, document: Document) -> Iterator[ConfigError]:
    muster = settings.muster
    if muster.data_dir.exists() and not muster.data_dir.is_dir():
        message = f"'{muster.data_dir}' is no folder."
        yield _mistake(settings, document, ("muster", "data_dir"), message, "Name a folder.")
    questions = {("profile_set",): muster.profile_set, ("merges", "held_out"): muster.merges.held_out}
    for key, path in questions.items():
        if path is None:
            continue
        if not (settings.base_dir / path).exists():
            yield _mistake(settings, document, ("muster", *key), f"there is no '{path}'.", "Mend the path.")
        elif (settings.base_dir / path).is_dir():
            message = f"'{path}' is a folder, not a file of questions."
            yield _mistake(settings, document, ("muster", *key), message, "Name the file.")
    vocabulary = muster.skills.vocabulary
    if vocabulary not in _VOCABULARIES:
        try:
            load_vocabulary(settings.base_dir / vocabulary)
        except ConfigError as error:
            yield _mistake(settings, document, ("muster", "skills", "vocabulary"), str(error))
    embedder = muster.embedder.model
    if embedder not in _EMBEDDERS and _is_missing(embedder, Path()):
        message = f"there is no '{embedder}'."
        yield _mistake(settings, document, ("muster", "embedder", "model"), message, "Mend the path.")
    elif embedder not in _EMBEDDERS and (against := objection(embedder, muster.embedder.revision)):
        key = ("muster", "embedder", "model")
        yield _mistake(settings, document, key, f"{against.why}.", against.remedy)


def _address_mistakes(settings: Settings, document: Document) -> Iterator[ConfigError]:
    """The device, the database and the address to listen on, as far as they can be told by their names."""
    muster = settings.muster
    if _DEVICE.fullmatch(muster.device) is None:
        message, remedy = f"device '{muster.device}' is none.", "Write auto, cpu, cuda or cuda:N."
        yield _mistake(settings, document, ("muster", "device"), message, remedy)
    if _HOST.fullmatch(muster.server.host) is None or muster.server.host.count(":") == 1:
        message = f"'{muster.server.host}' is no address to listen on."
        remedy = "Write a name or a number alone, such as 127.0.0.1; the port is muster.server.port."
        yield _mistake(settings, document, ("muster", "server", "host"), message, remedy)
    for key, url in (
        (("muster", "database_url"), muster.database_url),
        (("general_settings", "database_url"), settings.general_settings.database_url),
    ):
        if url:
            yield from _database_mistakes(url, settings, document, key)


def _database_mistakes(
    url: str, settings: Settings, document: Document, key: KeyPath
) -> Iterator[ConfigError]:
    from orchestrator.store.urls import require_usable  # heavy, and most files name no database

    try:
        require_usable(url)
    except ConfigError as error:
        yield _mistake(settings, document, key, f"{name_of(key)}: {error}")


def _unmeasured_catalogue(settings: Settings, pool: Pool) -> Catalogue:
    """The compositions of a pool that was never profiled: options of routers and votes do not depend on
    skills, so no model is loaded for these."""
    stand_in = {
        "embedder": EmbedderSettings(model="hash"),
        "skills": settings.muster.skills.model_copy(update={"vocabulary": "builtin"}),
    }
    muster = settings.muster.model_copy(update=stand_in)
    parts = SkillParts(settings.model_copy(update={"muster": muster}))
    return Catalogue(
        settings,
        pool=pool,
        aggregators=AGGREGATORS,
        grader=AnswerGrader(GRADERS),
        embedder=lambda: parts.embedder,
        annotator=parts.annotator,
        matcher=parts.matcher,
        cards=dict,
        knowledge=lambda: NOTHING,
        members=mixed_members,
    )


def _option_mistakes(settings: Settings, pool: Pool, document: Document) -> Iterator[ConfigError]:
    """Options that a member's backend refuses: engines are loaded late, their options are read now."""
    for index, member in enumerate(settings.model_list):
        place = ("model_list", _place_in_file(document, member, index), "model_info", "muster")
        engine = pool.by_id[member.model_name].engine
        try:
            check_options(engine)
            found = spec_mistakes(engine)
        except EngineLoadError as error:
            yield _mistake(settings, document, _below(place, error.param or "", document), f"{error}")
            continue
        for wrong in found:
            is_model = wrong.param == "model"
            at = (*place[:2], "litellm_params", "model") if is_model else _below(place, wrong.param, document)
            message = f"'{member.model_name}': {wrong.message}"
            yield _mistake(settings, document, at, message, wrong.remedy)


def _below(place: KeyPath, param: str, document: Document) -> KeyPath:
    """Place of an option, or of the nearest that stands in the file above it."""
    key = tuple(int(part) if part.isdecimal() else part for part in param.split("."))
    longest = next((n for n in range(len(key), 0, -1) if document.line_of((*place, *key[:n])) is not None), 0)
    return (*place, *key[:longest])


def _stack_mistakes(settings: Settings, document: Document) -> Iterator[ConfigError]:
    if not settings.is_stack:
        return
    from workers.stack.celery_app import broker_url

    try:
        broker_url(settings)
    except ConfigError as error:
        yield _mistake(settings, document, ("muster", "broker_url"), str(error))


def _composition_mistakes(
    settings: Settings, catalogue: Catalogue, document: Document
) -> Iterator[ConfigError]:
    for name, error in composition_mistakes(settings, catalogue):
        section = ("muster", "compositions", name)
        below = [
            place for place in document.lines if place[: len(section)] == section and place[-1] == error.param
        ]
        message = f"{name_of(section)}: {error}"
        yield _mistake(settings, document, below[0] if below else section, message)


def _with_line(error: ConfigError, document: Document) -> ConfigError:
    """The error with the line that its `param` names, where it has none."""
    if error.line is not None or error.file is None or not error.param:
        return error
    place = tuple(int(part) if part.isdecimal() else part for part in error.param.split("."))
    line = document.line_of(place)
    if line is None:
        return error
    message = str(error).removeprefix(f"{error.file}: ")
    return ConfigError(message, file=error.file, line=line, param=error.param)


def _mistake(
    settings: Settings, document: Document, place: KeyPath, message: str, remedy: str | None = None
) -> ConfigError:
    inner = place[1:] if place[0] == "muster" else ()
    stands_in_file = document.known(place) == place
    variable = variable_of(inner, os.environ, stands_in_file=stands_in_file) if inner else None
    if variable is not None:
        return ConfigError(f"{variable}: {message}", param=variable, remedy=remedy)
    line = document.line_of(place)
    return ConfigError(message, file=settings.source, line=line, param=name_of(place), remedy=remedy)


def _place_in_file(document: Document, member: Member, index: int) -> int:
    """Place of a member in the file: those of other modes were left out of the settings."""
    rows = document.data.get("model_list")
    names = (
        [row.get("model_name") if isinstance(row, dict) else None for row in rows]
        if isinstance(rows, list)
        else []
    )
    return names.index(member.model_name) if member.model_name in names else index


def _is_missing(model: str, base_dir: Path) -> bool:
    """A model that is a path, and nothing is there; what looks like `owner/name` may be a hub id."""
    if (base_dir / model).exists():
        return False
    first, *rest = Path(model).parts
    is_no_name = Path(model).is_absolute() or model.startswith(".") or len(rest) > 1
    return is_no_name or (len(rest) == 1 and (base_dir / first).is_dir())


def _address_fault(url: str, backend: str) -> tuple[str, str] | None:
    """What is wrong with an `api_base`, and the remedy; None = nothing that shows."""
    if not _is_url(url):
        return "is no URL", "Write http://HOST:PORT/v1 or https://..."
    base, found, _ = url.partition("/chat/completions")
    if found and backend == "server":
        return "names one route of the server", f"Write the beginning of all: {base}."
    return None


def _is_url(text: str) -> bool:
    if any(char.isspace() or not char.isprintable() for char in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_without_config(folder: Path) -> bool:
    """`params.json` is Mistral's own form, which vLLM reads."""
    return folder.is_dir() and not any((folder / name).is_file() for name in ("config.json", "params.json"))
