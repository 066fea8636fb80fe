"""The base of wire types. Requests refuse unknown fields and coerce nothing ("3" is not 3)."""

from pydantic import (
    BaseModel,
    ConfigDict,
)


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
