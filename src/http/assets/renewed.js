// The script of pages that renew themselves: times in the reader's zone, and what changes comes by itself.

// The page as it was sent, but for how long something runs: that is no news, and would take away what is selected.
function told(page) {
  const main = page.getElementById("renewed").cloneNode(true);
  for (const time of main.querySelectorAll(".ran")) time.textContent = "";
  return main;
}
let shown = told(document);

function localize() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.title ||= time.textContent;
    time.textContent = new Date(time.dateTime).toLocaleString();
  }
}
localize();

// What somebody chooses or writes is not taken away from them.
function isWriting() {
  const fields = [...document.querySelectorAll("#renewed input:not([type=hidden]), #renewed select")];
  return fields.some((field) => field === document.activeElement || (field.value ?? "") !== (field.defaultValue ?? field.value));
}

let busy = false;
async function renew() {
  if (document.hidden || busy || isWriting()) return;
  busy = true;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = told(page);
    if (now.isEqualNode(shown)) return;
    shown = now;
    const open = [...document.querySelectorAll("#renewed details[open]")].map((details) => details.id);
    document.getElementById("renewed").replaceWith(page.getElementById("renewed"));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    document.title = page.title;
    document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").getAttribute("href");
    localize();
  } catch {
    // A restart: it is asked again.
  } finally {
    busy = false;
  }
}
// A press may come at any time.
setInterval(renew, 3000);
document.addEventListener("visibilitychange", renew);
