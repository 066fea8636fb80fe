// Server-sent events of a response to fetch(): each `data:` as an object, "[DONE]" ends them, and nothing else does.

import { NO_KEY } from "./lost.js";

export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new TypeError("the stream ended before its end");
      rest += value;
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Message of an error response in OpenAI's form.
export async function messageOf(response) {
  if (response.status === 401) return NO_KEY;
  try {
    const body = await response.json();
    const lines = (body.error.lines || []).slice(0, 10).map((line) => `line ${line.line}: ${line.message}`);
    return [body.error.message, ...lines].join("\n");
  } catch {
    return `The server answered ${response.status}.`;
  }
}
