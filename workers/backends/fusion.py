"""The backend `fusion`: several models write one sequence; their logits are fused at each token.

`options.serve` says what runs the members: `transformers`, in this process, or `vllm`. LoRA experts of one
base, and members under other prompts, are rows of one pass; other weights are models of their own, each with
its cache.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, JsonValue, field_validator, model_validator

from aggregators.logits import LOGIT_RULES, read_rule_options
from orchestrator.compositions.mixing import MixedMember
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError, MusterError
from orchestrator.pool import EnginePart
from orchestrator.ports.engines import Engine
from workers.backends.options import Options, read_options
from workers.backends.transformers import TransformersOptions
from workers.backends.vllm.backend import VllmResources, vllm_backend
from workers.engine_host.memory import RESERVE_GIB, available_gib, needed_gib

LARGE = "large"
ROLE_OPTIONS = ("base", "experts", "weak", "models")
"""Options that name members, each for the role of its name."""


ONLY_IN_VLLM = VllmResources.model_fields.keys() - TransformersOptions.model_fields.keys()
NOT_IN_VLLM = {"max_batch_tokens", "device"}


class FusionMember(Options):
    """A member of a fusion; a name alone stands for its `model`.

    Args:
        model: directory of weights (relative to the pool file) or hub id; the large model's own may be named
            again, and is loaded once.
        adapter: LoRA directory over these weights.
        revision: of a hub id.
        chat_template: Jinja text in place of its tokenizer's own.
        system_prompt: in place of the request's system message, for this member.
    """

    model: str = Field(min_length=1)
    adapter: str | None = Field(default=None, min_length=1)
    revision: str | None = Field(default=None, min_length=1)
    chat_template: str | None = None
    system_prompt: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if not isinstance(value, str | dict | FusionMember):
            raise ValueError("write a path, or {model: …, adapter: …}")
        return {"model": value} if isinstance(value, str) else value


class WeakRouting(Options):
    """The large mixture-of-experts model again, under another routing (arXiv:2405.14507).

    Args:
        experts_per_token: experts that act at a token.
        ranks: which ones by the router's score, 1 = the first; None = the first ones.
    """

    experts_per_token: int = Field(ge=1, le=64)
    ranks: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _one_rank_an_expert(self) -> "WeakRouting":
        ranks = self.in_use
        if (
            len(set(ranks)) != self.experts_per_token
            or len(ranks) != self.experts_per_token
            or min(ranks) < 1
        ):
            raise ValueError(f"ranks must be {self.experts_per_token} different numbers from 1 on")
        return self

    @property
    def in_use(self) -> tuple[int, ...]:
        """`ranks`, or in their place the first ones: 1 to `experts_per_token`."""
        return self.ranks if self.ranks is not None else tuple(range(1, self.experts_per_token + 1))


class FusionOptions(TransformersOptions, VllmResources):
    """`options` of an engine with backend `fusion`, beside those of `transformers` or, where vLLM serves it,
    what engines in vLLM are given.

    Args:
        rule: row of `aggregators.logits.LOGIT_RULES`; the rule's own options stand beside it.
        base: small untuned model (`upscale`, `dynamic`).
        experts: tuned ones of its size (`upscale`, `dynamic`).
        weak: a weaker model, or another routing of the large one (`contrast`).
        models: those that are averaged (`average`); the large one comes first unless it is among them.
        params: the rule's own options, as they were found beside `rule`.
        serve: what runs the members.
        max_batch: most requests decoded together; each is a row of every member.
    """

    rule: str
    base: FusionMember | None = None
    experts: tuple[FusionMember, ...] = ()
    weak: FusionMember | WeakRouting | None = None
    models: tuple[FusionMember, ...] = ()
    params: dict[str, JsonValue] = Field(default_factory=dict)
    serve: Literal["transformers", "vllm"] = "transformers"

    @model_validator(mode="before")
    @classmethod
    def _rule_options_apart(cls, given: object) -> object:
        rule = given.get("rule") if isinstance(given, dict) else None
        if not isinstance(given, dict) or not isinstance(rule, str) or rule not in LOGIT_RULES:
            return given
        own = LOGIT_RULES[rule].options.model_fields
        beside = {key: given[key] for key in given if key in own}
        if not beside:
            return given
        params = {**(given.get("params") or {}), **beside}
        return {**{key: value for key, value in given.items() if key not in own}, "params": params}

    @field_validator("weak", mode="before")
    @classmethod
    def _routing_or_member(cls, weak: object) -> object:
        """By its keys, so that a mistake is told of what was meant."""
        if isinstance(weak, dict) and weak.keys() & WeakRouting.model_fields.keys():
            return WeakRouting.model_validate(weak)
        return weak if weak is None or isinstance(weak, WeakRouting) else FusionMember.model_validate(weak)

    def mistake(self, spec: EngineSpec) -> tuple[str, str] | None:
        unused = self.model_fields_set & (NOT_IN_VLLM if self.serve == "vllm" else ONLY_IN_VLLM)
        if unused:
            return min(unused), f"it means nothing where serve is {self.serve}"
        try:
            roles = {role.name for role in LOGIT_RULES.find(self.rule).roles}
        except MusterError as error:
            return "rule", error.message
        for name in ROLE_OPTIONS:
            is_given = bool(getattr(self, name))
            if is_given and name not in roles:
                return name, f"rule '{self.rule}' has no {name}"
            if name in roles and not is_given:
                return name, f"rule '{self.rule}' needs {name}"
        try:
            many = next((found for found in members_of(spec, self).values() if len(found) > 1), [None])
            read_rule_options(self.rule, self.params, n_members=len(many))
        except MusterError as error:
            return error.param or "rule", error.message
        return None


def parts_of(options: Mapping[str, JsonValue]) -> Iterator[EnginePart]:
    """Weights that the options name beside the engine's own; what is not well formed is left out."""
    for role in ROLE_OPTIONS:
        given = options.get(role)
        for member in given if isinstance(given, list) else [given]:
            found: Any = {"model": member} if isinstance(member, str) else member
            if isinstance(found, dict) and isinstance(found.get("model"), str):
                adapter, revision = found.get("adapter"), found.get("revision")
                yield EnginePart(
                    found["model"],
                    adapter if isinstance(adapter, str) else None,
                    revision if isinstance(revision, str) else None,
                )


class Member(NamedTuple):
    """A member that is to be loaded, its places resolved.

    Attributes:
        spec: of its weights.
        adapter: LoRA directory over them.
        chat_template: None = its tokenizer's own.
        weak: routing in place of its own.
        is_large: the engine's own model, which takes the adapter that a request names.
    """

    spec: EngineSpec
    adapter: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    weak: WeakRouting | None = None
    is_large: bool = False


def members_of(spec: EngineSpec, options: FusionOptions) -> dict[str, list[Member]]:
    """Members by role, in the rule's order; the large model is the first of the first."""
    large = Member(spec, chat_template=spec.chat_template, is_large=True)
    members: dict[str, list[Member]] = {}
    for role in LOGIT_RULES.find(options.rule).roles:
        if role.name == LARGE:
            members[role.name] = [large]
            continue
        given = getattr(options, role.name)
        found = [_member(spec, one) for one in (given if isinstance(given, tuple) else (given,))]
        if role.name == "models" and not any(_is_large(spec, one) for one in found):
            found = [large, *found]
        elif role.name == "models":
            found = [large if _is_large(spec, one) else one for one in found]
        members[role.name] = found
    return members


def mixed_members(spec: EngineSpec) -> list[MixedMember]:
    """Members whose strengths a request may set; none where the rule, or what serves it, takes none.

    Raises:
        EngineLoadError: options that are no fusion's.
    """
    options = read_options(FusionOptions, spec)
    rule = LOGIT_RULES.find(options.rule)
    many = next((role.name for role in rule.roles if role.many), None)
    if rule.blend is None or many is None or options.serve == "vllm":
        return []
    found = members_of(spec, options)[many]
    return [MixedMember(f"{many}[{at}]", one.spec.model, one.adapter) for at, one in enumerate(found)]


def _is_large(spec: EngineSpec, member: Member) -> bool:
    """The large model itself, as named among `models` to state its place."""
    plain = member.adapter is None and member.system_prompt is None
    return member.spec.model == spec.model and plain and member.chat_template == spec.chat_template


def _member(spec: EngineSpec, given: FusionMember | WeakRouting) -> Member:
    if isinstance(given, WeakRouting):
        return Member(spec, chat_template=spec.chat_template, weak=given)
    located = spec.members.get(given.model, given.model)
    adapter = spec.members.get(given.adapter, given.adapter) if given.adapter is not None else None
    is_same = located == spec.model and given.revision in (None, spec.revision)
    own = spec if is_same else spec.model_copy(update={"model": located, "revision": given.revision})
    template = given.chat_template or (spec.chat_template if is_same else None)
    return Member(own, adapter, template, given.system_prompt)


def require_served(spec: EngineSpec, members: Mapping[str, Sequence[Member]]) -> None:
    """Refuse a fusion that vLLM cannot serve.

    Raises:
        EngineLoadError: several devices, or a member that is a model under another routing.
    """
    if spec.tensor_parallel_size > 1:
        raise EngineLoadError(
            f"engine '{spec.id}': logits are fused in one process.",
            param="tensor_parallel_size",
            remedy="Set tensor_parallel_size to 1.",
            is_lasting=True,
        )
    if any(member.weak is not None for found in members.values() for member in found):
        raise EngineLoadError(
            f"engine '{spec.id}': vLLM cannot run a model under another routing.",
            param="options.weak",
            remedy="Set serve: transformers, or name a weaker model.",
            is_lasting=True,
        )


class FusionBackend:
    """Implements `ports.Backend`, and what can be done ahead for fusions that vLLM serves: they share the
    children of its engines."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Compare vocabularies, then load every member's weights, once each, and their adapters.

        Raises:
            EngineLoadError: options, weights, tokenizers or adapters that cannot be used; where vLLM serves,
                also vocabularies that differ.
            IncompatibleModelsError: vocabularies that differ; nothing has been loaded then.
        """
        options = read_options(FusionOptions, spec)
        members = members_of(spec, options)
        if options.serve == "vllm":
            require_served(spec, members)
            return vllm_backend().load(spec, adapters)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        from workers.backends.fusion_loading import load_in_process

        return load_in_process(spec, options, members, adapters)

    def warm_up(self, spec: EngineSpec) -> None:
        """Start a spare child, where vLLM serves."""
        if _is_in_vllm(spec):
            vllm_backend().warm_up(spec)

    def prepare(self, spec: EngineSpec, adapters: Sequence[str]) -> bool:
        """Begin to load beside what runs, as `HostedBackend.prepare` does; False in this process."""
        return _is_in_vllm(spec) and vllm_backend().prepare(spec, adapters)

    def discard_prepared(self) -> None:
        vllm_backend().discard_prepared()

    def fits(self, spec: EngineSpec) -> bool:
        """True if memory allows it beside what is resident."""
        if _is_in_vllm(spec):
            return vllm_backend().fits(spec)
        needed, available = needed_gib(spec), available_gib()
        return needed is None or available is None or needed + RESERVE_GIB <= available

    def close(self) -> None:
        vllm_backend().close()


def _is_in_vllm(spec: EngineSpec) -> bool:
    return read_options(FusionOptions, spec).serve == "vllm"
