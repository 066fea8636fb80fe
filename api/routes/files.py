"""`/v1/files`: the lines of batches are uploaded, and what was written of them is downloaded."""

import hashlib
import re
from functools import partial
from typing import IO, Annotated, NamedTuple

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import StreamingResponse

from api.deps import AfterParam, AppDep, CallerDep, OrderParam
from api.errors import BodyTooLargeError, MediaTypeError, fields_error
from api.idempotency import OnceDep, Work
from api.schemas.batches import ExpiresAfter
from api.schemas.files import FileDeletedView, FileList, FileView
from api.views.files import MEDIA_TYPE, download_headers, file_list, file_view
from orchestrator.domain.batches import Purpose, StoredFile
from orchestrator.domain.keys import require_own
from orchestrator.errors import InputError, StoreUnavailableError
from orchestrator.ports.batches import Page

PATH = "/v1/files"
FORM = "multipart/form-data"
ROOM_BYTES = 1 << 20
"""Of an upload, beside its file."""
MAX_FIELDS, MAX_FIELD_BYTES = 8, 4096
MAX_LIMIT = 10_000
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\\ud800-\udfff]{1,255}")
_FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
_FORM_SCHEMA = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": ["batch"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
}

router = APIRouter(prefix=PATH, tags=["files"])


@router.post(
    "",
    response_model=FileView,
    openapi_extra={"requestBody": {"required": True, "content": {FORM: {"schema": _FORM_SCHEMA}}}},
)
async def upload_file(request: Request, app: AppDep, caller: CallerDep, once: OnceDep) -> Response:
    """Keep a file of lines (`purpose`: batch), up to 200 MB. It comes in on disk, part by part, and is kept
    in the database. Without `expires_after` it goes after `muster.retention.file_days`."""
    upload = await _received(request)
    try:
        if upload.n_bytes > app.settings.muster.server.max_upload_bytes:
            raise BodyTooLargeError("the file is too large.", param="file", remedy="Split it.")
        given = [upload.filename, upload.kept_s, await run_in_threadpool(_digest, upload.content)]
        file = StoredFile(
            id="",
            owner=caller.owner_id,
            purpose=Purpose.BATCH,
            filename=upload.filename,
            expires_at=app.files.expiry(upload.kept_s),
        )
        return await once(partial(_kept, app, upload, file), content=given)
    finally:
        if not upload.is_taken:
            upload.content.close()


@router.get("")
def list_files(
    app: AppDep,
    caller: CallerDep,
    purpose: Purpose | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of the page.")] = MAX_LIMIT,
    after: AfterParam = None,
    order: OrderParam = "desc",
) -> FileList:
    """Files of the key; to an admin all."""
    page = Page(limit + 1, after, caller.sees_of, oldest_first=order == "asc")
    return file_list(app.files.files(page, purpose=purpose), limit=limit)


def own_file(file_id: str, app: AppDep, caller: CallerDep) -> StoredFile:
    """File, in the path, of the caller's own; another's is as one that there is not.

    Raises:
        NotFoundError: no such file.
    """
    file = app.files.file(file_id)
    require_own(file.owner, caller, kind="file", name=file_id)
    return file


OwnFileDep = Annotated[StoredFile, Depends(own_file)]


@router.get("/{file_id}")
def get_file(file: OwnFileDep) -> FileView:
    """Show one file."""
    return file_view(file)


@router.get("/{file_id}/content", response_class=Response)
def get_content(file: OwnFileDep, app: AppDep) -> StreamingResponse:
    """Content of a file."""
    content = app.files.content(file.id)
    return StreamingResponse(content, media_type=MEDIA_TYPE, headers=download_headers(file))


@router.delete("/{file_id}")
def delete_file(file: OwnFileDep, app: AppDep) -> FileDeletedView:
    """Delete a file. 409 while a batch that has not ended reads it."""
    app.files.delete(file.id)
    app.keyed.forget(file.id)
    return FileDeletedView(id=file.id)


class _Upload:
    """A file as it came. `is_taken`: somebody else closes it."""

    def __init__(self, filename: str, content: IO[bytes], n_bytes: int, kept_s: int | None) -> None:
        self.filename = filename
        self.content = content
        self.n_bytes = n_bytes
        self.kept_s = kept_s
        self.is_taken = False


async def _kept(app: AppDep, upload: _Upload, file: StoredFile, work: Work) -> Response:
    upload.is_taken = True
    named = file.replaced(id=f"file-{work.unique}")
    try:
        kept = await run_in_threadpool(app.files.keep, named, upload.content)
    finally:
        upload.content.close()
    return Response(file_view(kept).model_dump_json(), media_type="application/json")


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    content.seek(0)
    return digest


async def _received(request: Request) -> _Upload:
    """
    Raises:
        MediaTypeError: no form. InputError: a form that lacks something, or has too much.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != FORM:
        raise MediaTypeError(f"Content-Type is '{kind[:80]}'.", remedy=f"Send a form as {FORM}.")
    try:
        form = await request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except OSError as error:
        raise StoreUnavailableError(
            f"the upload cannot be kept: {error.strerror}.", remedy="Try again later."
        ) from error
    try:
        return _upload(form)
    except InputError:
        await form.close()
        raise


class _Said(NamedTuple):
    """Fields of a form beside its file."""

    purpose: str
    expires_after: ExpiresAfter | None


def _upload(form: FormData) -> _Upload:
    items = form.multi_items()
    unknown = next((name for name, _ in items if name not in _FIELDS), None)
    if unknown is not None:
        raise InputError(f"unknown field '{unknown[:80]}'.", param=unknown[:80], remedy=f"Give {_FIELDS}.")
    twice = next((name for name in _FIELDS if len(form.getlist(name)) > 1), None)
    if twice is not None:
        raise InputError(f"'{twice}' comes twice.", param=twice)
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InputError("there is no file.", param="file", remedy="Send it as the part `file`, with a name.")
    said = _said(form)
    if not file.filename or not _NAME.fullmatch(file.filename):
        raise InputError(
            "the file's name must be 1 to 255 characters, without slashes and control characters.",
            param="file",
        )
    if not file.size:
        raise InputError("the file is empty.", param="file", remedy="Write one request a line.")
    kept_s = None if said.expires_after is None else said.expires_after.seconds
    return _Upload(file.filename, file.file, file.size, kept_s)


def _said(form: FormData) -> _Said:
    if form.get("purpose") != Purpose.BATCH.value:
        raise InputError("purpose must be 'batch'.", param="purpose")
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return _Said(Purpose.BATCH.value, None)
    try:
        given = ExpiresAfter.model_validate({"anchor": anchor, "seconds": seconds}, strict=False)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="expires_after.") from None
    return _Said(Purpose.BATCH.value, given)
