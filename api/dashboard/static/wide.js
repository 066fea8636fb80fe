// What is wider than the screen is scrolled by keyboard, too: it takes the focus while it sticks out.

function look() {
  for (const place of document.querySelectorAll(".wide")) {
    const sticksOut = place.scrollWidth > place.clientWidth;
    if (sticksOut === place.hasAttribute("tabindex")) continue;
    if (!sticksOut) {
      place.removeAttribute("tabindex");
      continue;
    }
    place.tabIndex = 0;
    if (place.hasAttribute("aria-label")) continue;
    const name = place.querySelector("h2, caption") || place.closest("section")?.querySelector("h2");
    place.setAttribute("role", "region");
    place.setAttribute("aria-label", name ? name.textContent : "Table");
  }
}

let due = 0;
function soon() {
  cancelAnimationFrame(due);
  due = requestAnimationFrame(look);
}

look();
new ResizeObserver(soon).observe(document.body);
new MutationObserver(soon).observe(document.getElementById("content"), { childList: true, subtree: true });
