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
  const muster = { writing: true, trace: true };
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
    // Words of the answer stand once: who follows the calls as well opens them again.
    if (textBox.hidden) for (const details of stages.querySelectorAll("details")) details.open = false;
    textBox.hidden = false;
    text.textContent += delta.content;
    say("The answer is being written …");
  }
}

const SAID = {
  waiting: (news) => (news.ahead ? `waits, ${news.ahead} calls ahead` : "waits for its engine"),
  loading: () => "its engine is being loaded",
  started: () => "answers",
  writing: (news) => `has written ${news.n_chars.toLocaleString("en")} characters`,
  finished: (news) => (news.failed ? "failed" : "has answered"),  // what it said stands beside it
};

function stage(news, job) {
  if (news.event === "recruited") {
    say(`Asking ${[...new Set(news.experts)].join(", ")} …`);
    part(`/answers/${encodeURIComponent(job)}/why`, reasons);
    return;
  }
  const state = { started: "running", writing: "running", finished: news.failed ? "failed" : "done" }[news.event] || "";
  entry(news, SAID[news.event](news), state);
}

// One line for each call: an expert that is heard several times has as many.
function entry(news, said, state) {
  let item = stages.querySelector(`[data-call="${news.call}"]`);
  if (!item) {
    item = document.createElement("li");
    item.dataset.call = news.call;
    const name = document.createElement("b");
    const same = [...stages.children].filter((each) => each.dataset.name === named(news)).length;
    item.dataset.name = named(news);
    name.textContent = named(news) + (same ? `, ${same + 1}` : "");
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "text so far";
    const text = document.createElement("pre");
    text.tabIndex = 0; // it scrolls
    text.setAttribute("role", "region");
    text.setAttribute("aria-label", `Text of ${name.textContent} so far`);
    details.append(summary, text);
    details.hidden = true;
    details.open = textBox.hidden;
    item.append(name, document.createElement("span"), document.createElement("q"), details);
    stages.append(item);
  }
  item.className = state;
  const [, what, answer, details] = item.children;
  what.textContent = said;
  const isOver = news.event === "finished" && news.text !== undefined;
  answer.hidden = !isOver;
  answer.textContent = isOver ? news.value ?? news.text : "";
  answer.title = isOver ? news.text : "";
  if (news.event === "writing") written(details, news);
  if (news.event !== "finished") return;
  details.open = false;
  details.firstElementChild.textContent = "text";
  const place = details.lastElementChild;
  if (isOver && news.text.length > place.textContent.length) place.textContent = news.text; // the end came unsaid
}

function named(news) {
  const [expert] = news.experts;
  return news.role === "expert" ? expert : `${expert} (${news.role})`;
}

// The text so far, from its last characters: what is lost in between stays away.
function written(details, news) {
  const place = details.lastElementChild;
  const text = Array.from(news.text);
  const known = Array.from(place.textContent);
  const at = news.n_chars - text.length;
  const before = at <= known.length ? known.slice(0, at).join("") : "… ";
  const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  place.textContent = before + news.text;
  if (isAtEnd) place.scrollTop = place.scrollHeight;
  details.hidden = false;
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
