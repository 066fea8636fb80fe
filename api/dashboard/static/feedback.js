// Thumbs without leaving the page, and the link to an answer into the clipboard.

import { NO_KEY, UNREACHED } from "./lost.js";

const REFUSED = { 401: NO_KEY, 404: "This answer was deleted.", 409: "That was judged differently before." };

export function whenJudged(place) {
  for (const form of place.querySelectorAll("form[data-feedback]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const pressed = event.submitter;
      const data = new URLSearchParams(new FormData(form));
      data.set(pressed.name, pressed.value);
      const said = form.querySelector("[role=status]");
      const response = await fetch(form.action, { method: "POST", body: data, redirect: "manual" }).catch(() => null);
      const taken = response !== null && (response.ok || response.type === "opaqueredirect");
      said.textContent = taken ? "Thank you: the cards learn from it." : refusal(response);
      if (taken) for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", button === pressed);
    });
  }
  for (const link of place.querySelectorAll("a[data-share]")) {
    link.addEventListener("click", async (event) => {
      if (!navigator.clipboard) return;
      event.preventDefault();
      await navigator.clipboard.writeText(link.href);
      link.textContent = "Copied";
    });
  }
}

function refusal(response) {
  if (response === null) return `${UNREACHED} Judge again when it can.`;
  return REFUSED[response.status] || `The server answered ${response.status}; the judgement was not taken.`;
}
