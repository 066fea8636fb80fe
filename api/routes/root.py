"""`GET /`: where things are."""

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)

LINKS = {
    "chat": "/v1/chat/completions",
    "models": "/v1/models",
    "route": "/v1/route",
    "jobs": "/v1/jobs",
    "experts": "/v1/experts",
    "feedback": "/v1/feedback",
    "health": "/health/ready",
    "docs": "/docs",
    "openapi": "/openapi.json",
}


@router.get("/")
async def root() -> dict[str, str | dict[str, str]]:
    return {"name": "muster", "links": LINKS}
