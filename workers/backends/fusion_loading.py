"""Members of a fusion, loaded into this process: vocabularies first, then each model once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from aggregators.logits import LOGIT_RULES, RuleOptions, read_rule_options
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError, MusterError
from orchestrator.ports.engines import Engine
from orchestrator.runtime.threads import own_threads, set_threads
from workers.backends.decoding.engine import TORCH, DecodingEngine, DecodingOptions
from workers.backends.decoding.fused import OF_REQUEST, FusedSource, Lane, MemberTexts, Place
from workers.backends.decoding.routing import Routing
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import ModelSource, prove_cache
from workers.backends.decoding.texts import Texts
from workers.backends.fusion import FusionOptions, Member, WeakRouting
from workers.backends.transformers import (
    check_spec,
    decoding_options,
    device_of,
    load_model,
    place_model,
    threads_for,
)
from workers.checkpoints.formats import load_tokenizer, require_safetensors
from workers.checkpoints.vocabulary import require_one_vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Members = Mapping[str, Sequence[Member]]
"""By role, in the rule's order."""


class Weights(NamedTuple):
    """Identity of a model to load: members with equal ones share it."""

    model: str
    revision: str | None


class SequenceKey(NamedTuple):
    """All that a member's logits depend on beside the tokens; members with equal ones share a sequence."""

    weights: Weights
    weak: WeakRouting | None
    adapter: str | None
    takes_requests_adapter: bool
    chat_template: str | None
    system_prompt: str | None


class Loaded(NamedTuple):
    """A model and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"


class Layout(NamedTuple):
    """Lanes, what writes the prompt of each of their sequences in order, and the members' places by role."""

    lanes: list[Lane]
    prompters: list[MemberTexts]
    places: dict[str, list[Place]]


def load_in_process(
    spec: EngineSpec, options: FusionOptions, members: Members, adapters: Sequence[str]
) -> Engine:
    """The fusion as an engine of transformers models.

    Raises:
        EngineLoadError: options, weights, tokenizers or adapters that cannot be used.
        IncompatibleModelsError: vocabularies that differ; no weights have been loaded then.
    """
    check_spec(spec)
    for member in _each(members):
        require_safetensors(member.spec)
    rule_options = _rule_options(spec, options, members)
    tokenizers = _tokenizers(members)
    large = tokenizers[_weights(spec)]
    size = len(large)
    _compare(spec, tokenizers, size=size)
    loaded = _load(spec, members, tokenizers, device_of(options.device), size=size)
    n_params = sum(one.model.num_parameters() for one in loaded.values())
    threads = threads_for(options.threads, n_params=n_params, own=own_threads(TORCH))
    set_threads(TORCH, threads)
    lanes, prompters, places = _layout(spec, members, loaded, adapters)
    source = FusedSource(lanes, rule=options.rule, options=rule_options, places=places, vocabulary=size)
    decoding = _decoding(
        spec, options, loaded.values(), threads=threads, size=size, n_sequences=len(prompters)
    )
    return DecodingEngine(source, prompters[0].texts, decoding, adapters=adapters, others=prompters[1:])


def _rule_options(spec: EngineSpec, options: FusionOptions, members: Members) -> RuleOptions:
    many = next((role.name for role in LOGIT_RULES.find(options.rule).roles if role.many), None)
    try:
        n_members = len(members[many]) if many is not None else 1
        return read_rule_options(options.rule, options.params, n_members=n_members)
    except MusterError as error:
        message = f"engine '{spec.id}': {error.message}"
        raise EngineLoadError(message, param="options", is_lasting=True) from error


def _each(members: Members) -> Iterator[Member]:
    """All members, the large model first, whatever its place."""
    found = [member for role in members.values() for member in role]
    yield from sorted(found, key=lambda member: not member.is_large)


def _weights(spec: EngineSpec) -> Weights:
    return Weights(spec.model, spec.revision)


def _tokenizers(members: Members) -> "dict[Weights, PreTrainedTokenizerFast]":
    specs = {_weights(member.spec): member.spec for member in _each(members)}
    return {weights: load_tokenizer(spec) for weights, spec in specs.items()}


def _compare(spec: EngineSpec, tokenizers: "Mapping[Weights, PreTrainedTokenizerFast]", *, size: int) -> None:
    tokens = {
        weights: {number: token for token, number in tokenizer.get_vocab().items()}
        for weights, tokenizer in tokenizers.items()
    }
    large = tokens.pop(_weights(spec))
    others = {weights.model: found for weights, found in tokens.items()}
    require_one_vocabulary(f"engine '{spec.id}'", large, others, size=size)


def _load(
    spec: EngineSpec,
    members: Members,
    tokenizers: "Mapping[Weights, PreTrainedTokenizerFast]",
    device: "torch.device",
    *,
    size: int,
) -> dict[Weights, Loaded]:
    loaded: dict[Weights, Loaded] = {}
    for member in _each(members):
        weights = _weights(member.spec)
        if weights in loaded:
            continue
        model = place_model(load_model(member.spec), member.spec, device)
        width = model.get_output_embeddings().weight.shape[0]
        if width < size:
            raise EngineLoadError(
                f"engine '{spec.id}': '{weights.model}' has {width} logits for the {size} tokens of the "
                "tokenizer.",
                param="model",
                remedy="Give weights and tokenizer that belong together.",
                is_lasting=True,
            )
        loaded[weights] = Loaded(model, tokenizers[weights])
    return loaded


def _layout(
    spec: EngineSpec, members: Members, loaded: Mapping[Weights, Loaded], adapters: Sequence[str]
) -> Layout:
    """Members over the same weights and routing share a lane."""
    banks = {weights: _bank(spec, members, weights, adapters) for weights in loaded}
    sources = {
        weights: ModelSource(one.model, engine_id=spec.id, adapters=banks[weights])
        for weights, one in loaded.items()
    }
    for weights, one in loaded.items():
        prove_cache(sources[weights], vocabulary=one.model.get_input_embeddings().num_embeddings)
    groups: dict[tuple[Weights, WeakRouting | None], dict[SequenceKey, None]] = {}
    for member in _each(members):
        key = _key(member, adapters)
        groups.setdefault((key.weights, key.weak), {})[key] = None
    lanes: list[Lane] = []
    prompters: list[MemberTexts] = []
    place_of: dict[SequenceKey, Place] = {}
    for (weights, weak), keys in groups.items():
        model, tokenizer = loaded[weights]
        place_of |= {key: Place(len(lanes), at) for at, key in enumerate(keys)}
        prompters += [
            MemberTexts(Texts(tokenizer, template=key.chat_template), key.system_prompt) for key in keys
        ]
        numbers = tuple(_number(key, banks[weights]) for key in keys)
        routing = None if weak is None else Routing(model, ranks=weak.in_use, engine_id=spec.id)
        lanes.append(Lane(sources[weights], numbers, routing))
    places = {role: [place_of[_key(member, adapters)] for member in found] for role, found in members.items()}
    return Layout(lanes, prompters, places)


def _bank(spec: EngineSpec, members: Members, weights: Weights, adapters: Sequence[str]) -> tuple[str, ...]:
    """Adapters over one model: those that requests may name first, in the engine's numbers."""
    of_requests = tuple(adapters) if weights == _weights(spec) else ()
    used = [m.adapter for m in _each(members) if m.adapter is not None and _weights(m.spec) == weights]
    return tuple(dict.fromkeys((*of_requests, *used)))


def _key(member: Member, adapters: Sequence[str]) -> SequenceKey:
    return SequenceKey(
        _weights(member.spec),
        member.weak,
        member.adapter,
        member.is_large and bool(adapters),
        member.chat_template,
        member.system_prompt,
    )


def _number(key: SequenceKey, bank: Sequence[str]) -> int:
    if key.takes_requests_adapter:
        return OF_REQUEST
    return 0 if key.adapter is None else bank.index(key.adapter) + 1


def _decoding(
    spec: EngineSpec,
    options: FusionOptions,
    loaded: Iterable[Loaded],
    *,
    threads: int,
    size: int,
    n_sequences: int,
) -> DecodingOptions:
    """The tightest context of all members, the ends of any, and room for all their sequences."""
    each = [
        decoding_options(spec, options, one.model, one.tokenizer, threads=threads, backend="fusion")
        for one in loaded
    ]
    limits = each[0].limits
    return each[0]._replace(
        max_model_len=min(one.max_model_len for one in each),
        eos_ids=frozenset(token for one in each for token in one.eos_ids if token < size),
        limits=Limits(limits.rows, max(1, limits.tokens // n_sequences)),
    )
