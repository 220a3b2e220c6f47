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
    time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "long" });
  }
}
localize();

// What somebody chose or wrote is not taken away from them.
function isWriting() {
  const written = [...document.querySelectorAll("#renewed input:not([type=hidden])")];
  const choices = [...document.querySelectorAll("#renewed select option")];
  return (
    written.some((field) => field.value !== field.defaultValue) ||
    choices.some((option) => option.selected !== option.defaultSelected)
  );
}

// What finds somebody's field, link or heading again on the next page: whoever uses the keyboard stays where they are.
function sameAs(element) {
  if (!element) return null;
  if (element.name) return `[name="${CSS.escape(element.name)}"]`;
  if (element.hasAttribute("href")) return `[href="${CSS.escape(element.getAttribute("href"))}"]`;
  const details = element.closest("details");
  return element.matches("summary") && details.id ? `#${CSS.escape(details.id)} > summary` : null;
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
    const again = sameAs(document.activeElement?.closest("#renewed *"));
    document.getElementById("renewed").replaceWith(page.getElementById("renewed"));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    document.title = page.title;
    document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").getAttribute("href");
    if (again) document.querySelector(`#renewed ${again}`)?.focus({ preventScroll: true });
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
