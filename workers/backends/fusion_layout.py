"""Sequences that a fusion decodes: lanes of models, and the members' places in them. Nothing is loaded here.

Members over the same weights and routing share a lane; those that differ in nothing share a sequence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from aggregators.logits import LOGIT_RULES, RuleOptions, read_rule_options
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError, MusterError
from workers.backends.decoding.fused import Place
from workers.backends.fusion import FusionOptions, Member, WeakRouting
from workers.checkpoints.formats import load_tokenizer
from workers.checkpoints.vocabulary import require_one_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Members = Mapping[str, Sequence[Member]]
"""By role, in the rule's order."""


class Weights(NamedTuple):
    """Identity of a model to load: members with equal ones share it."""

    model: str
    revision: str | None


Tokenizers = Mapping[Weights, "PreTrainedTokenizerFast"]


class SequenceKey(NamedTuple):
    """All that a member's logits depend on beside the tokens; members with equal ones share a sequence."""

    weights: Weights
    weak: WeakRouting | None
    adapter: str | None
    takes_requests_adapter: bool
    chat_template: str | None
    system_prompt: str | None


class LanePlan(NamedTuple):
    """A model and what it decodes of each request.

    Attributes:
        spec: of its weights.
        sequences: next to each other in one pass.
    """

    spec: EngineSpec
    weak: WeakRouting | None
    sequences: tuple[SequenceKey, ...]

    @property
    def weights(self) -> Weights:
        """Weights that its model loads."""
        return weights_of(self.spec)


class Arrangement(NamedTuple):
    """Attributes:
    lanes: the first sequence of the first is the large model's.
    places: of the members, by role.
    """

    lanes: tuple[LanePlan, ...]
    places: dict[str, list[Place]]


def arrange(members: Members, adapters: Sequence[str]) -> Arrangement:
    """Lanes and places. Args: adapters: those that requests may name, for the large model."""
    specs: dict[tuple[Weights, WeakRouting | None], EngineSpec] = {}
    keys: dict[tuple[Weights, WeakRouting | None], dict[SequenceKey, None]] = {}
    for member in each_member(members):
        key = _key(member, adapters)
        specs.setdefault((key.weights, key.weak), member.spec)
        keys.setdefault((key.weights, key.weak), {})[key] = None
    lanes = tuple(LanePlan(specs[at], at[1], tuple(sequences)) for at, sequences in keys.items())
    place_of = {
        key: Place(number, at) for number, lane in enumerate(lanes) for at, key in enumerate(lane.sequences)
    }
    places = {role: [place_of[_key(member, adapters)] for member in found] for role, found in members.items()}
    return Arrangement(lanes, places)


def each_member(members: Members) -> Iterator[Member]:
    """All members, the large model first, whatever its place."""
    found = [member for role in members.values() for member in role]
    yield from sorted(found, key=lambda member: not member.is_large)


def weights_of(spec: EngineSpec) -> Weights:
    """Weights that a specification names: equal ones are loaded once."""
    return Weights(spec.model, spec.revision)


def rule_options(spec: EngineSpec, options: FusionOptions, members: Members) -> RuleOptions:
    """The rule's own options.

    Raises:
        EngineLoadError: they do not fit the rule or the number of members.
    """
    many = next((role.name for role in LOGIT_RULES.find(options.rule).roles if role.many), None)
    try:
        n_members = len(members[many]) if many is not None else 1
        return read_rule_options(options.rule, options.params, n_members=n_members)
    except MusterError as error:
        message = f"engine '{spec.id}': {error.message}"
        raise EngineLoadError(message, param="options", is_lasting=True) from error


def tokenizers_of(members: Members) -> "dict[Weights, PreTrainedTokenizerFast]":
    """One of each model.

    Raises:
        EngineLoadError: one that cannot be read.
    """
    specs = {weights_of(member.spec): member.spec for member in each_member(members)}
    return {weights: load_tokenizer(spec) for weights, spec in specs.items()}


def compare_vocabularies(spec: EngineSpec, tokenizers: Tokenizers) -> int:
    """Size of the vocabulary that all members share.

    Raises:
        IncompatibleModelsError: they do not.
    """
    tokens = {
        weights: {number: token for token, number in tokenizer.get_vocab().items()}
        for weights, tokenizer in tokenizers.items()
    }
    size = len(tokenizers[weights_of(spec)])
    large = tokens.pop(weights_of(spec))
    others = {weights.model: found for weights, found in tokens.items()}
    require_one_vocabulary(f"engine '{spec.id}'", large, others, size=size)
    return size


def adapters_over(
    spec: EngineSpec, members: Members, weights: Weights, adapters: Sequence[str]
) -> tuple[str, ...]:
    """Adapters over one model: those that requests may name first, in the engine's numbers."""
    of_requests = tuple(adapters) if weights == weights_of(spec) else ()
    used = [
        m.adapter for m in each_member(members) if m.adapter is not None and weights_of(m.spec) == weights
    ]
    return tuple(dict.fromkeys((*of_requests, *used)))


def _key(member: Member, adapters: Sequence[str]) -> SequenceKey:
    return SequenceKey(
        weights_of(member.spec),
        member.weak,
        member.adapter,
        member.is_large and bool(adapters),
        member.chat_template,
        member.system_prompt,
    )
