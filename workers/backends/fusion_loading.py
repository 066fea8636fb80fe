"""Members of a fusion, loaded into this process: vocabularies first, then each model once."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.domain.experts import EngineSpec, ThoughtMarks
from orchestrator.domain.features import NO_FEATURES
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine
from orchestrator.runtime.threads import own_threads, set_threads
from workers.backends.decoding.engine import TORCH, DecodingEngine, DecodingOptions
from workers.backends.decoding.fused import OF_REQUEST, FusedSource, Fusing, Lane, MemberTexts
from workers.backends.decoding.routing import Routing
from workers.backends.decoding.rows import Limits
from workers.backends.decoding.sources import ModelSource, prove_cache
from workers.backends.decoding.texts import texts_of
from workers.backends.fusion import FusionOptions
from workers.backends.fusion_layout import (
    LanePlan,
    Members,
    SequenceKey,
    Tokenizers,
    Weights,
    adapters_over,
    arrange,
    compare_vocabularies,
    each_member,
    rule_options,
    tokenizers_of,
)
from workers.backends.transformers import (
    check_spec,
    decoding_options,
    device_of,
    load_model,
    place_model,
    threads_for,
)
from workers.checkpoints.defects import require_sound
from workers.checkpoints.formats import require_safetensors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class Loaded(NamedTuple):
    """A model and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"


def load_in_process(
    spec: EngineSpec, options: FusionOptions, members: Members, adapters: Sequence[str]
) -> Engine:
    """The fusion as an engine of transformers models.

    Raises:
        EngineLoadError: options, weights, tokenizers or adapters that cannot be used.
        IncompatibleModelsError: vocabularies that differ; no weights have been loaded then.
    """
    check_spec(spec)
    for member in each_member(members):
        require_safetensors(member.spec)
    own_options = rule_options(spec, options, members)
    tokenizers = tokenizers_of(members)
    size = compare_vocabularies(spec, tokenizers)
    for member in each_member(members):
        require_sound(spec.id, member.spec.model)
    lanes, places = arrange(members, adapters)
    prompters = prompters_of(lanes, tokenizers, spec.reasoning)
    loaded = _load(spec, lanes, tokenizers, device_of(options.device), size=size)
    n_params = sum(one.model.num_parameters() for one in loaded.values())
    threads = threads_for(options.threads, n_params=n_params, own=own_threads(TORCH))
    set_threads(TORCH, threads)
    banks = {weights: adapters_over(spec, members, weights, adapters) for weights in loaded}
    sources = {weights: source_of(spec, one.model, banks[weights]) for weights, one in loaded.items()}
    fusing = Fusing(options.rule, own_options, places, vocabulary=size)
    source = FusedSource(
        [
            _lane(spec, lane, loaded[lane.weights].model, sources[lane.weights], banks[lane.weights])
            for lane in lanes
        ],
        fusing,
    )
    decoding = _decoding(
        spec, options, loaded.values(), threads=threads, size=size, n_sequences=len(prompters)
    )
    return DecodingEngine(
        source,
        prompters[0].texts,
        decoding,
        adapters=adapters,
        others=prompters[1:],
        strengths=fusing.strengths if fusing.many is not None else None,
    )


def prompters_of(
    lanes: Sequence[LanePlan], tokenizers: Tokenizers, marks: ThoughtMarks | None
) -> list[MemberTexts]:
    """Writers of each sequence's prompt, in their order. Args: marks: around the fusion's thoughts."""
    return [
        MemberTexts(
            texts_of(
                lane.spec.model_copy(update={"chat_template": key.chat_template, "reasoning": marks}),
                tokenizers[lane.weights],
            ),
            key.system_prompt,
        )
        for lane in lanes
        for key in lane.sequences
    ]


def _load(
    spec: EngineSpec,
    lanes: Sequence[LanePlan],
    tokenizers: Tokenizers,
    device: "torch.device",
    *,
    size: int,
) -> dict[Weights, Loaded]:
    specs = {lane.weights: lane.spec for lane in lanes}
    return {
        weights: Loaded(load_member(spec, own, device, size=size), tokenizers[weights])
        for weights, own in specs.items()
    }


def load_member(spec: EngineSpec, own: EngineSpec, device: "torch.device", *, size: int) -> "PreTrainedModel":
    """A member's weights. Args: spec: of the fusion; own: of the member; size: of the vocabulary.

    Raises:
        EngineLoadError: weights that cannot be used, or have fewer logits than the tokenizer has tokens.
    """
    model = place_model(load_model(own, device), own, device)
    width = model.get_output_embeddings().weight.shape[0]
    if width < size:
        raise EngineLoadError(
            f"engine '{spec.id}': '{own.model}' has {width} logits for the {size} tokens of the tokenizer.",
            param="model",
            remedy="Give weights and tokenizer that belong together.",
            is_lasting=True,
        )
    return model


def source_of(spec: EngineSpec, model: "PreTrainedModel", bank: Sequence[str]) -> ModelSource:
    """A member's logits, its cache proven.

    Raises:
        EngineLoadError: adapters that cannot be used, or a model that cannot decode with a cache.
    """
    source = ModelSource(model, engine_id=spec.id, adapters=bank)
    prove_cache(source, vocabulary=model.get_input_embeddings().num_embeddings)
    return source


def _lane(
    spec: EngineSpec, plan: LanePlan, model: "PreTrainedModel", source: ModelSource, bank: Sequence[str]
) -> Lane:
    numbers = tuple(number_of(key, bank) for key in plan.sequences)
    routing = None if plan.weak is None else Routing(model, ranks=plan.weak.in_use, engine_id=spec.id)
    return Lane(source, numbers, routing)


def number_of(key: SequenceKey, bank: Sequence[str]) -> int:
    """Number of a sequence's adapter in its model's bank, as a `Lane` has it."""
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
        decoding_options(
            spec, options, one.model, one.tokenizer, threads=threads, backend="fusion", features=NO_FEATURES
        )
        for one in loaded
    ]
    limits = each[0].limits
    return each[0]._replace(
        max_model_len=min(one.max_model_len for one in each),
        eos_ids=frozenset(token for one in each for token in one.eos_ids if token < size),
        limits=Limits(limits.rows, max(1, limits.tokens // n_sequences)),
    )
