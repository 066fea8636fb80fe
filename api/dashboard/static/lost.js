// What a page says when it cannot tell how things are now.

export const NO_KEY = "The key of this page is missing, over or revoked. Log in at /login, in another tab if there is something here to keep.";
export const UNREACHED = "The server cannot be reached.";

// A note above the page's content while what stands below may be old; "" takes it away.
export function lost(words) {
  let note = document.getElementById("lost");
  if (!note) {
    if (!words) return;
    note = document.createElement("p");
    note.id = "lost";
    note.className = "note warn";
    note.setAttribute("role", "status");
    document.getElementById("content").prepend(note);
  }
  if (note.textContent !== words) note.textContent = words;
  note.hidden = !words;
}

// This page as the server has it now. null = it cannot be had, which is told; if there is no such page any more, or
// only for who logs in, that is what comes to stand here.
export async function pageNow() {
  let response;
  try {
    response = await fetch(location.href, { headers: { accept: "text/html" } });
  } catch {
    lost(`${UNREACHED} What stands here may be old.`);
    return null;
  }
  if (response.redirected || response.status === 403 || response.status === 404) {
    location.reload();
    return null;
  }
  lost(response.ok ? "" : `The server answers ${response.status}. What stands here may be old.`);
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}
