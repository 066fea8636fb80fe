"""langchain-openai, as LangChain's documentation uses it."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from reporting import CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, feature, main, status_of

llm = ChatOpenAI(model="auto", base_url=URL, api_key=KEY)


class City(BaseModel):
    """A city."""

    name: str
    population: int


def get_weather(city: str) -> str:
    """Get weather for a given city."""
    return "sunny" if city == "Paris" else "unknown"


@feature
def chat():
    return llm.invoke(FRANCE).content


@feature
def stream():
    return "".join(chunk.content for chunk in llm.stream(FRANCE))


@feature
def multi_turn():
    messages = [("system", "Be kind."), ("human", NAME)]
    return llm.invoke([*messages, llm.invoke(messages), ("human", WHO)]).content


@feature
def structured():
    return llm.with_structured_output(City).invoke(CITY).model_dump()


@feature
def structured_by_tool():
    return llm.with_structured_output(City, method="function_calling").invoke(CITY).model_dump()


@feature
def tools():
    agent = create_agent(model=llm, tools=[get_weather], system_prompt="You are a helpful assistant")
    return agent.invoke({"messages": [{"role": "user", "content": WEATHER}]})["messages"][-1].content


@feature
def wrong_model():
    return status_of(lambda: ChatOpenAI(model="gpt-x", base_url=URL, api_key=KEY).invoke(FRANCE))


@feature
def too_long():
    return status_of(lambda: llm.invoke(LONG))


@feature
def refused():
    return status_of(lambda: llm.invoke(REFUSED))


main()
