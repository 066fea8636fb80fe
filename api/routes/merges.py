"""`/v1/merges`: checkpoints that become one expert: asked for, looked at, cancelled, taken up again."""

import json

from fastapi import APIRouter, Response

from api.deps import AppDep, PageDep
from api.middleware.strict_json import StrictRoute
from api.schemas.merges import MergeRequest, MergeView
from api.schemas.pages import PageView
from api.views.merges import merge_view
from api.views.pages import page_view
from orchestrator.errors import ConfigError, InputError

PATH = "/v1/merges"

router = APIRouter(route_class=StrictRoute, tags=["merges"])


@router.post(PATH, status_code=202)
def post_merge(body: MergeRequest, response: Response, app: AppDep) -> MergeView:
    """Ask for a merge. The recipe may name models below `muster.merges.read` only, and the result appears
    below `muster.merges.write`; without both, every merge is refused with 403."""
    recipe = body.recipe if isinstance(body.recipe, str) else json.dumps(body.recipe)
    try:
        job = app.merging.submit(recipe, body.out, seed=body.seed, profile=body.profile, force=body.force)
    except ConfigError as error:  # the recipe is the caller's, not ours
        raise InputError(_without_file(error), param="recipe") from error
    response.headers["location"] = f"{PATH}/{job.id}"
    return merge_view(job)


@router.get(PATH)
def list_merges(app: AppDep, page: PageDep) -> PageView[MergeView]:
    """List merges in the order in which they were asked for."""
    found = app.pages.merge_page(page)
    return page_view(
        [merge_view(job) for job in found.items], id_of=lambda view: view.id, has_more=found.has_more
    )


@router.get(PATH + "/{merge_id}")
def get_merge(merge_id: str, app: AppDep) -> MergeView:
    """Show one merge, and how far it is."""
    return merge_view(app.merging.job(merge_id))


@router.post(PATH + "/{merge_id}/cancel")
def cancel_merge(merge_id: str, app: AppDep) -> MergeView:
    """End a merge; what is done is kept, and it can be resumed. One that has ended stays as it is."""
    return merge_view(app.merging.cancel(merge_id))


@router.post(PATH + "/{merge_id}/resume", status_code=202)
def resume_merge(merge_id: str, app: AppDep) -> MergeView:
    """Take a merge up again that was interrupted, cancelled, or failed."""
    return merge_view(app.merging.resume(merge_id))


def _without_file(error: ConfigError) -> str:
    """The message with the line in the recipe, and not with the place where it was kept."""
    message = str(error)
    if error.file is not None:
        message = message.removeprefix(error.file).lstrip(":")
        message = f"recipe:{message}" if error.line is not None else f"recipe: {message.strip()}"
    return message
