"""Terms of a chat request: what it says of how its question is to be answered, as the core knows it."""

from collections.abc import Collection

from api.schemas.chat_messages import FunctionTool, NamedTool
from api.schemas.chat_request import ChatRequest
from orchestrator.domain.queries import AnswerType
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.terms import ANY_OBJECT, MOST_SESSION_CHARS, SamplingExtras, StructuredOutput
from orchestrator.domain.tools import Tool, ToolUse
from orchestrator.errors import InputError
from orchestrator.questions.json_schemas import SchemaError, checked


def options_of(request: ChatRequest) -> AskOptions:
    """Demands of a chat request on its answer, its fields not looked at for what nobody knows.

    Raises:
        InputError: fields that contradict each other.
    """
    said = request.muster
    if said.composition is not None and request.model not in ("auto", said.composition):
        raise InputError(
            "model and muster.composition name two things; send the model 'auto'.", param="muster.composition"
        )
    return AskOptions(
        model=said.composition or request.model,
        router=said.router,
        k=said.k,
        experts=tuple(dict.fromkeys(said.experts or ())),
        max_tokens=_max_tokens(request),
        temperature=request.temperature,
        top_p=None if request.top_p == 1 else request.top_p,
        stop=_stop(request.stop),
        extras=_extras(request),
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        reasoning_effort=request.reasoning_effort,
        structured_output=_structured(request),
        tools=_tools(request),
        seed=request.seed,
        max_cost_usd=said.max_cost_usd,
        max_seconds=said.max_seconds,
        trace=bool(said.trace),
    )


def session_of(request: ChatRequest, fields: Collection[str]) -> str | None:
    """The conversation that a request is a turn of; None = it names none.

    Args:
        fields: of the request, that name it where `muster.session` does not.
    """
    names = (request.muster.session, *(getattr(request, field) for field in fields))
    return next((name[:MOST_SESSION_CHARS] for name in names if name), None)


def _max_tokens(request: ChatRequest) -> int | None:
    old, new = request.max_tokens, request.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise InputError("max_tokens and max_completion_tokens differ; give one.", param="max_tokens")
    return old if new is None else new


def _stop(words: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words or () if word))


def _extras(request: ChatRequest) -> SamplingExtras | None:
    """Values that say nothing (0, a repetition penalty of 1, no biases) are as if they were not given."""
    extras = SamplingExtras(
        top_k=request.top_k if request.top_k and request.top_k > 0 else None,
        min_p=request.min_p or None,
        frequency_penalty=request.frequency_penalty or None,
        presence_penalty=request.presence_penalty or None,
        repetition_penalty=None if request.repetition_penalty == 1 else request.repetition_penalty,
        logit_bias=tuple((int(token), bias) for token, bias in (request.logit_bias or {}).items() if bias),
    )
    return extras if extras.features else None


def _structured(request: ChatRequest) -> StructuredOutput | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if request.muster.options or request.muster.answer_type not in (None, AnswerType.TEXT, AnswerType.JSON):
        raise InputError(
            "response_format asks for JSON, and muster.options or muster.answer_type for another form.",
            param="response_format",
        )
    form = wanted.json_schema
    if wanted.type == "json_object" or form is None or form.schema_ is None:
        return StructuredOutput(json_schema=dict(ANY_OBJECT))
    try:
        schema = checked(form.schema_)
    except SchemaError as error:
        raise InputError(str(error), param="response_format.json_schema.schema") from None
    return StructuredOutput(json_schema=schema, name=form.name, strict=bool(form.strict))


def _tools(request: ChatRequest) -> ToolUse | None:
    """None where no tool may be called, whatever is offered."""
    offered = [tool.function for tool in request.tools or ()] or list(request.functions or ())
    choice = request.tool_choice if request.tools else request.function_call
    if not offered or choice == "none":
        return None
    names = [tool.name for tool in offered]
    if len(set(names)) < len(names):
        raise InputError("tools: two have the same name; each needs its own.", param="tools")
    tools = tuple(_tool(tool) for tool in offered)
    if choice is None or isinstance(choice, str):
        return ToolUse(
            tools=tools,
            choice="required" if choice == "required" else "auto",
            parallel=request.parallel_tool_calls,
        )
    name = choice.function.name if isinstance(choice, NamedTool) else choice.name
    if name not in names:
        raise InputError(f"tool_choice: there is no tool '{name[:64]}' among the tools.", param="tool_choice")
    return ToolUse(tools=tools, choice="named", name=name, parallel=request.parallel_tool_calls)


def _tool(tool: FunctionTool) -> Tool:
    return Tool(**tool.model_dump())
