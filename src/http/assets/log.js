// The log page's script: lines are fetched where they are seen, and what comes later comes by itself. Without it the page
// shows the end of the log, with links to the rest.

const $ = (id) => document.getElementById(id);
const log = $("log");
const { base, key } = log.dataset;
const BLOCK = 200; // lines that are fetched together
const CHAPTER = 50; // blocks
const KEPT = 40; // blocks that stay in the page
const SCREEN = 24; // so many lines up may a line draw
const HEIGHT_MAX = 15_000_000; // browsers lay out no more
const address = (what, query = "") => `${base}/${what}?key=${encodeURIComponent(key)}${query}`;

let ours = false; // whether it is us who scroll
let dead = false; // the link opens nothing any more
let lines = Number(log.dataset.lines);
let over = log.dataset.over === "true";
let begunHtml = "";

// Times ------------------------------------------------------------------------------------------------------------
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const span = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
};
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title ||= time.textContent;
    time.textContent = new Date(time.dateTime).toLocaleString();
  }
  for (const time of root.querySelectorAll("time[data-since]")) time.textContent = span(Date.now() - Number(time.dataset.since));
}
localize(document);
setInterval(() => { for (const t of document.querySelectorAll("time[data-since]")) t.textContent = span(Date.now() - Number(t.dataset.since)); }, 1000);

let times = ""; // "", "start" or "clock"
function timeOf(row) {
  const at = Number(row.dataset.t);
  if (!at) return "";
  return times === "clock" ? clock(at) : `+${span(at - Number(log.dataset.begun))}`;
}
function stamp(root) {
  for (const row of root.querySelectorAll(".l[id]")) {
    const anchor = row.firstElementChild;
    if (times) anchor.dataset.at = timeOf(row); else delete anchor.dataset.at;
  }
}

// Colours that are none of the palette's: a style sheet of ours can't know them, and inline ones are not let through.
function colour(root) {
  for (const e of root.querySelectorAll("[data-f]")) e.style.color = e.dataset.f;
  for (const e of root.querySelectorAll("[data-b]")) e.style.backgroundColor = e.dataset.b;
  for (const e of root.querySelectorAll("[data-u]")) e.style.textDecorationColor = e.dataset.u;
}

// Blocks -----------------------------------------------------------------------------------------------------------
// A step of the log is a section; its lines are in blocks of at most BLOCK, which are fetched when they are near. A browser
// lays out a hundred empty boxes at once and not five thousand, so blocks are in chapters, which are empty until they are
// near.
let sections = [];
let lineHeight = 20;
const blocks = [];
const seenBlocks = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.block.near = isIntersecting;
    if (isIntersecting) load(target.block);
  }
}, { rootMargin: "800px 0px" });
const seenChapters = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) unfold(target.chapter);
}, { rootMargin: "2400px 0px" });

function height(count) {
  return Math.max(1, Math.round(count * Math.min(lineHeight, HEIGHT_MAX / Math.max(lines, 1))));
}
class Block {
  constructor(from, to) {
    Object.assign(this, { from, to, loaded: 0, near: false, used: 0, busy: null });
    blocks.push(this);
  }
  // Its last line that is in the page; 0 when none is.
  get loaded() { return this.last; }
  set loaded(line) {
    this.last = line;
    this.box?.classList.toggle("loaded", line > 0);
  }
  // Its box, from when it is needed on.
  get element() {
    if (!this.box) {
      this.box = document.createElement("div");
      this.box.className = "block";
      this.box.dataset.from = this.from;
      this.box.block = this;
      this.rule();
    }
    return this.box;
  }
  // Gives it the height of its lines while it has none of them.
  rule() {
    if (this.box && !this.loaded) this.box.style.height = `${height(this.to - this.from + 1)}px`;
  }
}
// Puts a block at the end of a section.
function append(section, block) {
  let chapter = section.chapters.at(-1);
  if (!chapter || chapter.blocks.length >= CHAPTER) {
    chapter = { element: document.createElement("div"), blocks: [], open: false };
    chapter.element.className = "chapter";
    chapter.element.chapter = chapter;
    chapter.element.dataset.from = block.from;
    section.chapters.push(chapter);
    section.body.append(chapter.element);
    seenChapters.observe(chapter.element);
  }
  [block.section, block.chapter] = [section, chapter];
  chapter.blocks.push(block);
  if (chapter.open) { chapter.element.append(block.element); seenBlocks.observe(block.element); } else rule(chapter);
}
// Gives a chapter that is empty the height of its lines.
function rule(chapter) {
  if (!chapter.open) chapter.element.style.height = `${height(chapter.blocks.at(-1).to - chapter.blocks[0].from + 1)}px`;
}
function unfold(chapter) {
  if (chapter.open) return;
  chapter.open = true;
  seenChapters.unobserve(chapter.element);
  chapter.element.append(...chapter.blocks.map((b) => b.element));
  chapter.element.style.height = "";
  for (const block of chapter.blocks) seenBlocks.observe(block.element);
}
let uses = 0;
// What is printed stays in the page.
let printing = false;
async function ask(what) {
  const answer = await fetch(what);
  if (answer.status === 404) gone();
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}
async function load(block) {
  unfold(block.chapter);
  block.used = ++uses;
  if (block.loaded >= block.to || block.busy || dead) return block.busy;
  const before = block.loaded;
  block.busy = (async () => {
    for (let tries = 0; !dead; tries++) {
      try {
        const window = await ask(address("lines", `&from=${block.from}&to=${block.to}`));
        let html = window.html;
        // What is too large for one answer comes in several.
        while (window.to < block.to && window.to < window.lines) {
          const rest = await ask(address("lines", `&from=${window.to + 1}&to=${block.to}`));
          if (rest.to < rest.from) break;
          html += rest.html;
          window.to = rest.to;
        }
        fill(block, html, Math.min(block.to, window.lines));
        return;
      } catch {
        if (dead) return;
        // A restart, or no room for a moment.
        await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** tries, 8000)));
      }
    }
  })();
  await block.busy;
  block.busy = null;
  // Lines that came while it was fetched.
  if (block.near && block.loaded < Math.min(block.to, lines)) {
    if (block.loaded <= before) await new Promise((resolve) => setTimeout(resolve, 1000));
    load(block);
  }
}
function fill(block, html, to) {
  // What is above must not move what is read, where the browser doesn't see to it.
  const before = CSS.supports("overflow-anchor", "auto") ? null : block.element.getBoundingClientRect();
  block.element.innerHTML = html;
  block.element.style.height = "";
  block.loaded = to;
  // Thousands of stops would stand between the log and what comes after it.
  for (const anchor of block.element.querySelectorAll(".l > a")) anchor.tabIndex = -1;
  colour(block.element);
  if (times) stamp(block.element);
  mark(block.element);
  if (before?.bottom < 0) window.scrollBy(0, block.element.getBoundingClientRect().height - before.height);
  $("empty")?.remove();
  evict();
}
// Rows that were not seen for long leave the page.
function evict() {
  if (printing) return;
  const kept = blocks.filter((b) => b.loaded && !b.near && !b.section.body.hidden).sort((a, b) => a.used - b.used);
  for (const old of kept.slice(0, Math.max(0, kept.length - KEPT))) {
    old.element.style.height = `${old.element.getBoundingClientRect().height}px`;
    old.element.replaceChildren();
    old.loaded = 0;
  }
}
function blockOf(line) {
  let [low, high] = [0, blocks.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (blocks[middle].from <= line) low = middle; else high = middle - 1;
  }
  return blocks[low];
}
// Lines are added to the last section: to its last block while there is room, and in new ones.
let scaledAt = 0;
let patching = false;
function extend(to) {
  // A page may be so high and no higher.
  if (to * lineHeight > HEIGHT_MAX && to > 2 * scaledAt) {
    scaledAt = to;
    for (const b of blocks) b.rule();
    for (const section of sections) section.chapters.forEach(rule);
  }
  const last = sections.at(-1);
  let block = blocks.at(-1);
  if (block && block.section === last && block.to - block.from + 1 < BLOCK && block.to < to) {
    block.to = Math.min(block.from + BLOCK - 1, to);
    block.rule();
    rule(block.chapter);
    if (block.near && !patching) load(block);
  }
  for (let from = (block ? block.to : last.from - 1) + 1; from <= to; from += BLOCK) {
    block = new Block(from, Math.min(from + BLOCK - 1, to));
    append(last, block);
  }
  last.to = to;
}
function makeSection(step) {
  const section = { ...step, element: document.createElement("section"), body: document.createElement("div"), chapters: [] };
  section.element.className = "step";
  if (step.title) {
    const title = document.createElement("button");
    title.type = "button";
    title.className = "fold";
    const state = step.failed ? "failed" : step.running ? "running" : "";
    title.innerHTML = `<span class="name"></span><span class="facts"></span>`;
    title.querySelector(".name").textContent = step.title;
    const facts = [];
    if (step.errors) facts.push(`${step.errors} ${step.errors === 1 ? "error" : "errors"}`);
    if (step.failed) facts.push("failed");
    if (step.ms !== null && step.ms !== undefined) facts.push(step.ms < 9950 ? `${(step.ms / 1000).toFixed(1)} s` : span(step.ms));
    title.querySelector(".facts").textContent = facts.join(" · ");
    if (state) title.classList.add(state);
    title.addEventListener("click", () => fold(section, section.body.hidden === false));
    section.button = title;
    section.element.append(title);
  }
  section.element.append(section.body);
  fold(section, Boolean(step.title) && !step.shown);
  return section;
}
function fold(section, folded) {
  section.body.hidden = folded;
  section.button?.setAttribute("aria-expanded", String(!folded));
}
function build(steps, keeps) {
  // Rows that are here stay: nothing flickers.
  const rows = new Map();
  const ranges = blocks.length ? blocks.filter((b) => b.loaded).map((b) => [b.from, b.loaded]) : [[Number(log.dataset.from), Number(log.dataset.to)]];
  let line = 0;
  if (keeps) {
    for (const row of log.querySelectorAll(".l:not(.begun), .note")) {
      if (row.id) line = Number(row.id.slice(1));
      if (!rows.has(line)) rows.set(line, []);
      rows.get(line).push(row);
    }
  }
  const scrolled = window.scrollY;
  log.replaceChildren();
  blocks.length = 0;
  seenBlocks.disconnect();
  seenChapters.disconnect();
  sections = steps.map(makeSection);
  log.append(...sections.map((s) => s.element));
  for (const section of sections) {
    for (let from = section.from; from <= section.to; from += BLOCK) {
      append(section, new Block(from, Math.min(from + BLOCK - 1, section.to)));
    }
  }
  if (sections.at(-1).to < lines) extend(lines);
  log.append(begun);
  for (const block of keeps ? blocks : []) {
    if (!ranges.some(([from, to]) => from <= block.from && block.to <= to)) continue;
    unfold(block.chapter);
    for (let n = block.from; n <= block.to; n++) block.element.append(...(rows.get(n) ?? []));
    block.element.style.height = "";
    block.loaded = block.to;
    colour(block.element);
  }
  ours = true;
  window.scrollTo(0, scrolled);
  requestAnimationFrame(() => { ours = false; });
}
const begun = document.createElement("div");
begun.className = "l begun";
begun.innerHTML = "<i></i><span></span>";

async function outline() {
  const failed = ["failed", "timed_out"].includes(log.dataset.state);
  let steps = [];
  try { ({ steps } = await ask(address("steps"))); } catch { /* The log without its folds is the log. */ }
  if (!steps.length) return [{ from: 1, to: lines }];
  const last = steps.findLast((s) => s.title && !s.own);
  for (const step of steps) {
    const reachesEnd = step === last && step === steps.at(-1);
    step.failed = failed && reachesEnd;
    step.running = !over && reachesEnd;
    step.shown = step.open || step.failed || step.running;
  }
  return steps;
}

// Following --------------------------------------------------------------------------------------------------------
const follow = $("follow");
const fresh = $("new");
let following = false;
let unread = 0;
const atEnd = () => window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 4;
function setFollowing(on) {
  following = on && !over;
  follow.setAttribute("aria-pressed", String(following));
  follow.textContent = following ? "Following" : "Follow";
  if (following) { unread = 0; fresh.hidden = true; }
}
let setTop = 0; // where we scrolled to last
function toEnd() {
  if (!following) return;
  window.scrollTo(0, document.documentElement.scrollHeight);
  setTop = window.scrollY;
}
let lastTop = window.scrollY;
let lastHeight = document.documentElement.scrollHeight;
function scrolled() {
  const [top, whole] = [window.scrollY, document.documentElement.scrollHeight];
  // By whatever means: who comes away from the end reads. A page that only grew, or shrank, was not scrolled.
  if (!ours && top !== lastTop) {
    if (following && top < setTop - 1 && whole >= lastHeight) setFollowing(false);
    else if (!following && !over && top > lastTop && atEnd()) setFollowing(true);
  }
  [lastTop, lastHeight] = [top, whole];
  document.body.classList.toggle("stuck", $("bar").getBoundingClientRect().top <= 0);
}
window.addEventListener("scroll", scrolled, { passive: true });
window.addEventListener("wheel", (e) => { if (e.deltaY < 0) setFollowing(false); }, { passive: true });
window.addEventListener("keydown", (e) => { if (["PageUp", "Home", "ArrowUp"].includes(e.key)) setFollowing(false); });
window.addEventListener("touchmove", () => { if (!atEnd()) setFollowing(false); }, { passive: true });
fresh.addEventListener("click", () => { setFollowing(true); toEnd(); });
follow.addEventListener("click", () => { setFollowing(!following); if (following) toEnd(); });

// Puts the newest lines where they belong; false when what is before them is not here.
function patch(from, to, before, html) {
  if (!html || from > before + 1) return false;
  const first = blockOf(from);
  const [begin, end] = [blocks.indexOf(first), blocks.length];
  for (const block of blocks.slice(begin, end)) {
    if (block.busy || (block.from <= before && block.loaded < Math.min(block.to, before))) return false;
  }
  // What is in the page is found when the log is built anew.
  for (const block of blocks.slice(begin, end)) unfold(block.chapter);
  const rows = document.createElement("template");
  rows.innerHTML = html;
  for (const block of blocks.slice(begin, end)) {
    let line = 0;
    for (const row of [...block.element.children]) {
      if (row.id) line = Number(row.id.slice(1));
      if (line >= from) row.remove();
    }
  }
  let line = 0;
  for (const row of [...rows.content.children]) {
    if (row.id) line = Number(row.id.slice(1));
    blockOf(line || from).element.append(row);
  }
  for (const block of blocks.slice(begin, end)) {
    block.loaded = Math.min(block.to, to);
    block.used = ++uses;
    block.element.style.height = "";
    for (const anchor of block.element.querySelectorAll(".l > a")) anchor.tabIndex = -1;
    colour(block.element);
    if (times) stamp(block.element);
    mark(block.element);
  }
  $("empty")?.remove();
  evict();
  return true;
}
// Tells whether lines were asked for.
async function grown(to, from, html) {
  const before = lines;
  lines = Math.max(lines, to);
  if (!sections.length || lines === before) return false;
  patching = true;
  extend(lines);
  patching = false;
  const patched = patch(from, to, before, html);
  if (!patched && blocks.at(-2)?.near) load(blocks.at(-2));
  if (!following) {
    unread += lines - before;
    fresh.textContent = `${unread} new ${unread === 1 ? "line" : "lines"}`;
    fresh.hidden = false;
  }
  const block = blocks.at(-1);
  const [first] = blocks.slice(-2);
  const asks = !patched && (following || block.near);
  if (asks) {
    // A line may draw over those before it.
    const nearBorder = block.to - block.from < SCREEN;
    if (first !== block && first.loaded && (nearBorder || first.loaded < first.to)) {
      first.loaded = Math.min(first.loaded, first.to - 1);
      await load(first);
    }
    block.loaded = Math.min(block.loaded, block.to - 1);
    await load(block);
  }
  if (following) toEnd();
  return asks;
}

// Live -------------------------------------------------------------------------------------------------------------
const status = $("status");
let source = null;
let wait = 1000;
let retry = 0;
function gone() {
  dead = true;
  finish();
  status.textContent = "This link is not valid any more. Open the log from the line in the build's Slack message.";
}
function finish() {
  over = true;
  status.textContent = "";
  source?.close();
  source = null;
  setFollowing(false);
  follow.hidden = true;
  setBegun("");
}
function setBegun(html) {
  begunHtml = html;
  begun.hidden = !html;
  begun.lastElementChild.innerHTML = html;
  colour(begun);
  if (html && following) toEnd();
}
function setState({ head, title, state }) {
  $("head").innerHTML = head;
  localize($("head"));
  document.title = title;
  log.dataset.state = state;
  document.querySelector("link[rel=icon]").href = `/assets/icon-${state}.svg`;
  const badge = $("head").querySelector(".badge");
  if (badge) $("small-state").replaceChildren(badge.cloneNode(true));
  $("said").textContent = title;
}
// One thing after the other, in the order in which it was told.
let queue = Promise.resolve();
let newest = null;
let ending = false;
function told(name, data) {
  if (name === "grown") {
    // Of what came while lines were fetched only the newest counts.
    const first = newest === null;
    newest = data;
    if (first) queue = queue.then(async () => {
      const now = newest;
      newest = null;
      const asked = await grown(now.lines, now.from, now.html);
      setBegun(now.begun);
      // Of a flood an eye sees so much; a hundred pages that ask as fast as they can cost the service a core.
      if (asked) await new Promise((resolve) => setTimeout(resolve, 250));
    });
  } else if (name === "state") queue = queue.then(() => setState(data));
  else if (name === "end") {
    // Nothing comes after it, so that the connection ends is no trouble.
    ending = true;
    source?.close();
    source = null;
    status.textContent = "";
    queue = queue.then(() => ended(data));
  }
  else if (name === "gone") gone();
}
async function ended({ lines: to }) {
  const was = following;
  // What was passed over while it ran may be there now.
  const same = to === lines && !log.querySelector(".note");
  await grown(to);
  lines = to;
  finish();
  // The whole log is stored by now, with its steps. What was left out of its middle has changed its numbers.
  const steps = await outline();
  if (log.dataset.state !== "succeeded") await excerpt();
  if (same && steps.length === 1 && sections.length === 1) {
    if (was) window.scrollTo(0, document.documentElement.scrollHeight);
    return;
  }
  const top = topLine();
  build(steps, same);
  if (was && lines) { await load(blocks.at(-1)); window.scrollTo(0, document.documentElement.scrollHeight); } else if (top) await show(top, false);
}
// The last lines of one that failed stand above the log, as the page has them that is opened now.
async function excerpt() {
  if (document.querySelector(".excerpt")) return;
  const page = await fetch(location.pathname + location.search).then((answer) => answer.text()).catch(() => "");
  const found = new DOMParser().parseFromString(page, "text/html").querySelector(".excerpt");
  if (!found) return;
  colour(found);
  log.before(document.adoptNode(found));
}
function topLine() {
  const bar = $("bar").getBoundingClientRect().bottom;
  const row = [...log.querySelectorAll(".l[id]")].find((r) => r.getBoundingClientRect().bottom > bar);
  return row && window.scrollY > 0 ? Number(row.id.slice(1)) : 0;
}
function connect() {
  if (over || ending || source || document.hidden) return;
  source = new EventSource(address("live"));
  heard = Date.now();
  source.addEventListener("ping", () => { heard = Date.now(); });
  source.addEventListener("open", () => { status.textContent = ""; wait = 1000; log.dataset.live = "true"; });
  source.addEventListener("error", () => {
    if (!status.textContent) status.textContent = "Reconnecting …";
    // A connection that breaks is made again by the browser; one that is refused, for want of room or in a restart, by us.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    retry = setTimeout(async () => {
      // An EventSource doesn't say why it was refused; the page does when its link was revoked meanwhile.
      const answer = await fetch(address("lines", "&last=1")).catch(() => null);
      if (answer?.status === 404) gone(); else connect();
    }, wait + Math.random() * 1000);
    wait = Math.min(wait * 2, 15000);
  });
  for (const name of ["grown", "state", "end", "gone"]) {
    source.addEventListener(name, (event) => { heard = Date.now(); told(name, JSON.parse(event.data)); });
  }
}
// After sleep, or behind a proxy that forgot it, a connection may be dead without a word: the server says something every
// 15 s.
let heard = Date.now();
setInterval(() => {
  if (!source || Date.now() - heard < 40000) return;
  status.textContent = "Reconnecting …";
  source.close();
  source = null;
  connect();
}, 5000);
// While it runs its steps are folded as they come, for who is at the end; nobody who reads is moved.
let outlined = lines;
setInterval(() => {
  if (over || ending || !following || !source || outlined === lines) return;
  outlined = lines;
  queue = queue.then(async () => {
    const steps = await outline();
    if (!following || over || steps.length === sections.length) return;
    build(steps, true);
    await load(blocks.at(-1));
    toEnd();
  });
}, 3000);
// A tab that nobody sees holds no connection: a browser has six for all of them.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect();
  clearTimeout(retry);
  source?.close();
  source = null;
});

// Places -----------------------------------------------------------------------------------------------------------
// `#L10` and `#L10-L20`.
function place() {
  const match = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
  if (!match) return null;
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  return { from: Math.min(from, to), to: Math.max(from, to) };
}
let linked = null;
function mark(root) {
  for (const row of root.querySelectorAll(".l[id]")) {
    const line = Number(row.id.slice(1));
    row.classList.toggle("linked", Boolean(linked) && line >= linked.from && line <= linked.to);
    row.classList.toggle("hit", hit === line);
  }
}
async function show(line, marked = true) {
  if (!blocks.length) return;
  setFollowing(false);
  const block = blockOf(Math.min(Math.max(1, line), lines));
  fold(block.section, false);
  unfold(block.chapter);
  block.element.scrollIntoView({ block: "start" });
  // Where it is before what is around it has its height, and again when it has.
  await load(block);
  await toRow(block, line, marked);
  ours = false;
  const index = blocks.indexOf(block);
  await Promise.all(blocks.slice(Math.max(0, index - 1), index + 2).map(load));
  for (let i = 0; i < 2; i++) await toRow(block, line, marked);
  ours = false;
  mark(log);
}
async function toRow(block, line, marked) {
  // A line that only drew over others is shown by the next one that is there.
  const rows = [...block.element.querySelectorAll(".l[id]")];
  const row = rows.find((r) => Number(r.id.slice(1)) >= line) ?? rows.at(-1);
  if (!row) return;
  const bar = $("bar").getBoundingClientRect().height;
  ours = true;
  window.scrollBy(0, row.getBoundingClientRect().top - bar - (marked ? window.innerHeight / 4 : 0));
  await new Promise((resolve) => requestAnimationFrame(resolve));
}
async function toPlace() {
  linked = place();
  mark(log);
  if (linked) await show(linked.from);
}
window.addEventListener("hashchange", toPlace);
log.addEventListener("click", (event) => {
  const anchor = event.target.closest(".l > a");
  if (!anchor || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const line = Number(anchor.textContent);
  const from = event.shiftKey && linked ? linked.from : line;
  const [a, b] = [Math.min(from, line), Math.max(from, line)];
  history.replaceState(null, "", a === b ? `#L${a}` : `#L${a}-L${b}`);
  linked = { from: a, to: b };
  mark(log);
  setFollowing(false);
  if (event.shiftKey) navigator.clipboard?.writeText(location.href).then(() => tell("Link copied"), () => {});
});

// Search -----------------------------------------------------------------------------------------------------------
const [search, query, hitsShown] = [$("search"), $("query"), $("hits")];
let [hits, hitAt, hit, asked] = [[], -1, 0, ""];
async function find(by) {
  // A log that grows is searched again.
  const what = `${query.value}\n${$("regex").checked}\n${lines}`;
  if (what === asked || !query.value) return;
  asked = what;
  hitsShown.textContent = "…";
  const answer = await fetch(address("search", `&q=${encodeURIComponent(query.value)}&regex=${$("regex").checked ? 1 : 0}`)).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (what !== asked) return;
  if (!answer?.ok) {
    [hits, asked] = [[], ""];
    hitsShown.textContent = found?.error ?? "it can't be searched right now";
    return;
  }
  hits = found.lines;
  const seen = found.whole ? "" : `, of the first ${found.searched} lines`;
  const reached = found.hits > hits.length ? `; the first ${hits.length} can be reached, so look for less` : "";
  hitsShown.dataset.rest = seen + reached;
  hitsShown.dataset.total = found.hits;
  const at = hit || topLine();
  const next = hits.findIndex((line) => (hit && by > 0 ? line > at : line >= at));
  hitAt = (next < 0 ? 0 : next) - (by > 0 ? 1 : 0);
  if (!hits.length) { hit = 0; mark(log); hitsShown.textContent = `nothing${hitsShown.dataset.rest}`; }
}
async function step(by) {
  await find(by);
  if (!hits.length) return;
  hitAt = (hitAt + by + hits.length) % hits.length;
  hit = hits[hitAt];
  hitsShown.textContent = `${hitAt + 1} of ${hitsShown.dataset.total}${hitsShown.dataset.rest}`;
  await show(hit);
}
search.addEventListener("submit", (event) => { event.preventDefault(); step(1); });
$("up").addEventListener("click", () => step(-1));
query.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); step(-1); }
  if (event.key === "Escape") closeSearch();
});
$("close").addEventListener("click", closeSearch);
function closeSearch() {
  search.hidden = true;
  $("find").hidden = false;
  hit = 0;
  mark(log);
  log.focus({ preventScroll: true });
}
function openSearch() {
  search.hidden = false;
  $("find").hidden = true;
  query.focus();
  query.select();
}
$("find").addEventListener("click", openSearch);

// Tools ------------------------------------------------------------------------------------------------------------
$("times").addEventListener("click", () => {
  times = times === "" ? "start" : times === "start" ? "clock" : "";
  $("times").textContent = times === "" ? "Times" : times === "start" ? "Since start" : "Clock";
  $("times").setAttribute("aria-pressed", String(times !== ""));
  log.classList.toggle("timed", times !== "");
  stamp(log);
});
$("wrap").addEventListener("click", () => {
  const on = log.classList.toggle("nowrap");
  $("wrap").setAttribute("aria-pressed", String(!on));
});
$("copy").addEventListener("click", async () => {
  let said = "Copied";
  try {
    let text = "";
    if (linked && linked.to > linked.from) {
      // Of a range its lines, as they are shown, also those that are not in the page.
      for (let from = linked.from; from <= linked.to;) {
        const window = await ask(address("lines", `&from=${from}&to=${linked.to}`));
        const rows = document.createElement("div");
        rows.innerHTML = window.html;
        text += [...rows.querySelectorAll(".l > span")].map((row) => `${row.textContent}\n`).join("");
        if (window.to < from) break;
        from = window.to + 1;
      }
    } else {
      const answer = await fetch(address("text"));
      if (!answer.ok) throw new Error(answer.status);
      text = await answer.text();
    }
    await navigator.clipboard.writeText(text);
  } catch {
    said = "Can't copy";
  }
  tell(said);
});
let telling = 0;
function tell(text) {
  $("copy").textContent = text;
  clearTimeout(telling);
  telling = setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
}
// On paper is what is in the page; of a log that isn't endless all of it.
const PRINTED = 20000;
async function toPaper() {
  if (printing) return;
  printing = lines <= PRINTED;
  try {
    const all = printing ? blocks.filter((b) => !b.section.body.hidden).map(load) : [];
    // What can't be fetched now is named on paper.
    await Promise.race([Promise.all(all), new Promise((resolve) => setTimeout(resolve, 10000))]);
    window.print();
  } finally {
    printing = false;
  }
}
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); toPaper(); return; }
  if (event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    "/": openSearch,
    f: () => follow.hidden || follow.click(),
    t: () => $("times").click(),
    w: () => $("wrap").click(),
    End: () => { setFollowing(true); window.scrollTo(0, document.documentElement.scrollHeight); setTop = window.scrollY; },
    n: () => step(1),
    N: () => step(-1),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// Begin ------------------------------------------------------------------------------------------------------------
(async () => {
  for (const id of ["find", "times", "wrap", "copy"]) $(id).hidden = false;
  const row = log.querySelector(".l");
  if (row) lineHeight = Math.max(12, row.getBoundingClientRect().height);
  follow.hidden = over;
  build(await outline(), true);
  setBegun("");
  if (place()) await toPlace();
  else if (!over) { setFollowing(true); if (lines) await load(blocks.at(-1)); toEnd(); }
  else if (lines) await load(blocks.find((b) => !b.section.body.hidden) ?? blocks[0]);
  connect();
  log.dataset.ready = "true";
})();
