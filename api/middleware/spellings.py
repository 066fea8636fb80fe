"""Spellings of requests that mean the same: a slash at the end of a path, HEAD for GET."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class TrailingSlash:
    """Reads `/v1/models/` as `/v1/models`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and len(path) > 1 and path.endswith("/") and not path.endswith("//"):
            scope = {**scope, "path": path[:-1], "raw_path": scope.get("raw_path", b"").removesuffix(b"/")}
        await self.app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET without its body; a stream ends before it begins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def receive_end() -> Message:
            return {"type": "http.disconnect"} if has_begun else await receive()

        async def send_heading(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                await send(message)
            elif not has_begun:
                has_begun = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, receive_end, send_heading)
