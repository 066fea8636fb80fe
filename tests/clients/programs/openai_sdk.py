"""openai for Python, the current one and 1.x, as its README uses it."""

import json
import time

import openai
from pydantic import BaseModel
from reporting import (
    CITY,
    FRANCE,
    KEY,
    LONG,
    NAME,
    REFUSED,
    URL,
    WEATHER,
    WHO,
    feature,
    main,
    status_of,
)

client = openai.OpenAI(base_url=URL, api_key=KEY)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class City(BaseModel):
    name: str
    population: int


def user(text):
    return {"role": "user", "content": text}


def said(messages, **options):
    completion = client.chat.completions.create(model="auto", messages=messages, **options)
    return completion.choices[0].message


@feature
def chat():
    return said([user(FRANCE)]).content


@feature
def stream():
    chunks = list(
        client.chat.completions.create(
            model="auto", messages=[user(FRANCE)], stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage.total_tokens > 0
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@feature
def multi_turn():
    first = [{"role": "system", "content": "Be kind."}, user(NAME)]
    return said([*first, said(first), user(WHO)]).content


@feature
def structured():
    completion = client.chat.completions.parse(model="auto", messages=[user(CITY)], response_format=City)
    return completion.choices[0].message.parsed.model_dump()


@feature
def json_object():
    text = said([user(CITY + " Answer as JSON.")], response_format={"type": "json_object"}).content
    return json.loads(text)["name"]


@feature
def tools():
    messages = [user(WEATHER)]
    while (message := said(messages, tools=[TOOL])).tool_calls:
        messages.append(message)
        for call in message.tool_calls:
            assert json.loads(call.function.arguments) == {"city": "Paris"}
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    return message.content


@feature
def streamed_tools():
    with client.chat.completions.stream(model="auto", messages=[user(WEATHER)], tools=[TOOL]) as events:
        for _ in events:
            pass
        [call] = events.get_final_completion().choices[0].message.tool_calls
    return json.loads(call.function.arguments)


@feature
def wrong_model():
    return status_of(lambda: client.chat.completions.create(model="gpt-x", messages=[user(FRANCE)]))


@feature
def too_long():
    return status_of(lambda: said([user(LONG)]))


@feature
def refused():
    return status_of(lambda: said([user(REFUSED)]))


@feature
def models():
    listed = [model.id for model in client.models.list()]
    return "auto" in listed and client.models.retrieve(listed[-1]).id == listed[-1]


@feature
def completions():
    return client.completions.create(model="alpha", prompt=FRANCE).choices[0].text


@feature
def embeddings():
    vectors = client.embeddings.create(model="embed", input=["one", "two"]).data
    return [vector.index for vector in vectors] if len(vectors[0].embedding) > 8 else None


@feature
def responses():
    first = client.responses.create(model="auto", input=NAME)
    second = client.responses.create(model="auto", input=WHO, previous_response_id=first.id)
    assert client.responses.retrieve(second.id).output_text == second.output_text
    return second.output_text


@feature
def streamed_responses():
    events = client.responses.create(model="auto", input=FRANCE, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


@feature
def responses_parse():
    return client.responses.parse(model="auto", input=CITY, text_format=City).output_parsed.model_dump()


def lines(*texts):
    form = {"method": "POST", "url": "/v1/chat/completions"}
    bodies = [{"model": model, "messages": [user(FRANCE)]} for model in texts]
    rows = [{"custom_id": str(n), **form, "body": body} for n, body in enumerate(bodies)]
    return "\n".join(map(json.dumps, rows)).encode()


def ended(batch, within_s=120):
    deadline = time.monotonic() + within_s
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch.status
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


@feature
def batch():
    file = client.files.create(file=("in.jsonl", lines("auto", "alpha", "beta")), purpose="batch")
    assert client.files.retrieve(file.id).filename == "in.jsonl"
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    done = ended(made)
    rows = map(json.loads, client.files.content(done.output_file_id).text.splitlines())
    texts = {row["response"]["body"]["choices"][0]["message"]["content"] for row in rows}
    assert client.files.delete(file.id).deleted
    return [done.status, done.request_counts.completed, *texts]


@feature
def batch_cancel():
    file = client.files.create(file=("in.jsonl", lines(*["auto"] * 20)), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert made.id in [batch.id for batch in client.batches.list(limit=5)]
    return ended(client.batches.cancel(made.id)).status in ("cancelled", "completed")


@feature
def batch_refused():
    file = client.files.create(file=("in.jsonl", lines("auto", "gpt-x")), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    done = ended(made)
    return [done.status, done.errors.data[0].line]


@feature
def idempotency():
    key = {"Idempotency-Key": f"key-{openai.VERSION}-{time.time_ns()}"}
    twice = [
        client.chat.completions.create(model="auto", messages=[user(FRANCE)], extra_headers=key)
        for _ in range(2)
    ]
    other = status_of(
        lambda: client.chat.completions.create(model="auto", messages=[user(WHO)], extra_headers=key)
    )
    return [twice[0].id == twice[1].id, other]


main()
