// The AI SDK with an OpenAI-compatible provider, as its documentation uses it.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { CITY, FRANCE, KEY, LONG, NAME, REFUSED, URL, WEATHER, WHO, main, statusOf } from "./reporting.mjs";

const provider = createOpenAICompatible({ name: "muster", baseURL: URL, apiKey: KEY });
const model = provider("auto");
const City = z.object({ name: z.string(), population: z.number() });

await main({
  chat: async () => (await generateText({ model, prompt: FRANCE })).text,

  async stream() {
    let text = "";
    for await (const part of streamText({ model, prompt: FRANCE }).textStream) text += part;
    return text;
  },

  async multi_turn() {
    const messages = [{ role: "user", content: NAME }];
    const first = await generateText({ model, messages, system: "Be kind." });
    messages.push(...first.response.messages, { role: "user", content: WHO });
    return (await generateText({ model, messages, system: "Be kind." })).text;
  },

  structured: async () => (await generateObject({ model, schema: City, prompt: CITY })).object,

  async structured_by_schema() {
    const strict = createOpenAICompatible({
      name: "muster",
      baseURL: URL,
      apiKey: KEY,
      supportsStructuredOutputs: true,
    });
    return (await generateObject({ model: strict("auto"), schema: City, prompt: CITY })).object;
  },

  async tools() {
    const weather = tool({
      description: "Get weather for a given city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => (city === "Paris" ? "sunny" : "unknown"),
    });
    const { text } = await generateText({
      model,
      tools: { get_weather: weather },
      stopWhen: stepCountIs(5),
      prompt: WEATHER,
    });
    return text;
  },

  completions: async () =>
    (await generateText({ model: provider.completionModel("alpha"), prompt: FRANCE })).text,

  async embeddings() {
    const found = await embedMany({ model: provider.textEmbeddingModel("embed"), values: ["one", "two"] });
    return found.embeddings.map((_, index) => index);
  },

  wrong_model: () => statusOf(() => generateText({ model: provider("gpt-x"), prompt: FRANCE })),
  too_long: () => statusOf(() => generateText({ model, prompt: LONG })),
  refused: () => statusOf(() => generateText({ model, prompt: REFUSED })),
});
