"""DSPy, as its documentation uses it."""

import asyncio

import dspy
from pydantic import BaseModel
from reporting import FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, feature, main, status_of

lm = dspy.LM("openai/auto", api_base=URL, api_key=KEY, cache=False)
dspy.configure(lm=lm)


class City(BaseModel):
    name: str
    population: int


class Describe(dspy.Signature):
    """Describe a city."""

    question: str = dspy.InputField()
    city: City = dspy.OutputField()


class Talk(dspy.Signature):
    """Talk."""

    question: str = dspy.InputField()
    history: dspy.History = dspy.InputField()
    answer: str = dspy.OutputField()


def get_weather(city: str) -> str:
    """Get weather for a given city."""
    return "sunny" if city == "Paris" else "unknown"


@feature
def chat():
    return dspy.Predict("question -> answer")(question=FRANCE).answer


@feature
def stream():
    async def run():
        listener = dspy.streaming.StreamListener(signature_field_name="answer")
        program = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
        async for part in program(question=FRANCE):
            if isinstance(part, dspy.Prediction):
                return part.answer
        return None

    return asyncio.run(run())


@feature
def multi_turn():
    history = dspy.History(messages=[{"question": NAME, "answer": "Hello."}])
    return dspy.Predict(Talk)(question=WHO, history=history).answer


@feature
def structured():
    return dspy.Predict(Describe)(question=FRANCE).city.model_dump()


@feature
def structured_by_json():
    with dspy.context(adapter=dspy.JSONAdapter()):
        return dspy.Predict(Describe)(question=FRANCE).city.model_dump()


@feature
def tools():
    return dspy.ReAct("question -> answer", tools=[get_weather])(question=WEATHER).answer


@feature
def wrong_model():
    return status_of(lambda: dspy.LM("openai/gpt-x", api_base=URL, api_key=KEY, cache=False)(FRANCE))


@feature
def too_long():
    return status_of(lambda: lm(LONG))


@feature
def refused():
    return status_of(lambda: lm(REFUSED))


main()
