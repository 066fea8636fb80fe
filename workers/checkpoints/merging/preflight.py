"""Preflight of a merge: all that can be told from headers and configurations, before a tensor is read.

Merging models that do not belong together gives weights that load and answer nonsense; so everything that can
differ is compared with the base, and what would break the result refuses the merge.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.merges import MergeProblem, Preflight
from orchestrator.errors import ConfigError
from orchestrator.runtime.files import read_json
from workers.checkpoints.merging.headers import BYTES, QUANTISED, Checkpoint, Head, is_float, is_inside
from workers.checkpoints.merging.inputs import (
    Input,
    Inputs,
    Places,
    embedding_of,
    head_of,
    is_tied,
    read_inputs,
)
from workers.checkpoints.merging.layout import Made, made_tensors
from workers.checkpoints.merging.methods import IDLE, METHODS
from workers.checkpoints.merging.recipe import ModelEntry, ModelRef, Recipe, named_parameters
from workers.checkpoints.merging.tokens import Tokens, read_tokens, token_problems, vocabulary_mark

MOST_ALIKE = 20
"""Problems of one kind and model that are told one by one."""
SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
DECIDING = (
    "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "hidden_activation", "n_head",
    "activation_function", "num_experts_per_tok", "position_embedding_type",
)  # fmt: skip
"""Keys of config.json that change what the same tensors compute."""
ROPE = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "sliding_window")
EOS = ("eos_token_id", "bos_token_id")
CHUNK = 1 << 20
MAX_COPIED = 256 << 20


class Checked(NamedTuple):
    """A preflight, and what it found to merge; without a base there is nothing."""

    preflight: Preflight
    inputs: Inputs
    made: Sequence[Made]


def preflight(
    recipe: Recipe,
    places: Places,
    *,
    out: Path | None = None,
    compare: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Checked:
    """Check the inputs of a recipe.

    Args:
        places: where its paths are looked for.
        out: where the result goes; the disk there must hold it.
        compare: False for what mergekit merges: it may take tensors that are not side by side.

    Raises:
        ConfigError: slices that do not fit each other.
    """
    started = clock()
    found: list[MergeProblem] = []
    inputs = read_inputs(recipe, places, found.append)
    made: Sequence[Made] = ()
    found += _unused(recipe)
    if inputs.base is not None:
        inputs = _without_tied_heads(inputs, found.append)
        assert inputs.base is not None, "it was there"
        found += _compared(inputs, inputs.base, tensors=compare and recipe.slices is None)
        if compare:
            made = made_tensors(recipe, list(inputs.base.weights.tensors))
            found += _of_layout(made, inputs)
            found += _of_disk(recipe, made, inputs, out)
    problems = tuple(_shortened(found))
    ok = not any(problem.severity == "error" for problem in problems)
    if ok and inputs.base is None:  # a recipe of modules: mergekit looks at these
        made = ()
    return Checked(Preflight(ok=ok, seconds=round(clock() - started, 4), problems=problems), inputs, made)


def check_recipe(recipe: Recipe) -> None:
    """Refuse a native recipe that is wrong whatever its models are.

    Raises:
        ConfigError: a base that is missing, or too many or too few models.
    """
    method = METHODS[recipe.merge_method]
    bases = [recipe.base_model, *(slice_.base_model for slice_ in recipe.slices or ())]
    if method.needs_base and not any(base is not None for base in bases):
        raise ConfigError(
            f"merge method '{recipe.merge_method}' needs a base model.",
            param="base_model",
            remedy="Name it as base_model.",
        )
    if recipe.output == "adapter" and (method.stores or recipe.slices or recipe.base_model is None):
        raise ConfigError(
            f"'{recipe.merge_method}' cannot give an adapter here.",
            param="output",
            remedy="An adapter needs models (no slices), a base_model, and a method that merges to one.",
        )
    groups: list[Sequence[ModelEntry]] = [slice_.sources for slice_ in recipe.slices or ()]
    groups = [recipe.models] if recipe.models else groups
    for group, base in zip(groups, bases[1:] or bases, strict=False):
        judge = base if base is not None else recipe.base_model
        beside = [entry for entry in group or () if not method.needs_base or entry.model != judge]
        most = None if method.stores else method.most
        if not beside or (most is not None and len(beside) > most):
            wanted = f"exactly {most}" if most is not None else "at least one"
            beside_it = f"model beside the base, not {len(beside)}"
            raise ConfigError(
                f"merge method '{recipe.merge_method}' takes {wanted} {beside_it}.",
                param="models",
                remedy="Name as many models as it takes.",
            )


def result_dtype(recipe: Recipe, head: Head) -> str:
    """Number format of a tensor of the result, as safetensors call it."""
    wanted = recipe.result_dtype
    return SAFETENSORS_NAMES[wanted] if wanted is not None and is_float(head) else head.dtype


def _source_head(inputs: Inputs, ref: ModelRef, source: str) -> Head | None:
    one = inputs.models.get(ref)
    return None if one is None else one.weights.tensors.get(source)


def judge_head(made: Made, inputs: Inputs) -> Head | None:
    """The base's tensor, or without a base the first source's: the result has its shape. None = it is
    missing."""
    base = made.base if made.base is not None else made.entries[0].model
    source = made.base_source if made.base is not None else made.sources[0]
    return _source_head(inputs, base, source)


def _n_result_bytes(recipe: Recipe, made: Sequence[Made], inputs: Inputs) -> int:
    heads = [head for one in made if (head := judge_head(one, inputs)) is not None]
    return sum(prod(head.shape) * BYTES[result_dtype(recipe, head)] for head in heads)


def _unused(recipe: Recipe) -> Iterator[MergeProblem]:
    """Parameters of other methods: mergekit says nothing about them."""
    if recipe.merge_method not in METHODS:
        return
    known = METHODS[recipe.merge_method].parameters
    for name in named_parameters(recipe):
        if name not in known and name not in IDLE:
            want: list[JsonValue] = [*sorted(known)]
            yield MergeProblem(kind="unused_parameter", severity="warning", have=name, want=want)


def _without_tied_heads(inputs: Inputs, tell: Callable[[MergeProblem], None]) -> Inputs:
    """Without stored heads of tied models, which are their embeddings; those that are not are told."""
    told: set[str] = set()
    kept: dict[ModelRef, Input] = {}
    for ref, one in inputs.models.items():
        weights = one.weights
        head, embedding = head_of(weights), embedding_of(weights)
        if head is not None and embedding is not None and is_tied(weights):
            if weights.name not in told and not _same_bytes(head[1], embedding[1]):
                have, want = "stored, and not the embedding", "the embedding: tie_word_embeddings is true"
                tell(MergeProblem(kind="tied_head", model=weights.name, tensor=head[0], have=have, want=want))
            told.add(weights.name)
            rest = {name: h for name, h in weights.tensors.items() if name != head[0]}
            one = one._replace(weights=weights._replace(tensors=rest))
        kept[ref] = one
    return Inputs(kept, kept[inputs.base.ref] if inputs.base is not None else None)


def _same_bytes(a: Head, b: Head) -> bool:
    if a.end - a.start != b.end - b.start or a.dtype != b.dtype:
        return False
    with a.file.open("rb") as ours, b.file.open("rb") as theirs:
        ours.seek(a.start)
        theirs.seek(b.start)
        left = a.end - a.start
        while left > 0:
            part = min(CHUNK, left)
            if ours.read(part) != theirs.read(part):
                return False
            left -= part
    return True


def _compared(inputs: Inputs, base: Input, *, tensors: bool) -> Iterator[MergeProblem]:
    """Each checkpoint once: what makes it unfit for merging, and how it differs from the base."""
    seen: dict[str, Checkpoint] = {}
    for one in inputs.models.values():
        seen.setdefault(one.weights.name, one.weights)
    for checkpoint in seen.values():
        yield from _unfit(checkpoint)
    others = [checkpoint for name, checkpoint in seen.items() if name != base.weights.name]
    for checkpoint in others:
        yield from _of_configs(checkpoint, base.weights)
        if tensors:
            yield from _of_names(checkpoint, base.weights)
        yield from _of_dtypes(checkpoint, base.weights)
        yield from _of_templates(checkpoint, base.weights)
    yield from _of_tokens(others, base.weights)


def _unfit(checkpoint: Checkpoint) -> Iterator[MergeProblem]:
    """Quantised weights are packed: sums of them mean nothing."""
    for section in (checkpoint.config, checkpoint.config.get("text_config")):
        if isinstance(section, dict) and section.get("quantization_config"):
            stated = section["quantization_config"]
            how = stated.get("quant_method") if isinstance(stated, dict) else None
            have = f"quantised ({how or 'by an unnamed method'})"
            yield MergeProblem(
                kind="quantization_config", model=checkpoint.name, have=have, want="plain weights"
            )
            return
    if (checkpoint.folder / "quantize_config.json").exists():
        have = "quantised (quantize_config.json)"
        yield MergeProblem(kind="quantization_config", model=checkpoint.name, have=have, want="plain weights")
        return
    packed = next((name for name, head in checkpoint.tensors.items() if head.dtype in QUANTISED), None)
    if packed is not None:
        have = checkpoint.tensors[packed].dtype
        yield MergeProblem(
            kind="quantization_config", model=checkpoint.name, tensor=packed, have=have, want="plain weights"
        )
    if checkpoint.config.get("auto_map"):
        have = "its own code (auto_map), which is not copied"
        yield MergeProblem(kind="remote_code", severity="warning", model=checkpoint.name, have=have)


def _of_configs(one: Checkpoint, base: Checkpoint) -> Iterator[MergeProblem]:
    ours, theirs = _texts(one.config), _texts(base.config)
    if ours.get("model_type") != theirs.get("model_type"):
        have, want = ours.get("model_type"), theirs.get("model_type")
        yield MergeProblem(kind="model_type", model=one.name, have=have, want=want)
        return
    if is_tied(one) != is_tied(base):
        words = {True: "tied embeddings", False: "untied embeddings"}
        have, want = words[is_tied(one)], words[is_tied(base)]
        yield MergeProblem(kind="tie", model=one.name, have=have, want=want)
    for key in DECIDING:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            have, want = f"{key}: {ours[key]}", f"{key}: {theirs[key]}"
            yield MergeProblem(kind="config", model=one.name, have=have, want=want)
    for kind, keys in (("rope", ROPE), ("eos", EOS)):
        have_all, want_all = {k: ours.get(k) for k in keys}, {k: theirs.get(k) for k in keys}
        differing = [key for key in keys if have_all[key] != want_all[key]]
        if differing:
            yield MergeProblem(
                kind=kind,
                severity="warning",
                model=one.name,
                have={key: have_all[key] for key in differing},
                want={key: want_all[key] for key in differing},
            )


def _texts(config: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The part about the language model."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def _of_names(one: Checkpoint, base: Checkpoint) -> Iterator[MergeProblem]:
    heads = {n for n, _ in (head_of(one) or ("", None), head_of(base) or ("", None))}
    spared = heads if is_tied(one) != is_tied(base) else set()  # the kind `tie` says it
    for name in sorted(base.tensors.keys() - one.tensors.keys() - spared):
        want: list[JsonValue] = [*base.tensors[name].shape]
        yield MergeProblem(kind="missing_tensor", model=one.name, tensor=name, want=want)
    for name in sorted(one.tensors.keys() - base.tensors.keys() - spared):
        have: list[JsonValue] = [*one.tensors[name].shape]
        yield MergeProblem(kind="extra_tensor", model=one.name, tensor=name, have=have)


def _of_dtypes(one: Checkpoint, base: Checkpoint) -> Iterator[MergeProblem]:
    ours, theirs = (Counter(h.dtype for h in c.tensors.values() if is_float(h)) for c in (one, base))
    if ours and theirs and ours.keys() != theirs.keys():
        have, want = (" and ".join(sorted(kinds)) for kinds in (ours, theirs))
        yield MergeProblem(kind="dtype", severity="warning", model=one.name, have=have, want=want)


def _of_templates(one: Checkpoint, base: Checkpoint) -> Iterator[MergeProblem]:
    ours, theirs = template_of(one.folder), template_of(base.folder)
    if ours != theirs:
        have, want = ("another one" if ours else "none"), ("the base's" if theirs else "none")
        yield MergeProblem(kind="chat_template", severity="warning", model=one.name, have=have, want=want)


def template_of(folder: Path) -> str | None:
    """The chat template beside the weights; None = there is none that can be read."""
    path, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    try:
        if path.is_file() and is_inside(path):
            return path.read_text(encoding="utf-8")[:CHUNK]
        document = read_json(config) if config.is_file() and is_inside(config) else None
    except (OSError, ValueError):
        return None
    template = document.get("chat_template") if isinstance(document, dict) else None
    return template if isinstance(template, str) else None


def _of_tokens(others: Sequence[Checkpoint], base: Checkpoint) -> Iterator[MergeProblem]:
    """Ids of tokens, where the vocabularies are not the same file."""
    read: Tokens | None = None
    mark = vocabulary_mark(base.folder)
    for one in others:
        ours = vocabulary_mark(one.folder)
        if ours is None or mark is None:
            if ours != mark:
                have, want = ("a tokenizer" if m else "no tokenizer" for m in (ours, mark))
                yield MergeProblem(kind="tokenizer", severity="warning", model=one.name, have=have, want=want)
        elif ours != mark:
            try:
                read = read or read_tokens(base.folder, mark)
                yield from token_problems(one.name, read_tokens(one.folder, ours), read)
            except (OSError, ValueError) as error:
                have = " ".join(str(error).split())[:200]
                yield MergeProblem(kind="json", model=one.name, have=have, want="a tokenizer")


def _of_layout(made: Sequence[Made], inputs: Inputs) -> Iterator[MergeProblem]:
    """Shapes of all that a tensor of the result is made of; names are compared already, unless there are
    slices."""
    for one in made:
        wanted = judge_head(one, inputs)
        for entry, source in zip(one.entries, one.sources, strict=True):
            if entry.model not in inputs.models:
                continue
            head = _source_head(inputs, entry.model, source)
            name = str(entry.model)
            if head is None:
                if one.slice_ is not None:
                    yield MergeProblem(kind="missing_tensor", model=name, tensor=source, want="in a slice")
            elif wanted is not None and head.shape != wanted.shape:
                have, want = list(head.shape), list(wanted.shape)
                yield MergeProblem(kind="shape", model=name, tensor=source, have=have, want=want)
            elif wanted is not None and is_float(head) != is_float(wanted):
                have_type, want_type = head.dtype, wanted.dtype
                yield MergeProblem(kind="dtype", model=name, tensor=source, have=have_type, want=want_type)


def _of_disk(
    recipe: Recipe, made: Sequence[Made], inputs: Inputs, out: Path | None
) -> Iterator[MergeProblem]:
    if out is None:
        return
    place = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    free, needed = shutil.disk_usage(place).free, _n_result_bytes(recipe, made, inputs)
    if needed > free:
        have, want = f"{free >> 20} MiB free", f"{needed >> 20} MiB for the result"
        yield MergeProblem(kind="disk", have=have, want=want)


def _shortened(problems: Sequence[MergeProblem]) -> Iterator[MergeProblem]:
    """The first ones of each kind and model, and how many there are more."""
    counts = Counter((problem.kind, problem.model) for problem in problems)
    told: Counter[tuple[str, str | None]] = Counter()
    for problem in problems:
        key = (problem.kind, problem.model)
        told[key] += 1
        if told[key] < MOST_ALIKE or counts[key] <= MOST_ALIKE:
            yield problem
        elif told[key] == MOST_ALIKE:
            more = f"{counts[key] - MOST_ALIKE + 1} more like these"
            yield problem.replaced(tensor=None, have=more, want=None)
