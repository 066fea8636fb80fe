"""Several models as one source of logits: each step runs every model once, and a rule fuses what they say.

Members over the same weights (LoRA experts of one base, or one model under several prompts) are sequences of
one rectangle: they share its passes. Each member has its own prompt; new tokens are the same for all.

Shapes: R rows, S sequences of a row in one rectangle, V vocabulary, E members of a role that has many.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from aggregators.logits import LOGIT_RULES, Fused, Role, RuleOptions
from orchestrator.domain.fusions import FusionStep, FusionTrace
from orchestrator.domain.queries import Message
from orchestrator.errors import UnknownNameError
from workers.backends.decoding.batch import Batch
from workers.backends.decoding.routing import Routing
from workers.backends.decoding.rows import Row, Step
from workers.backends.decoding.sources import ModelSource
from workers.backends.decoding.texts import Texts

OF_REQUEST = -1
"""In place of an adapter's number: the one that the request names."""


class Lane(NamedTuple):
    """A model and its sequences of each row.

    Attributes:
        adapters: number of each sequence's adapter in the model's bank, 0 = its weights; `OF_REQUEST`.
        routing: another one than the model's own, in all of its sequences.
    """

    source: ModelSource
    adapters: tuple[int, ...]
    routing: Routing | None = None

    def logits(self, batch: Batch, at: int) -> Tensor:
        """[R, S, V]. Args: at: its rectangle."""
        adapters = [
            row.adapter if number == OF_REQUEST else number for row in batch.rows for number in self.adapters
        ]
        if self.routing is None:
            logits = self.source.of_sequences(batch.rectangles[at], adapters)
        else:
            with self.routing:
                logits = self.source.of_sequences(batch.rectangles[at], adapters)
        return logits.view(len(batch.rows), len(self.adapters), -1)


class Place(NamedTuple):
    """Sequence whose logits a member has."""

    lane: int
    sequence: int


class Fusing:
    """A rule with its options and its members' places.

    Args:
        places: of the members by role, in the rule's order.
        vocabulary: V; wider logits are cut to it.
    """

    def __init__(
        self, rule: str, options: RuleOptions, places: Mapping[str, Sequence[Place]], *, vocabulary: int
    ) -> None:
        self._rule = rule
        self._options = options
        self._row = LOGIT_RULES.find(rule)
        self._places = places
        self._vocabulary = vocabulary
        self._members = dict(_labels(self._row.roles, places))

    @property
    def many(self) -> str | None:
        """The role whose members have strengths that a request may set; None = there is none."""
        role = next((role.name for role in self._row.roles if role.many), None)
        return role if self._row.blend is not None else None

    def strengths(self, mixture: Sequence[tuple[str, float]]) -> tuple[float, ...]:
        """Strengths of all members by their labels, 0 for those that are not named.

        Raises:
            UnknownNameError: no such member.
        """
        assert self.many is not None, "who asks looks before"
        labels = {f"{self.many}[{at}]": at for at in range(len(self._places[self.many]))}
        found = [0.0] * len(labels)
        for label, share in mixture:
            if label not in labels:
                raise UnknownNameError("member of the fusion", label, labels, param="mixture")
            found[labels[label]] = share
        return tuple(found)

    def fuse(self, lanes: Sequence[Tensor], strengths: Sequence[tuple[float, ...] | None] = ()) -> Fused:
        """One distribution for each row.

        Args:
            lanes: logits of each lane, [R, S, V or more].
            strengths: of each row; None = the options'. () = all of them.
        """
        logits = {
            role.name: self._of_role(lanes, self._places[role.name], many=role.many)
            for role in self._row.roles
        }
        if self._row.blend is None or self.many is None or all(own is None for own in strengths):
            return self._row.fuse(logits, self._options)
        given = self._options.strengths(len(self._places[self.many]))
        table = logits[self.many].new_tensor([given if own is None else own for own in strengths])
        return self._row.blend(logits, self._options, table)

    def _of_role(self, lanes: Sequence[Tensor], places: Sequence[Place], *, many: bool) -> Tensor:
        device = lanes[0].device
        found = [
            lanes[place.lane][:, place.sequence, : self._vocabulary].to(device).float() for place in places
        ]
        return torch.stack(found) if many else found[0]

    def trace(
        self, steps: Sequence[Step], ids: Sequence[int], seconds: float, *, n_lost: int = 0
    ) -> FusionTrace:
        """Account of a finished row.

        Args:
            steps: empty if it wants none.
            ids: its output.
            n_lost: passes of the first lane of which no token came.
        """
        seen: set[Place] = set()
        passes = {}
        for label, place in self._members.items():
            passes[label] = 0 if place in seen else len(ids) + (n_lost if place.lane == 0 else 0)
            seen.add(place)
        told = tuple(_step(token, step) for token, step in zip(ids, steps, strict=False))
        return FusionTrace(rule=self._rule, steps=told, passes=passes, seconds=round(seconds, 6))


class FusedSource:
    """Implements `Source` over several models.

    Args:
        lanes: one per rectangle; the first sequence of the first is the large model's.
    """

    def __init__(self, lanes: Sequence[Lane], fusing: Fusing) -> None:
        self.device: torch.device = lanes[0].source.device
        self.layout = tuple(len(lane.adapters) for lane in lanes)
        self._lanes = lanes
        self._fusing = fusing

    def next_logits(self, batch: Batch) -> Fused:
        lanes = [lane.logits(batch, at) for at, lane in enumerate(self._lanes)]
        return self._fusing.fuse(lanes, [row.strengths for row in batch.rows])

    def tensors(self) -> Iterator[Tensor]:
        for lane in self._lanes:
            yield from lane.source.tensors()

    def trace(self, row: Row, ids: Sequence[int], seconds: float) -> FusionTrace:
        return self._fusing.trace(row.steps, ids, seconds)


def _labels(roles: Sequence[Role], places: Mapping[str, Sequence[Place]]) -> list[tuple[str, Place]]:
    """Members as the trace calls them, each with its place."""
    return [
        (f"{role.name}[{at}]" if role.many else role.name, place)
        for role in roles
        for at, place in enumerate(places[role.name])
    ]


def _step(token: int, step: Step) -> FusionStep:
    loss = step.loss if step.loss is not None and isfinite(step.loss) else None
    if step.alphas is None:
        return FusionStep(token_id=token, loss=loss)
    alphas = tuple(round(alpha, 6) for alpha in step.alphas)
    return FusionStep(token_id=token, alpha=alphas[0] if len(alphas) == 1 else alphas, loss=loss)


class MemberTexts(NamedTuple):
    """Prompts of one member: the request's messages in its own template, under its own system message."""

    texts: Texts
    system_prompt: str | None = None

    def encode(self, messages: Sequence[Message]) -> list[int]:
        if self.system_prompt is None:
            return self.texts.encode(messages)
        rest = [message for message in messages if message.role != "system"]
        return self.texts.encode([Message(role="system", content=self.system_prompt), *rest])
