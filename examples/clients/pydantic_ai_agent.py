"""A pydantic-ai agent whose model is the pool; a second question goes on with the conversation.

pip install 'pydantic-ai-slim[openai]'
python pydantic_ai_agent.py ["Write 1984 in Roman numerals." ["And 1985?"]]
"""

import os
import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8321/v1")
QUESTIONS = sys.argv[1:] or ["Write 1984 in Roman numerals."]

provider = OpenAIProvider(base_url=URL, api_key=os.environ.get("OPENAI_API_KEY", "none"))
agent = Agent(OpenAIChatModel("auto", provider=provider))

said = []
for question in QUESTIONS:
    result = agent.run_sync(question, message_history=said)
    said = result.all_messages()
    print(result.output)
