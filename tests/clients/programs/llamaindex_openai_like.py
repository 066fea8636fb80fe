"""llama-index-llms-openai-like, as LlamaIndex' documentation uses it."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from reporting import CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, feature, main, status_of


def model(name: str = "auto") -> OpenAILike:
    return OpenAILike(
        model=name,
        api_base=URL,
        api_key=KEY,
        context_window=128_000,
        is_chat_model=True,
        is_function_calling_model=True,
    )


llm = model()


class City(BaseModel):
    """A city."""

    name: str
    population: int


def get_weather(city: str) -> str:
    """Get weather for a given city."""
    return "sunny" if city == "Paris" else "unknown"


@feature
def chat():
    return str(llm.complete(FRANCE))


@feature
def stream():
    return "".join(part.delta for part in llm.stream_complete(FRANCE))


@feature
def multi_turn():
    messages = [ChatMessage(role="system", content="Be kind."), ChatMessage(role="user", content=NAME)]
    reply = llm.chat(messages).message
    return llm.chat([*messages, reply, ChatMessage(role="user", content=WHO)]).message.content


@feature
def structured():
    return llm.as_structured_llm(City).complete(CITY).raw.model_dump()


@feature
def tools():
    async def run() -> str:
        agent = FunctionAgent(tools=[get_weather], llm=llm, system_prompt="You are a helpful assistant.")
        return str(await agent.run(WEATHER))

    return asyncio.run(run())


@feature
def completions():
    """By default it is no chat model."""
    plain = OpenAILike(model="alpha", api_base=URL, api_key=KEY)
    return str(plain.complete(FRANCE))


@feature
def wrong_model():
    return status_of(lambda: model("gpt-x").complete(FRANCE))


@feature
def too_long():
    return status_of(lambda: llm.complete(LONG))


@feature
def refused():
    return status_of(lambda: llm.complete(REFUSED))


main()
