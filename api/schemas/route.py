"""Wire types of `/v1/route`."""

from typing import Literal

from pydantic import (
    Field,
)

from api.schemas.base import Wire, shown_as
from api.schemas.chat_messages import ChatMessage
from api.schemas.chat_request import AnswerTypeName
from api.schemas.decisions import DecisionView


class RouteRequest(Wire):
    """`POST /v1/route`: give `question` or `messages`."""

    model_config = shown_as(question="What is 7 times 8?", options=["54", "56", "63"], model="auto")

    question: str | None = None
    messages: list[ChatMessage] | None = Field(default=None, min_length=1, max_length=2048)
    options: list[str] | None = None
    answer_type: AnswerTypeName | None = None
    model: str = Field(default="auto", min_length=1, max_length=512)


class RouteView(DecisionView):
    object: Literal["muster.route"] = "muster.route"
    model: str
