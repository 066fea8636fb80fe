"""A model server that follows rules: it calls the tool that is asked for, fills the schema that is given,
remembers what was said before, and otherwise answers as `ANSWERS` says."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.openai_server import LocalServer, QuietHandler

MODELS = ("alpha", "beta", "gamma")
CONTEXT_WORDS = 4000
ANSWERS = {"capital of France": "Paris is the capital of France."}
REFUSED = "Refuse this of"
VALUES = {"name": "Paris", "city": "Paris", "population": 2_100_000}
"""Values of the fields of schemas, by their names."""

_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")
_NAMED = re.compile(r"`(\w+)`")
_NAME = re.compile(r"My name is (\w+)")


class Asked:
    """Requests so far, by the text of their last message."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()


def rule_server(asked: Asked) -> LocalServer:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            listed = [{"id": name, "object": "model"} for name in MODELS]
            self.reply(200, json.dumps({"object": "list", "data": listed}).encode())

        def do_POST(self) -> None:
            request = json.loads(self.read_body())
            words = sum(len(text_of(message).split()) for message in request["messages"])
            last = text_of(request["messages"][-1])
            asked.times[last] += 1
            if words > CONTEXT_WORDS:
                self._refuse(f"This model's maximum context length is {CONTEXT_WORDS} tokens.")
            elif REFUSED in last:
                self._refuse("refused, as the rules say.")
            elif request.get("stream"):
                self._stream(message_for(request), words, request)
            else:
                self.reply(200, json.dumps(completion(message_for(request), words)).encode())

        def _stream(self, message: dict[str, Any], words: int, request: Mapping[str, Any]) -> None:
            self.begin_stream()
            for delta in deltas(message):
                self.send_event(json.dumps(chunk({"index": 0, "delta": delta, "finish_reason": None})))
            end = {"index": 0, "delta": {}, "finish_reason": reason(message)}
            self.send_event(json.dumps(chunk(end)))
            if (request.get("stream_options") or {}).get("include_usage"):
                self.send_event(json.dumps({**chunk(), "usage": usage(words)}))
            self.send_event("[DONE]")

        def _refuse(self, message: str) -> None:
            code = "context_length_exceeded" if "context" in message else None
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
            self.reply(400, json.dumps({"error": error}).encode())

    return LocalServer(Handler)


# ── what is answered ──────────────────────────────────────────────────────────────────────────────


def message_for(request: Mapping[str, Any]) -> dict[str, Any]:
    """The assistant's message: calls of tools where they are due, else text."""
    messages = request["messages"]
    chosen = _chosen_tool(request)
    if chosen is not None:
        function = chosen["function"]
        arguments = json.dumps(filled(function.get("parameters") or {}))
        call = {"name": function["name"], "arguments": arguments}
        calls = [{"id": f"call_{len(messages)}", "type": "function", "function": call}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    return {"role": "assistant", "content": text_for(request)}


def _chosen_tool(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The tool that must be called; of those that may, the one that the question is about."""
    tools: Sequence[Mapping[str, Any]] = request.get("tools") or []
    choice = request.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return None
    if isinstance(choice, Mapping):
        return next(tool for tool in tools if tool["function"]["name"] == choice["function"]["name"])
    told = [message for message in request["messages"] if message["role"] == "tool"]
    fitting = [tool for tool in tools if "weather" in tool["function"]["name"]]
    if not told and fitting:
        return fitting[0]
    others = [tool for tool in tools if tool not in fitting]
    return others[0] if choice == "required" and others else None


def text_for(request: Mapping[str, Any]) -> str:
    messages = request["messages"]
    last = text_of(messages[-1])
    form = request.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(filled(form["json_schema"]["schema"]))
    if form.get("type") == "json_object":
        return json.dumps(VALUES)
    if messages[-1]["role"] == "tool":
        return f"The weather is {last}."
    if "Respond with a JSON object" in last:
        names = _NAMED.findall(last.rpartition("Respond with a JSON object")[2])
        return json.dumps({name: VALUES if name == "city" else answer(last, last) for name in names})
    if (fields := _FIELD.findall(last.rpartition("Respond with")[2])) and fields[-1] == "completed":
        prompt = "\n".join(text_of(message) for message in messages)
        values = {name: _field(name, prompt, last) for name in fields[:-1]}
        lines = [f"[[ ## {name} ## ]]\n{value}\n" for name, value in values.items()]
        return "\n".join([*lines, "[[ ## completed ## ]]"])
    return answer("\n".join(text_of(message) for message in messages), last)


def answer(everything: str, last: str) -> str:
    if "what is my name" in last.lower() and (name := _NAME.search(everything)):
        return f"Your name is {name[1]}."
    return next((told for asked, told in ANSWERS.items() if asked in last), "I see.")


def _field(name: str, prompt: str, last: str) -> str:
    """An output field of a prompt that marks its fields."""
    is_told = "observation_0" in last
    known = {
        "next_thought": "I look.",
        "next_tool_name": "finish" if is_told else "get_weather",
        "next_tool_args": "{}" if is_told else json.dumps({"city": "Paris"}),
        "reasoning": "It is known.",
        "city": json.dumps({"name": VALUES["name"], "population": VALUES["population"]}),
    }
    return known.get(name) or ("The weather is sunny." if is_told else answer(prompt, last))


def filled(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, name: str = "") -> Any:
    """A value that the JSON schema allows."""
    root = schema if root is None else root
    if "$ref" in schema:
        found: Any = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return filled(found, root, name)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return filled(schema[key][0], root, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if name in VALUES:
        return VALUES[name]
    kind = schema.get("type", "object")
    if kind == "object":
        return {key: filled(part, root, key) for key, part in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [filled(schema.get("items") or {"type": "string"}, root, name)]
    return {"integer": 3, "number": 1.5, "boolean": True, "null": None}.get(kind, "text")


# ── how it is said ────────────────────────────────────────────────────────────────────────────────


def text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def reason(message: Mapping[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": words, "completion_tokens": 5, "total_tokens": words + 5}


def completion(message: Mapping[str, Any], words: int) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": reason(message), "logprobs": None}
    return {**chunk(choice), "object": "chat.completion", "usage": usage(words)}


def chunk(*choices: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-rules",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "rules",
        "choices": list(choices),
    }


def deltas(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Word by word, and calls in two parts, as servers stream them."""
    parts: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for index, call in enumerate(message.get("tool_calls") or []):
        head = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        rest = {"index": index, "function": {"arguments": call["function"]["arguments"]}}
        parts += [{"tool_calls": [head]}, {"tool_calls": [rest]}]
    parts += [{"content": piece} for piece in re.findall(r"\s*\S+|\s+", message.get("content") or "")]
    return parts
