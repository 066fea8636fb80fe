"""Files as they are shown, and their content as it is downloaded."""

from collections.abc import Sequence
from urllib.parse import quote

from api.schemas.files import FileList, FileView
from orchestrator.domain.batches import StoredFile

MEDIA_TYPE = "application/octet-stream"


def file_view(file: StoredFile) -> FileView:
    """A file in OpenAI's form; times in whole seconds since 1970."""
    return FileView(
        id=file.id,
        bytes=file.n_bytes,
        created_at=int(file.created_at),
        expires_at=None if file.expires_at is None else int(file.expires_at),
        filename=file.filename,
        purpose=file.purpose.value,
    )


def file_list(files: Sequence[StoredFile], *, limit: int) -> FileList:
    """One page of files; `files` holds one more where there are more."""
    views = [file_view(file) for file in files[:limit]]
    return FileList(
        data=views,
        first_id=views[0].id if views else None,
        last_id=views[-1].id if views else None,
        has_more=len(files) > limit,
    )


def download_headers(file: StoredFile) -> dict[str, str]:
    """Headers that have a browser keep the file under its name, and show it never."""
    name = quote(file.filename, safe="")
    return {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "content-length": str(file.n_bytes),
        "x-content-type-options": "nosniff",
    }
