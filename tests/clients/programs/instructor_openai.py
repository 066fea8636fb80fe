"""instructor over openai, as its documentation uses it."""

import instructor
import openai
from pydantic import BaseModel
from reporting import CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WHO, feature, main

plain = openai.OpenAI(base_url=URL, api_key=KEY)
client = instructor.from_openai(plain)


class City(BaseModel):
    name: str
    population: int


def create(text, *, client=client, model="auto", before=()):
    messages = [*before, {"role": "user", "content": text}]
    return client.chat.completions.create(model=model, response_model=City, messages=messages)


def how_it_failed(act):
    """instructor wraps what its retries met."""
    try:
        act()
    except Exception as error:
        cause = error
        while cause is not None and not isinstance(cause, openai.APIStatusError):
            cause = cause.__cause__ or cause.__context__
        return [type(cause).__name__, getattr(cause, "status_code", None)]
    return "no error"


@feature
def chat():
    messages = [{"role": "user", "content": FRANCE}]
    return (
        client.chat.completions.create(model="auto", response_model=None, messages=messages)
        .choices[0]
        .message.content
    )


@feature
def stream():
    messages = [{"role": "user", "content": CITY}]
    parts = client.chat.completions.create_partial(model="auto", response_model=City, messages=messages)
    return list(parts)[-1].model_dump()


@feature
def multi_turn():
    before = [{"role": "user", "content": NAME}, {"role": "assistant", "content": "Hello."}]
    return create(WHO, before=before).model_dump()


@feature
def structured():
    return create(CITY).model_dump()


@feature
def structured_by_schema():
    return create(CITY, client=instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)).model_dump()


@feature
def structured_by_json():
    return create(CITY, client=instructor.from_openai(plain, mode=instructor.Mode.JSON)).model_dump()


@feature
def wrong_model():
    return how_it_failed(lambda: create(CITY, model="gpt-x"))


@feature
def too_long():
    return how_it_failed(lambda: create(LONG))


@feature
def refused():
    return how_it_failed(lambda: create(REFUSED))


main()
