"""A backend whose engines say every question back: an engine's contract, without weights."""

from collections.abc import Sequence

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import BackendError
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest
from workers.backends.options import Options, read_options
from workers.backends.refusal import refusal
from workers.backends.registry import BackendRow, Inner
from workers.backends.stop_strings import cut_at_stop


class ParrotOptions(Options):
    """`options` of an engine with backend `parrot`.

    Args:
        before: what it says before it repeats the question.
    """

    before: str = ""


class Parrot:
    """Every request is ready at the next `poll`; a token is a word."""

    def __init__(self, before: str) -> None:
        self._before = before
        self._ready: dict[str, Finished | Failed] = {}

    def submit(self, request: GenerationRequest) -> None:
        if request.id in self._ready:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        self._ready[request.id] = refusal(request, "parrot") or self._reply(request)

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        events: list[EngineEvent] = list(self._ready.values())
        self._ready.clear()
        return events

    def abort(self, request_id: str) -> None:
        if request_id in self._ready:
            self._ready[request_id] = Failed(request_id, "aborted", "the request was aborted.")

    def close(self) -> None:
        self._ready.clear()

    def _reply(self, request: GenerationRequest) -> Finished:
        question = request.messages[-1].content
        words = cut_at_stop(f"{self._before}{question}", request.sampling.stop).text.split()
        said = words[: request.sampling.max_tokens]
        reason = FinishReason.LENGTH if len(said) < len(words) else FinishReason.STOP
        usage = Usage(prompt_tokens=len(question.split()), completion_tokens=len(said))
        return Finished(request.id, " ".join(said), reason, usage)


class ParrotBackend:
    """Loads nothing, at once."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        return Parrot(read_options(ParrotOptions, spec).before)


HERE = "muster_example.parrot:ParrotBackend"
ROW = BackendRow(HERE, inner=Inner(HERE), options="muster_example.parrot:ParrotOptions")
