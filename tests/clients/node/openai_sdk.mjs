// openai for Node, as its README uses it.
import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, main, statusOf } from "./reporting.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
const City = z.object({ name: z.string(), population: z.number() });

const user = (content) => ({ role: "user", content });
const said = async (messages, options = {}) =>
  (await client.chat.completions.create({ model: "auto", messages, ...options })).choices[0].message;

async function ended(batch) {
  const deadline = Date.now() + 120_000;
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    if (Date.now() > deadline) throw new Error(batch.status);
    await new Promise((resolve) => setTimeout(resolve, 200));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

await main({
  chat: async () => (await said([user(FRANCE)])).content,

  async stream() {
    const stream = await client.chat.completions.create({
      model: "auto",
      messages: [user(FRANCE)],
      stream: true,
    });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
    return text;
  },

  async multi_turn() {
    const first = [{ role: "system", content: "Be kind." }, user(NAME)];
    return (await said([...first, await said(first), user(WHO)])).content;
  },

  async structured() {
    const completion = await client.chat.completions.parse({
      model: "auto",
      messages: [user(CITY)],
      response_format: zodResponseFormat(City, "city"),
    });
    return completion.choices[0].message.parsed;
  },

  async tools() {
    const runner = client.chat.completions.runTools({
      model: "auto",
      messages: [user(WEATHER)],
      tools: [
        {
          type: "function",
          function: {
            name: "get_weather",
            parse: JSON.parse,
            function: ({ city }) => (city === "Paris" ? "sunny" : "unknown"),
            parameters: { type: "object", properties: { city: { type: "string" } } },
          },
        },
      ],
    });
    return await runner.finalContent();
  },

  wrong_model: () =>
    statusOf(() => client.chat.completions.create({ model: "gpt-x", messages: [user(FRANCE)] })),
  too_long: () => statusOf(() => said([user(LONG)])),
  refused: () => statusOf(() => said([user(REFUSED)])),

  async responses() {
    const first = await client.responses.create({ model: "auto", input: NAME });
    const second = await client.responses.create({
      model: "auto",
      input: WHO,
      previous_response_id: first.id,
    });
    return second.output_text;
  },

  async embeddings() {
    // By default it asks for base64.
    const found = await client.embeddings.create({ model: "embed", input: ["one", "two"] });
    return found.data.map((vector) => vector.index);
  },

  async completions() {
    return (await client.completions.create({ model: "alpha", prompt: FRANCE })).choices[0].text;
  },

  async batch() {
    const lines = ["auto", "alpha", "beta"].map((model, number) =>
      JSON.stringify({
        custom_id: String(number),
        method: "POST",
        url: "/v1/chat/completions",
        body: { model, messages: [user(FRANCE)] },
      }),
    );
    const file = await client.files.create({
      file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"),
      purpose: "batch",
    });
    const made = await client.batches.create({
      input_file_id: file.id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
    });
    const done = await ended(made);
    const rows = (await (await client.files.content(done.output_file_id)).text()).trim().split("\n");
    const texts = rows.map((row) => JSON.parse(row).response.body.choices[0].message.content);
    return [done.status, done.request_counts.completed, ...new Set(texts)];
  },
});
