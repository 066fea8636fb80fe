"""Send a file of questions through the `openai` client's batches; each line names its own model.

pip install openai
python batch_file.py
"""

import json
import os
import sys
import time

from openai import OpenAI

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8321/v1")
QUESTIONS = sys.argv[1:] or ["Write 1984 in Roman numerals.", "How much is 3 kilometres in metres?"]

client = OpenAI(base_url=URL, api_key=os.environ.get("OPENAI_API_KEY", "none"))
lines = [
    {
        "custom_id": f"q{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "auto", "messages": [{"role": "user", "content": question}]},
    }
    for number, question in enumerate(QUESTIONS)
]
content = "\n".join(map(json.dumps, lines)).encode()

file = client.files.create(file=("questions.jsonl", content), purpose="batch")
batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
while batch.status in ("validating", "in_progress", "finalizing"):
    time.sleep(0.5)
    batch = client.batches.retrieve(batch.id)
print(batch.status, batch.request_counts.completed, "of", batch.request_counts.total)
for line in client.files.content(batch.output_file_id).text.splitlines():
    answer = json.loads(line)
    print(answer["custom_id"], answer["response"]["body"]["choices"][0]["message"]["content"])
