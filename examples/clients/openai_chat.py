"""Ask through the `openai` client: the answer, who gave it and why, and the words of one expert as they come.

pip install openai
python openai_chat.py ["Write 1984 in Roman numerals."]
"""

import os
import sys

from openai import OpenAI

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8321/v1")
QUESTION = sys.argv[1] if sys.argv[1:] else "Write 1984 in Roman numerals."

client = OpenAI(base_url=URL, api_key=os.environ.get("OPENAI_API_KEY", "none"))
messages = [{"role": "user", "content": QUESTION}]

reply = client.chat.completions.create(model="auto", messages=messages)
print(reply.choices[0].message.content)
muster = reply.model_extra["muster"]
print("recruited:", ", ".join(muster["recruits"]))
print("confidence:", muster["confidence"])

# An expert of its own accord: its id is the model's name.
best = muster["recruits"][0]
for chunk in client.chat.completions.create(model=best, messages=messages, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
