"""Wire types of `/v1/files`."""

from typing import Literal

from api.schemas.base import Wire


class FileView(Wire):
    """A file; `bytes`: its size. `status` is always `processed`: OpenAI's API has given the field up."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"


class FileList(Wire):
    object: Literal["list"] = "list"
    data: list[FileView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeletedView(Wire):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
