// Follows a job: its counts as they change; once it has ended, the page is loaded anew.

import { pageNow } from "./lost.js";

const box = document.getElementById("job");
const began = { at: Date.now(), done: null };
const PLAN_MS = 4000;
let planned = 0;
const put = (id, value) => (document.getElementById(id).textContent = value.toLocaleString("en"));

follow();

function follow() {
  const source = new EventSource(box.dataset.events);
  source.addEventListener("progress", (event) => show(JSON.parse(event.data)));
  source.addEventListener("done", () => {
    source.close();
    location.reload();
  });
  source.addEventListener("error", async () => {
    const isOver = source.readyState === EventSource.CLOSED; // else the browser tries again by itself
    await plan(true);
    if (isOver) setTimeout(follow, PLAN_MS);
  });
}

function show(job) {
  plan();
  const done = job.counts.completed + job.counts.failed;
  document.getElementById("progress").value = done;
  for (const name of ["completed", "failed", "waiting"]) put(name, job.counts[name]);
  for (const name of ["calls", "responses", "loads"]) put(name, job[name]);
  if (began.done === null) began.done = done;
  const seconds = (Date.now() - began.at) / 1000;
  const rate = (done - began.done) / seconds;
  if (rate > 0 && seconds > 5) document.getElementById("left").textContent = span((job.counts.total - done) / rate);
}

// The plan as the server draws it now.
async function plan(atOnce = false) {
  if (!atOnce && Date.now() - planned < PLAN_MS) return;
  planned = Date.now();
  const html = await pageNow();
  if (!html) return;
  const [now, before] = [html.getElementById("plan"), document.getElementById("plan")];
  if (now && !before.contains(document.activeElement)) before.replaceWith(now);
}

function span(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
