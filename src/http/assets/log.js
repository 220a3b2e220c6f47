// The live part of the log page. Without it the page shows the complete log up to now.
"use strict";
const log = document.getElementById("log");
const follow = document.getElementById("follow");
const LINES_MAX = 5000;

for (const time of document.querySelectorAll("time")) localize(time);
function localize(time) {
  time.title = time.textContent;
  time.textContent = new Date(time.dateTime).toLocaleString();
}

let following = !location.hash && log.dataset.over === "false";
function show() {
  if (!follow) return;
  follow.setAttribute("aria-pressed", String(following));
  follow.textContent = following ? "Following" : "Follow";
}
function toEnd() {
  if (following) window.scrollTo(0, document.documentElement.scrollHeight);
}
if (follow && log.dataset.over === "false") {
  follow.hidden = false;
  follow.addEventListener("click", () => { following = !following; show(); toEnd(); });
  // Scrolling up means reading; scrolling to the end means following again.
  window.addEventListener("wheel", (e) => { if (e.deltaY < 0) { following = false; show(); } }, { passive: true });
  window.addEventListener("keydown", (e) => {
    if (["ArrowUp", "PageUp", "Home"].includes(e.key)) { following = false; show(); }
    if (e.key === "End") { following = true; show(); toEnd(); }
    if (e.key === "f" && !e.ctrlKey && !e.metaKey && !e.altKey) { following = !following; show(); toEnd(); }
  });
}
show();
toEnd();

if (log.dataset.over === "false") {
  const source = new EventSource(log.dataset.live);
  // What is stored comes for good; what is only shown while it runs stands after it, and goes when the rest is stored.
  const tail = document.getElementById("tail");
  source.addEventListener("lines", (event) => {
    document.getElementById("empty")?.remove();
    tail.replaceChildren();
    tail.insertAdjacentHTML("beforebegin", JSON.parse(event.data));
    while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
    toEnd();
  });
  source.addEventListener("newest", (event) => {
    document.getElementById("empty")?.remove();
    tail.insertAdjacentHTML("beforeend", JSON.parse(event.data));
    while (tail.childElementCount > LINES_MAX) tail.firstElementChild.remove();
    toEnd();
  });
  source.addEventListener("state", (event) => {
    const head = document.getElementById("head");
    head.innerHTML = JSON.parse(event.data);
    head.querySelectorAll("time").forEach(localize);
  });
  source.addEventListener("end", () => {
    source.close();
    following = false;
    for (const id of ["follow", "reload"]) document.getElementById(id).hidden = true;
  });
}
