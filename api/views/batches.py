"""Batches as they are asked for and shown."""

import re
from collections.abc import Mapping, Sequence

from api.errors import UnsupportedParameterError
from api.schemas.batches import (
    BatchCounts,
    BatchList,
    BatchProblems,
    BatchProblemView,
    BatchRequest,
    BatchUsage,
    BatchView,
)
from api.views.jobs_lines import ENDPOINTS
from orchestrator.domain.batches import Batch, BatchProblem, TokenCounts
from orchestrator.domain.keys import Caller
from orchestrator.errors import InputError

OURS = "muster_"
METADATA = ("muster_priority", "muster_reuse")
"""Keys of metadata that say how a batch is answered."""
MAX_WINDOW_S = 30 * 86_400
_WINDOW = re.compile(r"([1-9][0-9]{0,2})([hd])")
_UNIT_S = {"h": 3600, "d": 86_400}


def new_batch(request: BatchRequest, *, batch_id: str, created: float, caller: Caller) -> Batch:
    """A batch that is asked for, not stored yet.

    Args:
        created: seconds since 1970; its window begins there.
        caller: whose it is, and by whose experts it is answered.

    Raises:
        UnsupportedParameterError: an endpoint that lines cannot have.
        InputError: a window that is none, or metadata of ours that say nothing.
    """
    if request.endpoint not in ENDPOINTS:
        raise UnsupportedParameterError(
            f"endpoint: '{request.endpoint}' has no batches.", param="endpoint", remedy=_one_of(ENDPOINTS)
        )
    unknown = next((k for k in request.metadata or {} if k.startswith(OURS) and k not in METADATA), None)
    if unknown is not None:
        raise InputError(
            f"metadata.{unknown}: unknown.", param=f"metadata.{unknown}", remedy=_one_of(METADATA)
        )
    kept = request.output_expires_after
    return Batch(
        id=batch_id,
        owner=caller.owner_id,
        endpoint=request.endpoint,
        input_file_id=request.input_file_id,
        window=request.completion_window,
        metadata=request.metadata,
        is_background=_said(request, "muster_priority", {"background": True, "batch": False}),
        reuses=_said(request, "muster_reuse", {"true": True, "false": False}),
        output_kept_s=None if kept is None else kept.seconds,
        experts=caller.experts,
        created_at=created,
        expires_at=created + _window_s(request.completion_window),
    )


def _said(request: BatchRequest, name: str, values: Mapping[str, bool]) -> bool:
    """What a key of the metadata says that is ours; False = it is not there."""
    said = (request.metadata or {}).get(name)
    if said is not None and said not in values:
        raise InputError(
            f"metadata.{name}: '{said}' is no such value.",
            param=f"metadata.{name}",
            remedy=_one_of(list(values)),
        )
    return False if said is None else values[said]


def _window_s(window: str) -> int:
    found = _WINDOW.fullmatch(window)
    seconds = 0 if found is None else int(found[1]) * _UNIT_S[found[2]]
    if not 0 < seconds <= MAX_WINDOW_S:
        raise InputError(
            f"completion_window: '{window}' is no number of hours or days up to 30 days.",
            param="completion_window",
            remedy="Give 24h.",
        )
    return seconds


def _one_of(names: Sequence[str]) -> str:
    return f"Give {' or '.join(names)}."


def batch_view(batch: Batch) -> BatchView:
    """A batch in OpenAI's form; times in whole seconds since 1970."""
    return BatchView(
        id=batch.id,
        endpoint=batch.endpoint,
        model=batch.model,
        errors=_problems(batch.problems),
        input_file_id=batch.input_file_id,
        completion_window=batch.window,
        status=batch.state.value,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        created_at=int(batch.created_at),
        in_progress_at=_second(batch.in_progress_at),
        expires_at=int(batch.expires_at),
        finalizing_at=_second(batch.finalizing_at),
        completed_at=_second(batch.completed_at),
        failed_at=_second(batch.failed_at),
        expired_at=_second(batch.expired_at),
        cancelling_at=_second(batch.cancelling_at),
        cancelled_at=_second(batch.cancelled_at),
        request_counts=BatchCounts(**batch.counts.model_dump()),
        usage=None if batch.tokens is None else _usage(batch.tokens),
        metadata=batch.metadata,
    )


def batch_list(batches: Sequence[Batch], *, limit: int) -> BatchList:
    """One page of batches; `batches` holds one more where there are more."""
    views = [batch_view(batch) for batch in batches[:limit]]
    return BatchList(
        data=views,
        first_id=views[0].id if views else None,
        last_id=views[-1].id if views else None,
        has_more=len(batches) > limit,
    )


def _second(at: float | None) -> int | None:
    return None if at is None else int(at)


def _problems(problems: Sequence[BatchProblem]) -> BatchProblems | None:
    if not problems:
        return None
    return BatchProblems(data=[BatchProblemView(**problem.model_dump()) for problem in problems])


def _usage(tokens: TokenCounts) -> BatchUsage:
    return BatchUsage(
        input_tokens=tokens.prompt_tokens,
        output_tokens=tokens.completion_tokens,
        total_tokens=tokens.prompt_tokens + tokens.completion_tokens,
    )
