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
  const status = document.getElementById("status");
  // What is stored comes for good; what is only shown while it runs stands after it, and goes when the rest is stored.
  const tail = document.getElementById("tail");
  let at = log.dataset.at;
  let wait = 1000;
  let source;
  const finish = () => {
    source.close();
    following = false;
    for (const id of ["follow", "reload"]) document.getElementById(id).hidden = true;
  };
  const handlers = {
    lines(html) {
      document.getElementById("empty")?.remove();
      tail.replaceChildren();
      tail.insertAdjacentHTML("beforebegin", html);
      while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
      toEnd();
    },
    newest(html) {
      document.getElementById("empty")?.remove();
      tail.insertAdjacentHTML("beforeend", html);
      while (tail.childElementCount > LINES_MAX) tail.firstElementChild.remove();
      toEnd();
    },
    state(html) {
      const head = document.getElementById("head");
      head.innerHTML = html;
      head.querySelectorAll("time").forEach(localize);
    },
    end: finish,
    gone() {
      status.textContent = "This link is not valid any more. Open the log from the line in the build's Slack message.";
      finish();
    },
  };
  const connect = () => {
    source = new EventSource(`${log.dataset.live}&at=${at}`);
    source.addEventListener("open", () => { status.textContent = ""; wait = 1000; });
    source.addEventListener("error", () => {
      if (!status.textContent) status.textContent = "Reconnecting …";
      // A connection that breaks is made again by the browser; one that is refused, for want of room or in a restart, by us.
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(async () => {
        // An EventSource doesn't say why it was refused; the page does when its link was revoked meanwhile.
        const page = await fetch(location.href).catch(() => null);
        if (page?.status === 404) handlers.gone(); else connect();
      }, wait + Math.random() * 1000);
      wait = Math.min(wait * 2, 15000);
    });
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) at = event.lastEventId;
        handle(JSON.parse(event.data));
      });
    }
  };
  connect();
}
