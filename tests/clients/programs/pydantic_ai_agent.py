"""pydantic-ai, as its documentation uses it."""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from reporting import CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, feature, main, status_of


def model(name: str = "auto") -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=URL, api_key=KEY))


class City(BaseModel):
    name: str
    population: int


agent = Agent(model(), instructions="Be concise.")


@feature
def chat():
    return agent.run_sync(FRANCE).output


@feature
def stream():
    async def run() -> str:
        async with agent.run_stream(FRANCE) as result:
            return "".join([text async for text in result.stream_text(delta=True)])

    return asyncio.run(run())


@feature
def multi_turn():
    first = agent.run_sync(NAME)
    return agent.run_sync(WHO, message_history=first.all_messages()).output


@feature
def structured():
    return Agent(model(), output_type=City).run_sync(CITY).output.model_dump()


@feature
def structured_by_schema():
    from pydantic_ai import NativeOutput

    return Agent(model(), output_type=NativeOutput(City)).run_sync(CITY).output.model_dump()


@feature
def tools():
    helper = Agent(model())

    @helper.tool_plain
    def get_weather(city: str) -> str:
        """Get weather for a given city."""
        return "sunny" if city == "Paris" else "unknown"

    return helper.run_sync(WEATHER).output


@feature
def wrong_model():
    return status_of(lambda: Agent(model("gpt-x")).run_sync(FRANCE))


@feature
def too_long():
    return status_of(lambda: agent.run_sync(LONG))


@feature
def refused():
    return status_of(lambda: agent.run_sync(REFUSED))


main()
