"""From responses to votes: read each on its own, group those that say the same, write the answer.

Nothing here depends on the order in which responses arrive. Ours: docs/methods.md, section 3.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import NO_ANSWER, Answer, FinishReason, Usage, Vote, total_usage
from orchestrator.domain.assignments import CallRole, QueryState, Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.thoughts import CLOSES, OPENS, begun_mark, without_thoughts
from orchestrator.errors import ContextExceededError, EngineLoadError, ExpertUnavailableError
from orchestrator.ports.skills import Grader

UNINFORMED = 0.5
CONTEXT_EXCEEDED = ContextExceededError.code
UNAVAILABLE = ExpertUnavailableError.code
OUTAGES = frozenset({UNAVAILABLE, EngineLoadError.code})
"""Codes of experts that could not be asked now: a wait may heal it."""

ESSAY_CHARS = 300
ESSAY = "a long text that states no short answer; answer_type 'open' takes such texts"

_TRUNCATED = "truncated before an answer"


Said = tuple[str, FinishReason, str]
"""All of a response that an answer is read in."""


class Ballot(NamedTuple):
    """One response as it counts.

    Attributes:
        value: canonical answer; None = abstention, `reason` says why.
        accuracy: probability that this expert is right on the query, from the decision; .5 = unknown.
        weight: the router's share for this expert, in [0, 1].
        rank: the expert's place among the recruits, 0 = best.
    """

    response: Response
    value: str | None
    accuracy: float
    weight: float
    rank: int
    reason: str | None = None

    @property
    def expert_id(self) -> str:
        """Id of the expert that responded."""
        return self.response.expert_id


class Group(NamedTuple):
    """Ballots whose answers are equivalent, best recruit first; never empty."""

    ballots: tuple[Ballot, ...]

    @property
    def best(self) -> Ballot:
        """The ballot of the best recruit among them."""
        return self.ballots[0]

    @property
    def value(self) -> str:
        """Canonical answer of the best recruit; the others' say the same."""
        assert self.best.value is not None
        return self.best.value


def read_ballots(grader: Grader, state: QueryState, responses: Iterable[Response]) -> list[Ballot]:
    """Every response's own answer, best recruit first, whatever the order of `responses`.

    Those of the same words are read once. An expert that the decision does not name comes last, at weight 0.
    """
    places: dict[str, int] = {}
    for place, expert_id in enumerate(state.decision.expert_ids if state.decision else ()):
        places.setdefault(expert_id, place)
    read: dict[Said, str | None] = {}
    ballots = [_ballot(grader, state, response, places, read) for response in responses]
    return in_order(ballots)


def in_order(ballots: Iterable[Ballot]) -> list[Ballot]:
    """Ballots in order: the best recruit's first; of one expert the earlier."""
    return sorted(ballots, key=lambda b: (b.rank, b.expert_id, b.response.stage, b.response.sample_ix))


def _ballot(
    grader: Grader,
    state: QueryState,
    response: Response,
    places: Mapping[str, int],
    read: dict[Said, str | None],
) -> Ballot:
    """`read`: what was read in responses to this query before."""
    recruit = state.decision.recruit(response.expert_id) if state.decision else None
    accuracy, weight = (recruit.accuracy, recruit.weight) if recruit else (UNINFORMED, 0.0)
    rank = places.get(response.expert_id, len(places))
    if response.failed:
        reason = f"{response.error_code}: {response.error}" if response.error else response.error_code
        return Ballot(response, None, accuracy, weight, rank, reason)
    said = (response.text, response.finish_reason, response.reasoning)
    if said not in read:
        read[said] = grader.read(state.query, response)
    value = read[said]
    reason = None if value is not None else _why_unread(state.query, response)
    return Ballot(response, value, accuracy, weight, rank, reason)


def _why_unread(query: Query, response: Response) -> str:
    if response.finish_reason is FinishReason.LENGTH:
        return _TRUNCATED
    if query.answer_type is AnswerType.TEXT and len(response.text) > ESSAY_CHARS:
        return ESSAY
    return "no readable answer" if response.text.strip() else "empty response"


def group_equivalent(grader: Grader, query: Query, ballots: Sequence[Ballot]) -> list[Group]:
    """Equivalence classes of the readable ballots, the best recruit's first.

    Distinct values are compared in sorted order, so that a comparison that is not quite transitive
    (rounded numbers) still gives the same groups for every order of responses.

    Args:
        ballots: the best recruit's first (`in_order`).
    """
    classes: list[list[str]] = []
    for value in sorted({b.value for b in ballots if b.value is not None}):
        home = next((c for c in classes if grader.equivalent(query, c[0], value)), None)
        if home is None:
            classes.append([value])
        else:
            home.append(value)
    home_of = {value: home for home, values in enumerate(classes) for value in values}
    groups: dict[int, list[Ballot]] = {}
    for ballot in ballots:  # the best first, so groups come in the order of their best
        if ballot.value is not None:
            groups.setdefault(home_of[ballot.value], []).append(ballot)
    return [Group(tuple(group)) for group in groups.values()]


def most_votes(groups: Sequence[Group]) -> Group:
    """The answer with most votes; ties by the router's weights summed, then the better recruit.

    Args:
        groups: as `group_equivalent` has them, at least one.
    """
    # Rounded: sums of equal weights must tie whatever the order they were added in.
    return max(groups, key=lambda g: (len(g.ballots), round(sum(b.weight for b in g.ballots), 9)))


def lead(scores: Sequence[float], leader: int) -> float:
    """Lead of the leading answer's score over its best rival's, or over 0: an answer nobody gave.

    Args:
        scores: of the answers given; the lead is in their unit.
        leader: place of the leading answer among them.
    """
    return scores[leader] - max([0.0, *(score for i, score in enumerate(scores) if i != leader)])


def votes(ballots: Iterable[Ballot], weight: Callable[[Ballot], float]) -> tuple[Vote, ...]:
    """Votes as an answer lists them, in order; an abstention's weight is 0, and `weight` is not called."""
    return tuple(
        Vote(
            expert_id=b.expert_id,
            value=b.value,
            weight=0.0 if b.value is None else weight(b),
            abstained_because=b.reason,
        )
        for b in ballots
    )


def abstentions(ballots: Sequence[Ballot]) -> tuple[str, ...]:
    """Notes that name who abstained and why; empty when everyone answered."""
    absent = [b for b in ballots if b.value is None]
    if not absent:
        return ()
    who = "; ".join(f"{b.expert_id} ({b.reason})" for b in absent)
    return (f"{len(ballots) - len(absent)} of {len(ballots)} responses counted; abstained: {who}",)


def words(ballot: Ballot) -> str:
    """Words to show of a response: its text without reasoning blocks; the bare answer if nothing is left."""
    return without_reasoning(ballot.response.text) or ballot.value or ""


def without_reasoning(text: str) -> str:
    """The text without `<think>…</think>` and the like; an unclosed block runs to the end."""
    return without_thoughts(text).strip()


class SettledWords:
    """Beginning of `without_reasoning` whatever follows an unfinished text: no open block, no tag that may
    become one, no blanks that may be its last. Called with the text's pieces, it gives what each adds."""

    def __init__(self) -> None:
        self._rest = ""  # what may become a tag
        self._blanks: list[str] = []
        self._is_open = self._has_begun = False

    def __call__(self, piece: str) -> str:
        text, said = self._rest + piece, []
        while (tag := (CLOSES if self._is_open else OPENS).search(text)) is not None:
            said.append("" if self._is_open else text[: tag.start()])
            self._is_open, text = not self._is_open, text[tag.end() :]
        self._rest = begun_mark(text, closing=self._is_open)
        if not self._is_open:
            said.append(text[: len(text) - len(self._rest)])
        return self._without_last_blanks("".join(said))

    def _without_last_blanks(self, text: str) -> str:
        """The text with the blanks before it; those at its end wait for what follows."""
        text = text if self._has_begun else text.lstrip()
        words = text.rstrip()
        blanks = text[len(words) :]
        if not words:
            self._blanks.append(blanks)
            return ""
        before, self._blanks, self._has_begun = "".join(self._blanks), [blanks], True
        return before + words


def used(state: QueryState, responses: Sequence[Response]) -> list[Response]:
    """All responses that the answer cost, each once: those of the state and those handed over."""
    unique = {(r.role, r.stage, r.expert_id, r.sample_ix): r for r in (*state.responses, *responses)}
    return [unique[key] for key in sorted(unique)]


def usage_by_role(responses: Iterable[Response]) -> dict[str, Usage]:
    """Tokens and USD, summed over the responses of each role, by its name; only roles that occur."""
    by_role: dict[CallRole, list[Usage]] = {}
    for response in responses:
        by_role.setdefault(response.role, []).append(response.usage)
    return {role.value: total_usage(parts) for role, parts in by_role.items()}


def expert_answer(
    aggregator: str,
    state: QueryState,
    responses: Sequence[Response],
    ballots: Sequence[Ballot],
    *,
    winner: Ballot,
    weight: Callable[[Ballot], float],
    confidence: float | None = None,
) -> Answer:
    """The answer in the words of the winning ballot.

    Args:
        responses: of the experts; the state's own count as used, too.
        weight: of a readable ballot's vote, as the answer lists it.
        confidence: probability of being right, in [0, 1]; None = not estimated.
    """
    calls = used(state, responses)
    notes = abstentions(ballots)
    return Answer(
        text=words(winner),
        finish_reason=winner.response.finish_reason,
        value=winner.value,
        confidence=confidence,
        aggregator=aggregator,
        answered_by=winner.expert_id,
        degraded=bool(notes),
        notes=notes,
        votes=votes(ballots, weight),
        decision=state.decision,
        usage_by_role=usage_by_role(calls),
        n_calls=len(calls),
    )


def no_answer(
    aggregator: str, state: QueryState, responses: Sequence[Response], ballots: Sequence[Ballot]
) -> Answer:
    """The answer when no response could be read: an error, never a guess. A question that was too long for
    everybody is the caller's error, under the code of the calls; that nobody could be asked is not."""
    calls = used(state, responses)
    notes = abstentions(ballots)
    codes = {b.response.error_code for b in ballots}
    too_long = codes == {CONTEXT_EXCEEDED}
    is_outage = bool(codes) and codes <= OUTAGES
    return Answer(
        text="",
        aggregator=aggregator,
        degraded=True,
        notes=notes,
        votes=votes(ballots, lambda _: 0.0),
        decision=state.decision,
        usage_by_role=usage_by_role(calls),
        n_calls=len(calls),
        error_code=CONTEXT_EXCEEDED if too_long else UNAVAILABLE if is_outage else NO_ANSWER,
        error=_too_long(ballots) if too_long else _nobody(ballots, notes),
    )


def _too_long(ballots: Sequence[Ballot]) -> str:
    who = ", ".join(dict.fromkeys(b.expert_id for b in ballots))
    return f"too long for everybody who was asked ({who}): {ballots[0].response.error}"


def _nobody(ballots: Sequence[Ballot], notes: Sequence[str]) -> str:
    if not notes:
        return "no expert responded"
    cut = all(b.reason == _TRUNCATED for b in ballots)
    return f"{notes[0]}. Allow more max_tokens." if cut else notes[0]
