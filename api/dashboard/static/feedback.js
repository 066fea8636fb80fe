// Thumbs without leaving the page, and the link to an answer into the clipboard.

export function whenJudged(place) {
  for (const form of place.querySelectorAll("form[data-feedback]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const pressed = event.submitter;
      const data = new URLSearchParams(new FormData(form));
      data.set(pressed.name, pressed.value);
      const response = await fetch(form.action, { method: "POST", body: data, redirect: "manual" });
      const said = form.querySelector("[role=status]");
      const taken = response.ok || response.type === "opaqueredirect";
      said.textContent = taken ? "Thank you: the cards learn from it." : "That was judged differently before.";
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
