"""Wire types of `/v1/merges`."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Wire, shown_as


class MergeRequest(Wire):
    """`POST /v1/merges`. `recipe`: mergekit's YAML as text, or the same as JSON. `out`: name of the result's
    folder. `profile`: measure the result and register it if it earns its place."""

    model_config = shown_as(
        recipe={
            "merge_method": "linear",
            "models": [
                {"model": "alpha", "parameters": {"weight": 0.5}},
                {"model": "beta", "parameters": {"weight": 0.5}},
            ],
            "dtype": "float32",
        },
        out="alpha-beta",
    )

    recipe: dict[str, Any] | str
    out: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    profile: bool = True
    force: bool = False


class MergeFiguresView(Wire):
    method: str
    out: str | None
    sha256: str | None
    seconds: float | None
    peak_rss_mb: float | None
    tensors: int | None


class MergeProblemView(Wire):
    kind: str
    severity: Literal["error", "warning"]
    model: str | None
    tensor: str | None
    have: Any
    want: Any


class PreflightView(Wire):
    ok: bool
    seconds: float
    problems: list[MergeProblemView]


class MergeView(Wire):
    """A merge. `merge`, `preflight` and `verdict` are there at its end, as `muster merge --json` prints them;
    `done` of `of`: tensors while `progress` is `merging`, calls while it is `measuring`. `interrupted`,
    `cancelled` and `failed` ones can be resumed."""

    id: str
    object: Literal["muster.merge"] = "muster.merge"
    state: str
    out: str
    progress: str
    done: int
    of: int
    created_at: float
    error: str | None
    merge: MergeFiguresView | None
    preflight: PreflightView | None
    verdict: str | None
