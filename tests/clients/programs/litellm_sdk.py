"""The SDK of LiteLLM, as its documentation uses it."""

import json

import litellm
from pydantic import BaseModel
from reporting import CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, feature, main, status_of

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather for a given city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    name: str
    population: int


def complete(messages, *, model="openai/auto", **options):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return litellm.completion(model=model, messages=messages, api_base=URL, api_key=KEY, **options)


def said(messages, **options):
    return complete(messages, **options).choices[0].message


@feature
def chat():
    return said(FRANCE).content


@feature
def stream():
    return "".join(part.choices[0].delta.content or "" for part in complete(FRANCE, stream=True))


@feature
def multi_turn():
    messages = [{"role": "user", "content": NAME}]
    messages += [said(messages).model_dump(), {"role": "user", "content": WHO}]
    return said(messages).content


@feature
def structured():
    return json.loads(said(CITY, response_format=City).content)


@feature
def tools():
    messages = [{"role": "user", "content": WEATHER}]
    while (message := said(messages, tools=[TOOL], tool_choice="auto")).tool_calls:
        messages.append(message)
        for call in message.tool_calls:
            assert json.loads(call.function.arguments) == {"city": "Paris"}
            result = {"tool_call_id": call.id, "role": "tool", "name": call.function.name, "content": "sunny"}
            messages.append(result)
    return message.content


@feature
def completions():
    asked = {"model": "text-completion-openai/alpha", "api_base": URL, "api_key": KEY}
    return litellm.text_completion(prompt=FRANCE, **asked).choices[0].text


@feature
def embeddings():
    vectors = litellm.embedding(model="openai/embed", input=["one", "two"], api_base=URL, api_key=KEY).data
    return [vector["index"] for vector in vectors]


@feature
def wrong_model():
    return status_of(lambda: complete(FRANCE, model="openai/gpt-x"))


@feature
def too_long():
    return status_of(lambda: complete(LONG))


@feature
def refused():
    return status_of(lambda: complete(REFUSED))


main()
