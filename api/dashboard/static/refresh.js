// Keeps parts of a page as they are now: each [data-live] is loaded anew while somebody looks, unless it holds the focus.

import { pageNow } from "./lost.js";
import { sortable } from "./tables.js";

const EVERY_MS = 4000;

export async function refresh() {
  const html = await pageNow();
  if (!html) return;
  for (const before of document.querySelectorAll("[data-live]")) {
    const now = html.getElementById(before.id);
    if (!now || before.contains(document.activeElement) || now.innerHTML === before.dataset.was) continue;
    now.dataset.was = now.innerHTML;
    before.replaceWith(now);
    sortable(now);
  }
}

setInterval(() => document.hidden || refresh().catch(() => {}), EVERY_MS);
