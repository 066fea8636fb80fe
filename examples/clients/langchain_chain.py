"""A LangChain chain over Muster: a prompt, the pool as one chat model, and the text; whole, and streamed.

pip install langchain langchain-openai
python langchain_chain.py ["Write 1984 in Roman numerals."]
"""

import os
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8321/v1")
QUESTION = sys.argv[1] if sys.argv[1:] else "Write 1984 in Roman numerals."

pool = ChatOpenAI(model="auto", base_url=URL, api_key=os.environ.get("OPENAI_API_KEY", "none"))
chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | pool | StrOutputParser()

print(chain.invoke({"question": QUESTION}))
print("".join(chain.stream({"question": QUESTION})))
