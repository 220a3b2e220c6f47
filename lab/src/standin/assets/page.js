// Shows the workspace as Slack would: Block Kit, attachments, mrkdwn, dates in local time. Everything from messages
// becomes text nodes, never markup.
"use strict";
let workspace = null;
let channel = null;
const byId = (id) => document.getElementById(id);
const userSelect = byId("user");
// Signs that every font has; colour by class.
const EMOJI = { white_check_mark: ["✔", "yes"], x: ["✘", "no"], warning: ["⚠", "warn"], no_entry_sign: ["⊘", "no"], lock: ["▣", "warn"], unlock: ["▢", "yes"] };

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
function emoji(text) {
  const out = document.createDocumentFragment();
  for (const part of text.split(/(:[a-z0-9_+-]+:)/)) {
    const known = part.length > 2 && part.startsWith(":") && EMOJI[part.slice(1, -1)];
    if (known) out.append(el("span", `emoji ${known[1]}`, known[0]));
    else if (part) out.append(part);
  }
  return out;
}
const me = () => userSelect.value;
const userName = (id) => workspace.users.find((u) => u.id === id)?.name ?? id;

function date(seconds, format) {
  const at = new Date(Number(seconds) * 1000);
  const today = new Date();
  const day = (d) => d.toDateString();
  const yesterday = new Date(today.getTime() - 86400000);
  const pretty = day(at) === day(today) ? "Today" : day(at) === day(yesterday) ? "Yesterday" : null;
  const short = at.toLocaleDateString(undefined, { month: "short", day: "numeric", year: "numeric" });
  const long = at.toLocaleDateString(undefined, { weekday: "long", month: "long", day: "numeric", year: "numeric" });
  const time = at.toLocaleTimeString(undefined, { hour: "numeric", minute: "2-digit" });
  const tokens = { date_num: at.toISOString().slice(0, 10), date: long, date_short: short, date_long: long, date_pretty: pretty ?? long,
    date_short_pretty: pretty ?? short, date_long_pretty: pretty ?? long, time, time_secs: at.toLocaleTimeString() };
  return format.replace(/\{(\w+)\}/g, (all, name) => tokens[name] ?? all);
}

function link(url, label) {
  if (!/^(https?|mailto):/i.test(url)) return document.createTextNode(label);
  const a = el("a", "", label);
  a.href = url;
  a.target = "_blank";
  a.rel = "noopener noreferrer";
  return a;
}

// <…> first, then code, then *bold* _italic_ ~strike~, then bare links.
function mrkdwn(text) {
  const out = document.createDocumentFragment();
  for (const part of text.split(/(```[\s\S]*?```|`[^`\n]+`|<[^<>\n]+>)/)) {
    if (!part) continue;
    if (part.startsWith("```") && part.length >= 6) out.append(el("pre", "", unescape(part.slice(3, -3).trim())));
    else if (part.startsWith("`") && part.length > 2 && part.endsWith("`")) out.append(el("code", "", unescape(part.slice(1, -1))));
    else if (part.startsWith("<") && part.endsWith(">")) out.append(special(part.slice(1, -1)));
    else out.append(styled(part));
  }
  return out;
}
function special(inner) {
  const [target, ...rest] = inner.split("|");
  const label = rest.join("|");
  if (target.startsWith("@")) return el("span", "mention", "@" + userName(target.slice(1)));
  if (target.startsWith("#")) return el("span", "mention", "#" + (label || target.slice(1)));
  if (target.startsWith("!date^")) {
    const [, seconds, format, url] = target.split("^");
    const shown = date(seconds, unescape(format));
    return url ? link(url, shown) : el("span", "date", shown);
  }
  if (target.startsWith("!")) return el("span", "mention", "@" + (label || target.slice(1)));
  return link(unescape(target), unescape(label || target));
}
function styled(text) {
  const out = document.createDocumentFragment();
  for (const part of text.split(/((?<![\w*])\*[^*\n]+\*(?![\w*])|(?<!\w)_[^_\n]+_(?!\w)|(?<!\w)~[^~\n]+~(?!\w)|https?:\/\/[^\s<>|]+)/)) {
    if (!part) continue;
    if (/^\*.+\*$/.test(part)) out.append(el("strong", "", styled(part.slice(1, -1))));
    else if (/^_.+_$/.test(part)) out.append(el("em", "", styled(part.slice(1, -1))));
    else if (/^~.+~$/.test(part)) out.append(el("s", "", styled(part.slice(1, -1))));
    else if (/^https?:/.test(part)) out.append(link(unescape(part), unescape(part)));
    else out.append(emoji(unescape(part)));
  }
  return out;
}
const textObject = (t) => (t.type === "mrkdwn" ? mrkdwn(t.text) : emoji(t.text));

function block(b, message) {
  switch (b.type) {
    case "header": return el("div", "block header", textObject(b.text));
    case "section": {
      const node = el("div", b.accessory ? "block section beside" : "block section");
      if (b.text) node.append(el("div", "", textObject(b.text)));
      if (b.fields) node.append(el("div", "fields", ...b.fields.map((f) => el("div", "field", textObject(f)))));
      if (b.accessory) node.append(element(b.accessory, message));
      return node;
    }
    case "context": return el("div", "block context", ...b.elements.map((e) => el("span", "", textObject(e))));
    case "actions": return el("div", "block actions", ...b.elements.map((e) => element(e, message)));
    case "divider": return el("hr");
    default: return el("div", "block context", `[${b.type}]`);
  }
}

function element(e, message) {
  if (e.type === "static_select" || e.type === "overflow") {
    const [sign, name] = e.type === "overflow" ? ["⋯", "More actions"] : [e.placeholder?.text ?? "Choose", e.placeholder?.text ?? "Choose"];
    const select = el("select", `slack ${e.type}`);
    select.setAttribute("aria-label", name);
    select.append(new Option(sign, ""));
    for (const o of e.options ?? []) select.append(new Option(o.text.text, o.value));
    for (const g of e.option_groups ?? []) {
      const group = document.createElement("optgroup");
      group.label = g.label.text;
      for (const o of g.options) group.append(new Option(o.text.text, o.value));
      select.append(group);
    }
    select.addEventListener("change", async () => {
      if (select.value) await press(select, message, e, select.value);
      // An overflow menu keeps nothing of what was chosen; a select menu does.
      if (e.type === "overflow") select.value = "";
    });
    return select;
  }
  // A button with an address opens it, and Slack tells the app as well.
  const button = e.url ? link(e.url, e.text.text) : el("button", "", emoji(e.text.text));
  button.className = `slack ${e.style ?? ""}`;
  if (!e.url) button.type = "button";
  if (e.accessibility_label) button.setAttribute("aria-label", e.accessibility_label);
  button.addEventListener("click", () => press(button, message, e, null));
  return button;
}

async function confirmed(c) {
  const dialog = byId("confirm");
  dialog.querySelector("h3").textContent = c.title.text;
  dialog.querySelector("p").replaceChildren(textObject(c.text));
  const [no, yes] = dialog.querySelectorAll("button");
  no.textContent = c.deny.text;
  yes.textContent = c.confirm.text;
  dialog.showModal();
  return new Promise((resolve) => {
    no.onclick = () => { dialog.close(); resolve(false); };
    yes.onclick = () => { dialog.close(); resolve(true); };
    dialog.oncancel = () => resolve(false);
  });
}

async function press(node, message, e, option) {
  if (e.confirm && !(await confirmed(e.confirm))) return;
  node.disabled = true;
  const body = { channel: channel.id, ts: message.ts, user: me(), action_id: e.action_id, option };
  const answer = await fetch("/press", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    .then((r) => (r.ok ? r.json() : { problem: `The stand-in answered ${r.status}.` }))
    .catch(() => ({ problem: "The demo does not answer. Was it stopped?" }));
  node.disabled = false;
  problem(answer.problem);
}
function problem(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = text ?? "";
}

byId("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = byId("text");
  const body = { channel: channel.id, user: me(), text: input.value };
  input.disabled = true;
  const answer = await fetch("/command", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    .then((r) => (r.ok ? r.json() : { problem: `The stand-in answered ${r.status}.` }))
    .catch(() => ({ problem: "The demo does not answer. Was it stopped?" }));
  input.disabled = false;
  input.focus();
  problem(answer.problem);
  if (!answer.problem) input.value = "";
});

// The dialog that whoever one acts as sees; what was written stays while it is open.
let openView = null;
function showView() {
  const dialog = byId("view");
  const mine = workspace.dialogs.find((d) => d.user === me());
  if (!mine) { openView = null; if (dialog.open) dialog.close(); return; }
  if (openView !== mine.id) {
    openView = mine.id;
    byId("view-title").textContent = mine.view.title.text;
    byId("view-blocks").replaceChildren(...mine.view.blocks.map(viewBlock));
    const [no, yes] = dialog.querySelectorAll(".row button");
    no.textContent = mine.view.close?.text ?? "Close";
    yes.textContent = mine.view.submit?.text ?? "Submit";
    no.onclick = () => send(null);
    dialog.oncancel = () => send(null);
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      const inputs = [...dialog.querySelectorAll("[data-block]")];
      send(Object.fromEntries(inputs.map((i) => [i.dataset.block, i.value])));
    };
  }
  for (const note of dialog.querySelectorAll(".error")) note.textContent = mine.errors?.[note.dataset.of] ?? "";
  if (!dialog.open) dialog.showModal();
}
function viewBlock(b) {
  if (b.type !== "input") return block(b, null);
  const input = el(b.element.multiline ? "textarea" : "input", "");
  input.dataset.block = b.block_id;
  input.placeholder = b.element.placeholder?.text ?? "";
  if (b.element.max_length) input.maxLength = b.element.max_length;
  const error = el("span", "error");
  error.dataset.of = b.block_id;
  error.setAttribute("role", "alert");
  return el("label", "block", el("strong", "", b.label.text), b.optional ? el("span", "hint", " (optional)") : "", input, error);
}
async function send(written) {
  const answer = await fetch("/dialog", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ id: openView, written }) })
    .then((r) => (r.ok ? r.json() : { problem: `The stand-in answered ${r.status}.` }))
    .catch(() => ({ problem: "The demo does not answer. Was it stopped?" }));
  problem(answer.problem);
}

const openThreads = new Set();

function messageNode(m) {
  const who = workspace.users.find((u) => u.id === m.user);
  const body = el("div", "body");
  const head = el("div", "", el("span", "who", who?.real_name ?? m.user), el("span", "app", "APP"),
    el("span", "when", new Date(Number(m.ts) * 1000).toLocaleTimeString(undefined, { hour: "numeric", minute: "2-digit" })));
  if (!m.only_for) {
    const more = el("button", "more", "Delete");
    more.type = "button";
    more.addEventListener("click", () => fetch("/delete", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ channel: channel.id, ts: m.ts }) }));
    head.prepend(more);
  }
  body.append(head);
  if (m.only_for) body.append(el("span", "private", "Only visible to you"));
  if (m.blocks?.length) body.append(...m.blocks.map((b) => block(b, m)));
  else if (m.text) body.append(el("div", "block", mrkdwn(m.text)));
  for (const a of m.attachments ?? []) {
    const node = el("div", `attachment ${["good", "warning", "danger"].includes(a.color) ? a.color : ""}`);
    if (a.blocks) node.append(...a.blocks.map((b) => block(b, m)));
    else if (a.text) node.append(mrkdwn(a.text));
    body.append(node);
  }
  if (m.thread_ts) head.append(el("span", "when", " · replied to a thread"));
  const replies = m.thread_ts ? [] : channel.messages.filter((r) => r.thread_ts === m.ts);
  if (replies.length) {
    const thread = el("details", "thread", el("summary", "", replies.length === 1 ? "1 reply" : `${replies.length} replies`));
    thread.open = openThreads.has(m.ts);
    thread.addEventListener("toggle", () => (thread.open ? openThreads.add(m.ts) : openThreads.delete(m.ts)));
    thread.append(...replies.map((r) => messageNode({ ...r, thread_ts: null })));
    body.append(thread);
  }
  const node = el("article", m.only_for ? "message only" : "message", el("div", "avatar", (who?.real_name ?? "?")[0].toUpperCase()), body);
  node.dataset.ts = m.ts;
  return node;
}

function show() {
  const visible = workspace.channels.filter((c) => !c.with || c.with === me());
  channel = visible.find((c) => c.id === channel?.id) ?? visible[0];
  const entry = (c) => {
    const button = el("button", "", c.with ? "coolops" : `# ${c.name}`);
    if (c.id === channel.id) button.setAttribute("aria-current", "page");
    button.addEventListener("click", () => { channel = c; problem(null); show(); });
    return el("li", "", button);
  };
  byId("channels").replaceChildren(...visible.filter((c) => !c.with).map(entry));
  byId("directs").replaceChildren(...visible.filter((c) => c.with).map(entry));
  byId("title").textContent = channel.with ? "coolops" : `# ${channel.name}`;
  const list = byId("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const inChannel = (m) => !m.thread_ts || m.broadcast;
  const seen = channel.messages.filter((m) => inChannel(m) && (!m.only_for || m.only_for === me()));
  list.replaceChildren(...(seen.length ? seen.map(messageNode) : [el("p", "empty", "Nothing here yet.")]));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

let loading = false;
let again = false;
async function load() {
  if (loading) { again = true; return; }
  loading = true;
  do {
    again = false;
    const answer = await fetch("/state").catch(() => null);
    if (!answer?.ok) break;
    workspace = await answer.json();
    if (!userSelect.options.length) {
      for (const u of workspace.users.filter((u) => u.name !== "coolops")) userSelect.append(new Option(u.real_name, u.id));
    }
    show();
    showView();
  } while (again);
  loading = false;
}
userSelect.addEventListener("change", () => { problem(null); show(); showView(); });
const source = new EventSource("/changes");
source.onopen = load;
source.onmessage = load;
load();
