// An upload that shows how far it is, and what is wrong with which line.

import { NO_KEY, UNREACHED } from "./lost.js";

const form = document.getElementById("upload");

if (form) {
  const sending = document.getElementById("sending");
  const problem = document.getElementById("problem");
  const button = form.querySelector("button");

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = form.file.files[0];
    const address = new URL("/v1/jobs", location.href);
    if (form.model.value) address.searchParams.set("composition", form.model.value);
    address.searchParams.set("label", form.label.value || file.name.slice(0, 256));
    problem.hidden = true;
    sending.hidden = false;
    button.disabled = true;
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("content-type", "application/jsonl");
    request.setRequestHeader("idempotency-key", form.nonce.value);
    request.upload.onprogress = (at) => at.lengthComputable && (sending.value = at.loaded / at.total);
    request.onloadend = () => {
      sending.hidden = true;
      button.disabled = false;
      if (request.status === 202) {
        location.href = `/jobs/${encodeURIComponent(JSON.parse(request.responseText).id)}`;
        return;
      }
      problem.textContent = said(request);
      problem.hidden = false;
      // A file of which nobody said what became of it is the same one when it is sent again.
      if (request.status) form.nonce.value = crypto.getRandomValues(new Uint32Array(4)).join("-");
    };
    request.send(file);
  });
}

function said(request) {
  if (!request.status) return `${UNREACHED} Submit again: if the file has arrived, it stays one job.`;
  if (request.status === 401) return NO_KEY;
  try {
    const { message, lines } = JSON.parse(request.responseText).error;
    const more = (lines || []).map((line) => `line ${line.line}: ${line.message}`).filter((line) => !message.includes(line));
    return [message, ...more.slice(0, 20)].join("\n");
  } catch {
    return "The server refused the file.";
  }
}
