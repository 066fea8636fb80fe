"""Request ids, as plain ASGI middleware."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.runtime.context import bound

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIds:
    """Gives every request an id and returns it.

    `x-muster-request-id` is always ours. `x-request-id` repeats the client's when it is 1 to 128
    letters, digits or `._:-`, and is ours otherwise. A handler may leave `decision_id` in the
    request's state; it is returned as `x-muster-decision-id`, on errors too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own = f"req_{uuid.uuid4().hex}"
        sent = Headers(scope=scope).get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = sent if _SANE_ID.fullmatch(sent) else own

        async def send_with_ids(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = state["request_id"]
                headers["x-muster-request-id"] = own
                if "decision_id" in state:
                    headers["x-muster-decision-id"] = state["decision_id"]
            await send(message)

        with bound(request=state["request_id"]):
            await self.app(scope, receive, send_with_ids)
