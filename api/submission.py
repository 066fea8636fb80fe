"""Submissions of question sets as jobs: kept while they arrive, checked whole, then stored or repeated."""

import hashlib
import uuid
from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import IO, NamedTuple

from starlette.concurrency import run_in_threadpool

from api.errors import IdempotencyMismatchError
from api.views.jobs_lines import BatchBodies
from orchestrator.bootstrap.app import App
from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.keys import Caller
from orchestrator.domain.names import PUBLIC_PREFIX
from orchestrator.domain.values import content_hash
from orchestrator.errors import NotFoundError, StoreError, StoreUnavailableError
from orchestrator.questions.files import check_lines, iter_lines
from orchestrator.services.jobs import Jobs

PATH = "/v1/jobs"
SPOOL_BYTES = 1 << 20
"""Of a body, what is kept in memory; the rest lies in a file."""
BODY = "the body"
"""What messages call it."""


class Submission(NamedTuple):
    """Request for a job, but for its lines.

    Attributes:
        composition: answers every line; None = each line's own `model` does.
        key: of the same request that may come again; None = this one comes once.
        deadline_s: seconds from now; None = none.
        reuses: lines that were answered before are not asked again.
    """

    caller: Caller
    composition: str | None = None
    key: str | None = None
    label: str = ""
    deadline_s: float | None = None
    reuses: bool = False


class Submitted(NamedTuple):
    """The job of a submission. `is_repeat`: the same submission made it before."""

    progress: JobProgress
    is_repeat: bool


async def submitted(app: App, wanted: Submission, body: AsyncIterable[bytes], spool: IO[bytes]) -> Submitted:
    """The job of a submission: a new one, or the one that the same submission made before.

    Raises:
        MusterError: what is wrong with it; nothing is stored then.
    """
    job_id = _job_id(wanted.key, wanted.caller.owner_id)
    is_known = wanted.key is not None and await run_in_threadpool(_is_known, app.jobs, job_id)
    name = wanted.composition
    if name is not None and not is_known:  # told before the body is read
        app.asking.resolve(name, allowed=wanted.caller.experts or ())
    content = await _receive(body, spool)
    short = None if name is None else name.removeprefix(PUBLIC_PREFIX)
    said = [*(["reuse"] if wanted.reuses else []), *([["label", wanted.label]] if wanted.label else [])]
    fingerprint = content_hash([short, wanted.deadline_s, content, *said])
    take = partial(_repeat if is_known else _submit, app, spool, wanted, job_id, fingerprint)
    return await run_in_threadpool(_shown, app.jobs, job_id, take)


def _job_id(key: str | None, owner: str) -> str:
    """An owner's key always leads to the same id; the key itself is not kept."""
    if key is None:
        return f"job-{uuid.uuid4().hex}"
    parts = (PATH, owner, key) if owner else (PATH, key)
    return f"job-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:32]}"


async def _receive(body: AsyncIterable[bytes], spool: IO[bytes]) -> str:
    """Keep the body in `spool`; its SHA-256."""
    digest = hashlib.sha256()
    try:
        async for chunk in body:
            spool.write(chunk)
            digest.update(chunk)
        spool.seek(0)
    except OSError as error:
        raise StoreUnavailableError(
            f"the upload cannot be kept: {error.strerror}.", remedy="Try again later."
        ) from error
    return digest.hexdigest()


def _shown(jobs: Jobs, job_id: str, take: Callable[[], bool]) -> Submitted:
    is_repeat = take()
    return Submitted(jobs.job(job_id), is_repeat)


def _is_known(jobs: Jobs, job_id: str) -> bool:
    try:
        jobs.job(job_id)
    except NotFoundError:
        return False
    return True


def _submit(app: App, spool: IO[bytes], wanted: Submission, job_id: str, fingerprint: str) -> bool:
    """Check all lines, then store them; True = the same request came at the same time and made the job."""
    resolve = partial(app.asking.resolve, allowed=wanted.caller.experts or ())
    bodies = BatchBodies(resolve, any_model=wanted.composition is not None)
    check_lines(spool, BODY, read_body=bodies)
    options, read_body, compositions = bodies.job_terms(wanted.composition)
    update = {"job_id": job_id, "fingerprint": fingerprint}
    spool.seek(0)
    try:
        app.jobs.submit(
            iter_lines(spool, BODY, read_body=read_body),
            options.model_copy(update=update).by(wanted.caller),
            label=wanted.label,
            deadline_s=wanted.deadline_s,
            compositions=compositions,
            reuses=wanted.reuses,
        )
    except StoreError as error:
        if error.param != "id":
            raise
        return _repeat(app, spool, wanted, job_id, fingerprint)
    return False


def _repeat(app: App, _: IO[bytes], __: Submission, job_id: str, fingerprint: str) -> bool:
    """True: the job is there, and whoever can go on with it is told.

    Raises:
        IdempotencyMismatchError: the job of this key came of another request.
    """
    if app.jobs.job(job_id).job.fingerprint != fingerprint:
        raise IdempotencyMismatchError(
            "this Idempotency-Key came with another content before.",
            param="Idempotency-Key",
            remedy="Use a new key for a new job.",
        )
    app.jobs.ring()
    return True
