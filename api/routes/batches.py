"""`/v1/batches`: the lines of files, answered within a window."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from api.deps import AppDep, CallerDep, PageDep
from api.idempotency import OnceDep, Work
from api.middleware.strict_json import StrictRoute
from api.routes.files import own_file
from api.schemas.batches import BatchList, BatchRequest, BatchView
from api.views.batches import batch_list, batch_view, new_batch
from orchestrator.domain.batches import Batch
from orchestrator.domain.keys import require_own
from orchestrator.ports.batches import Page

PATH = "/v1/batches"

router = APIRouter(route_class=StrictRoute, prefix=PATH, tags=["batches"])


@router.post("", response_model=BatchView)
async def create_batch(body: BatchRequest, app: AppDep, caller: CallerDep, once: OnceDep) -> Response:
    """Answer the lines of a file within `completion_window`. They are checked first, all or nothing; each may
    name its own `model`, sampling and endpoint, and each engine is loaded once for all of them. Order is not
    promised: match answers by `custom_id`."""
    return await once(partial(_created, body, app, caller))


async def _created(body: BatchRequest, app: AppDep, caller: CallerDep, work: Work) -> Response:
    batch = new_batch(body, batch_id=f"batch_{work.unique}", created=float(work.created), caller=caller)
    created = await run_in_threadpool(_create, batch, app, caller)
    return Response(batch_view(created).model_dump_json(), media_type="application/json")


def _create(batch: Batch, app: AppDep, caller: CallerDep) -> Batch:
    own_file(batch.input_file_id, app, caller)
    return app.batches.create(batch)


@router.get("")
def list_batches(app: AppDep, caller: CallerDep, page: PageDep) -> BatchList:
    """Batches of the key; to an admin all."""
    wanted = Page(page.limit + 1, page.after, caller.sees_of, oldest_first=not page.is_newest_first)
    return batch_list(app.batches.batches(wanted), limit=page.limit)


def own_batch(batch_id: str, app: AppDep, caller: CallerDep) -> Batch:
    """Batch, in the path, of the caller's own; another's is as one that there is not.

    Raises:
        NotFoundError: no such batch.
    """
    batch = app.batches.batch(batch_id)
    require_own(batch.owner, caller, kind="batch", name=batch_id)
    return batch


OwnBatchDep = Annotated[Batch, Depends(own_batch)]


@router.get("/{batch_id}")
def get_batch(batch: OwnBatchDep) -> BatchView:
    """Show one batch, and how far it is."""
    return batch_view(batch)


@router.post("/{batch_id}/cancel")
def cancel_batch(batch: OwnBatchDep, app: AppDep) -> BatchView:
    """Cancel a batch: what is answered is kept, and written to its output file. One that has ended stays as
    it is."""
    return batch_view(app.batches.cancel(batch.id))
