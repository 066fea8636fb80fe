"""Every error Muster raises on purpose.

    MusterError
    ├── ConfigError                  settings or pool file; exit code 2
    │   ├── MistakesError            several at once
    │   ├── EmbedderError            an embedding model that cannot be loaded
    │   └── NotProfiledError         a router that reads profile outcomes, where there are none
    ├── InputError                   what a caller sent; exit code 2, HTTP 4xx
    │   ├── UnknownNameError         model, composition, router, ... that does not exist
    │   ├── LimitError               larger than a documented limit
    │   ├── MergesClosedError        a merge over REST where the configuration allows none
    │   ├── TooManyMergesError       as many merges as allowed wait or run
    │   ├── InvalidKeyError          no key where one is needed, or one that is not valid
    │   ├── MissingScopeError        what the key does not allow
    │   ├── AlreadyJudgedError       feedback that contradicts earlier feedback under the same key
    │   ├── FileInUseError           a file that a batch still reads is to be deleted
    │   └── JobRunningError          asked of a job that has not ended
    ├── SkillError                   annotation, profiling, grading, cards; exit code 2
    │   └── CardError                cards that do not fit the pool or the schema
    ├── RoutingError
    │   └── NoCapableExpertError     nobody in the pool may answer
    │       ├── NobodyCanError       nobody who may can do what the request asks for
    │       ├── AllPausedError       everybody who may is paused; a line of a batch waits
    │       └── TooDearError         everybody who may costs or takes more than the request allows
    ├── BackendError
    │   ├── EngineLoadError          weights missing, broken, or too large
    │   ├── EngineCrashedError       the engine died under its prompts
    │   ├── ExpertUnavailableError   refused, cooling down, or misconfigured
    │   ├── ContextExceededError     the prompt does not fit the expert
    │   ├── UnsupportedError         asked of an engine of a kind that cannot
    │   └── GenerationTimeoutError
    ├── AggregationError
    ├── StoppingError                the process ends before a question's answer is known
    ├── TooFastError                 more requests or tokens a minute than the key may send for
    ├── AnswerFailedError            a question that was run and failed; `code` is the answer's
    ├── AnswerChangedError           an answer that does not begin as was told while it was written
    ├── InternalError                a fault of Muster itself; the log has it
    ├── CompositionError
    │   ├── IncompatibleModelsError  logit fusion or merging of models that do not match
    │   ├── MergeError               a merge that cannot be made, or whose result is broken
    │   └── MergeStoppedError        a merge that was cancelled; run again, it goes on
    └── StoreError
        ├── NotFoundError            no such job, query, card
        ├── StaleLeaseError          a write whose lease was taken over
        └── StoreUnavailableError    the database cannot be reached
            └── SchemaChangedError   somebody migrated it to another revision than this process knows

A message says what is wrong and what to do about it. `code` is a stable string for machines;
`param` names the field at fault.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from orchestrator.redaction import redact

SHOWN_NAMES = 12
"""Valid names that a message lists."""
SHOWN_CHARS = 100
"""Of a wrong name that a message repeats."""


class MusterError(Exception):
    """Base of every deliberate error; `str(error)` is fit for the user's eyes: secrets are redacted."""

    code = "muster_error"

    def __init__(self, message: str, *, param: str | None = None, remedy: str | None = None) -> None:
        super().__init__(redact(message if remedy is None else f"{message} {remedy}"))
        self.message = str(self)
        self.param = param
        self.remedy = None if remedy is None else redact(remedy)

    def __reduce__(self) -> tuple[object, ...]:
        """Errors of worker processes arrive as they were raised; by default the message would be taken for
        all of the constructor's arguments."""
        return _restored, (type(self), self.args, vars(self))


def _restored(
    kind: type[MusterError], args: tuple[object, ...], attributes: dict[str, object]
) -> MusterError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class ConfigError(MusterError):
    """Settings or a pool file that cannot be used.

    Args:
        file: path as the user gave it; `line` is 1-based, None when the value came from the
            environment.
    """

    code = "config_invalid"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        param: str | None = None,
        remedy: str | None = None,
    ) -> None:
        place = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(place + message, param=param, remedy=remedy)
        self.file = file
        self.line = line


class MistakesError(ConfigError):
    """All mistakes of a configuration, one a line; file, line and param are the first one's."""

    def __init__(self, mistakes: Sequence[ConfigError]) -> None:
        first = mistakes[0]
        super().__init__("\n".join(str(mistake) for mistake in mistakes), param=first.param)
        self.file = first.file
        self.line = first.line
        self.mistakes = tuple(mistakes)


class EmbedderError(ConfigError):
    """An embedding model that cannot be loaded."""


class NotProfiledError(ConfigError):
    code = "not_profiled"


class InputError(MusterError):
    code = "invalid_request"


class UnknownNameError(InputError):
    """A name that is not in a table; the message lists the nearest valid names first, then how many more."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, valid: Iterable[str], *, param: str | None = None) -> None:
        shown = name if len(name) <= SHOWN_CHARS else f"{name[:SHOWN_CHARS]}…"
        super().__init__(f"unknown {kind} '{shown}'.", param=param, remedy=_valid_names(name, sorted(valid)))
        self.kind = kind
        self.name = name


def _valid_names(name: str, valid: Sequence[str]) -> str:
    near = get_close_matches(name[:SHOWN_CHARS], valid, n=SHOWN_NAMES)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    listed = [*near, *(other for other in valid if other not in near)]
    more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return f"{hint}Valid: {', '.join(listed[:SHOWN_NAMES]) or '(none)'}{more}."


class LimitError(InputError):
    code = "limit_exceeded"


class MergesClosedError(InputError):
    """Merges over REST are off."""

    code = "merges_closed"


class TooManyMergesError(InputError):
    """As many merges as allowed wait or run."""

    code = "too_many_merges"


class InvalidKeyError(InputError):
    """No key where one is needed, or one that is unknown, revoked or over."""

    code = "invalid_api_key"


class MissingScopeError(InputError):
    """Asked of a key that does not allow it."""

    code = "missing_scope"

    def __init__(self, scopes: Iterable[str]) -> None:
        wanted = " or ".join(f"'{scope}'" for scope in scopes)
        super().__init__(
            f"this key does not allow that: it needs the scope {wanted}.",
            remedy="Use another key, or ask who administers this server for one.",
        )


class AlreadyJudgedError(InputError):
    code = "already_judged"


class JobRunningError(InputError):
    """Only a job that has ended can be tried again or deleted."""

    code = "job_running"


class FileInUseError(InputError):
    """A file that a batch still reads."""

    code = "file_in_use"


class ProfileRunningError(InputError):
    """One run of profiling at a time."""

    code = "profile_running"


class SkillError(MusterError):
    code = "skill_error"


class CardError(SkillError):
    code = "card_invalid"


class RoutingError(MusterError):
    code = "routing_failed"


class NoCapableExpertError(RoutingError):
    code = "no_capable_expert"


class NobodyCanError(NoCapableExpertError):
    """A parameter of a request that no expert has who may be asked; another request is needed."""

    code = "unsupported_parameter"

    def __init__(self, param: str, *, remedy: str) -> None:
        super().__init__(f"{param}: no expert that may be asked can do this.", param=param, remedy=remedy)


class AllPausedError(NoCapableExpertError):
    """Everybody who may be asked is paused: a question fails, a line of a batch waits."""

    def __init__(self) -> None:
        super().__init__("every expert that may be asked is paused.", remedy="Ask an admin to resume one.")


class TooDearError(NoCapableExpertError):
    """A limit of a request that leaves nobody to ask."""

    code = "limit_too_low"


class BackendError(MusterError):
    code = "backend_error"


class EngineLoadError(BackendError):
    """An engine that is not loaded. A wait may heal it: a server that is away, too little memory.

    Args:
        is_lasting: no wait can: no such weights, a kind of model that the engine does not know, options that
            it refuses.
    """

    code = "engine_load_failed"

    def __init__(
        self, message: str, *, param: str | None = None, remedy: str | None = None, is_lasting: bool = False
    ) -> None:
        super().__init__(message, param=param, remedy=remedy)
        self.is_lasting = is_lasting


class EngineCrashedError(BackendError):
    code = "engine_crashed"


class ExpertUnavailableError(BackendError):
    code = "expert_unavailable"


class ContextExceededError(BackendError):
    """A prompt and an output that the engine's context does not hold.

    The first words are those by which clients know it, and turn to a model of a larger context.
    """

    code = "context_exceeded"

    @classmethod
    def of(
        cls, *, n_prompt: int | None, max_tokens: int, limit: int, engine_id: str
    ) -> "ContextExceededError":
        """A prompt of `n_prompt` tokens (None = not counted), in a context of `limit` tokens."""
        prompt = "" if n_prompt is None else f"the prompt has {n_prompt}, and "
        return cls(
            f"This model's maximum context length is {limit} tokens (engine '{engine_id}'); "
            f"{prompt}{max_tokens} of output are asked for.",
            param="max_tokens",
            remedy="Shorten the question or lower max_tokens.",
        )


class UnsupportedError(BackendError):
    """The engine cannot do what the sampling asks for."""

    code = "unsupported"


class GenerationTimeoutError(BackendError):
    code = "generation_timeout"


class StoppingError(MusterError):
    """The process that was asked ends before the answer is known."""

    code = "server_stopping"


class TooFastError(MusterError):
    """More requests or tokens a minute than a key may send for.

    Args:
        retry_after_s: when there is room again.
    """

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, remedy: str, retry_after_s: float) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class AggregationError(MusterError):
    code = "aggregation_failed"


class AnswerFailedError(MusterError):
    """A question that was run and failed. `code` is the answer's; None = this class's own."""

    def __init__(self, message: str, *, code: str | None) -> None:
        super().__init__(message)
        self.code = code or type(self).code


class InternalError(MusterError):
    """A fault of Muster itself."""

    code = "internal_error"


class AnswerChangedError(MusterError):
    code = "answer_changed"


class CompositionError(MusterError):
    code = "composition_failed"


class IncompatibleModelsError(CompositionError):
    """Models that cannot be combined; no wait makes them fit."""

    code = "incompatible_models"
    is_lasting = True


class MergeError(CompositionError):
    """A merge that cannot be made of these weights and options, or whose result has NaN or infinity."""

    code = "merge_failed"


class MergeStoppedError(CompositionError):
    """A merge that was cancelled or interrupted; run again, it goes on."""

    code = "merge_stopped"


class StoreError(MusterError):
    code = "store_error"


class NotFoundError(StoreError):
    code = "not_found"


class StaleLeaseError(StoreError):
    code = "stale_lease"


class StoreUnavailableError(StoreError):
    code = "store_unavailable"


class SchemaChangedError(StoreUnavailableError):
    code = "schema_changed"
