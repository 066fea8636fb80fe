// Asks without leaving the page: stages and words as they come, then the answer's part of the page.

import { events, messageOf } from "./stream.js";
import { UNREACHED } from "./lost.js";
import { whenJudged } from "./feedback.js";

const form = document.getElementById("ask");
const button = form.querySelector("button.main");
const stop = document.getElementById("stop");
const live = document.getElementById("live");
const status = document.getElementById("status");
const stages = document.getElementById("stages");
const reasons = document.getElementById("reasons");
const text = document.getElementById("text");
const textBox = document.getElementById("text-box");
const problem = document.getElementById("problem");
const result = document.getElementById("result");
let asked = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
stop.addEventListener("click", () => asked && asked.abort());

function body() {
  const options = form.options.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const muster = { stages: true, trace: true };
  if (options.length) muster.options = options;
  if (form.answer_type.value) muster.answer_type = form.answer_type.value;
  return {
    model: form.model.value,
    messages: [{ role: "user", content: form.question.value }],
    stream: true,
    muster,
  };
}

async function ask() {
  if (!form.question.value.trim()) return form.question.focus();
  clear();
  asked = new AbortController();
  busy(true);
  say("Choosing experts …");
  let job = null;
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body()),
      signal: asked.signal,
    });
    job = response.headers.get("x-muster-decision-id");
    if (!response.ok) throw new Error(await messageOf(response));
    for await (const event of events(response)) follow(event, job);
    say("Answered.");
    await show(job);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else fail(error instanceof TypeError ? `${UNREACHED} Ask again when it can.` : error.message);
  } finally {
    busy(false);
    asked = null;
  }
}

function follow(event, job) {
  if (event.error) throw new Error(event.error.message);
  if (event.muster && event.muster.stage) stage(event.muster.stage, job);
  const delta = event.choices && event.choices[0] && event.choices[0].delta;
  if (delta && delta.content) {
    textBox.hidden = false;
    text.textContent += delta.content;
    say("The answer is being written …");
  }
}

const SAID = {
  waiting: (news) => (news.ahead ? `waits, ${news.ahead} calls ahead` : "waits for its engine"),
  loading: () => "its engine is being loaded",
  started: () => "answers",
  finished: (news) => (news.failed ? "failed" : "has answered"),  // what it said stands beside it
};

function stage(news, job) {
  if (news.event === "recruited") {
    say(`Asking ${news.experts.join(", ")} …`);
    news.experts.forEach((expert) => entry(expert, news.role, "recruited"));
    part(`/answers/${encodeURIComponent(job)}/why`, reasons);
    return;
  }
  const state = { started: "running", finished: news.failed ? "failed" : "done" }[news.event] || "";
  news.experts.forEach((expert) => entry(expert, news.role, SAID[news.event](news), state, news));
}

function entry(expert, role, said, state = "", news = {}) {
  const id = `${role}:${expert}`;
  let item = [...stages.children].find((each) => each.dataset.id === id);
  if (!item) {
    item = document.createElement("li");
    item.dataset.id = id;
    const name = document.createElement("b");
    name.textContent = role === "expert" ? expert : `${expert} (${role})`;
    item.append(name, document.createElement("span"), document.createElement("q"));
    stages.append(item);
  }
  item.className = state;
  item.children[1].textContent = said;
  const answer = item.children[2];
  answer.hidden = news.text === undefined;
  answer.textContent = news.value ?? news.text ?? "";
  answer.title = news.text ?? "";
}

async function show(job) {
  if (!(await part(`/answers/${encodeURIComponent(job)}/result`, result))) return;
  live.hidden = true;
  whenJudged(result);
  const heading = result.querySelector("h2");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

// A part of a page that the server renders: our own HTML, put in whole.
async function part(address, place) {
  const response = await fetch(address, { headers: { accept: "text/html" } });
  if (!response.ok) return false;
  const html = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!html.body.children.length) return false;
  place.replaceChildren(...html.body.childNodes);
  place.hidden = false;
  return true;
}

function clear() {
  stages.replaceChildren();
  reasons.replaceChildren();
  result.replaceChildren();
  text.textContent = "";
  reasons.hidden = textBox.hidden = problem.hidden = true;
  live.hidden = false;
}

function busy(is) {
  button.disabled = is;
  stop.hidden = !is;
}

function say(words) {
  status.textContent = words;
}

function fail(message) {
  say("");
  problem.textContent = message;
  problem.hidden = false;
}
