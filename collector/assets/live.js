// Keeps the open page live: takes fragments from the event stream and changes only what differs, so that focus, selection,
// scroll position, open details and typed text stay. Without this script every page works and says as of when it is.
const body = document.body;
const said = document.getElementById("said");
const identity = (html) => html;
const policy = window.trustedTypes ? trustedTypes.createPolicy("holdfast", { createHTML: identity }) : { createHTML: identity };
const parse = (html) => new DOMParser().parseFromString(policy.createHTML(html), "text/html").body;

let source = null;
let paused = false;
let missed = 0;
let waiting = new Map();
let heard = Date.now();
let seq = body.dataset.seq;
let offset = null;
let lastSaid = 0;

function say(text) {
  const now = Date.now();
  if (now - lastSaid < 10000) return;
  lastSaid = now;
  said.textContent = text;
}

// Two nodes are the same thing when their id or data-key is.
const key = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");

function attributes(from, to) {
  for (const { name, value } of [...to.attributes]) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    // What the reader opened, or what this script showed, is the reader's.
    if (!to.hasAttribute(name) && name !== "open" && !(name === "hidden" || from.classList.contains("copy"))) from.removeAttribute(name);
  }
}

function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || key(from) !== key(to)) {
    from.replaceWith(document.importNode(to, true));
    return;
  }
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.isEqualNode(to)) return;
  if (from.matches("input, select, textarea") && from.type !== "hidden") return;
  const copied = from.classList.contains("copy");
  attributes(from, to);
  if (copied) from.hidden = false;
  children(from, to);
}

function children(from, to) {
  const keyed = new Map();
  for (const child of from.childNodes) if (key(child)) keyed.set(key(child), child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const name = key(next);
    const kept = name && keyed.get(name);
    if (kept) {
      keyed.delete(name);
      if (kept === at) at = at.nextSibling;
      else from.insertBefore(kept, at);
      morph(kept, next);
    } else if (at && !name && !key(at)) {
      const old = at;
      at = at.nextSibling;
      morph(old, next);
    } else {
      const fresh = document.importNode(next, true);
      if (name && fresh.classList) fresh.classList.add("changed");
      from.insertBefore(fresh, at);
    }
  }
  while (at) {
    const old = at;
    at = at.nextSibling;
    old.remove();
  }
}

function total() {
  const mark = document.querySelector("main [data-total]");
  return mark ? Number(mark.dataset.total) : null;
}

function apply(id, html) {
  const target = document.getElementById(id);
  if (!target) return;
  const before = total();
  const fresh = parse(html);
  const y = window.scrollY;
  children(target, fresh);
  if (window.scrollY !== y) window.scrollTo(0, y);
  if (id === "main") {
    for (const row of document.querySelectorAll(".changed")) setTimeout(() => row.classList.remove("changed"), 2000);
    showCopy();
    const after = total();
    if (before !== null && after !== null && after !== before) {
      const count = Math.abs(after - before);
      say(after > before ? `${count} more in this list` : `${count} fewer in this list`);
    }
  }
  link();
}

function link() {
  const live = source && source.readyState === 1 && Date.now() - heard < 45000;
  const gone = source !== null && !live;
  body.classList.toggle("live", Boolean(live) && !paused);
  body.classList.toggle("lost", gone && !paused);
  const word = document.getElementById("link-word");
  const text = paused ? `Paused${missed ? `, ${missed} missed` : ""} · as of` : live ? "Live · as of" : "Reconnecting · showing";
  if (word && word.textContent !== text) word.textContent = text;
  const pause = document.getElementById("pause");
  if (pause) {
    pause.hidden = false;
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
  }
  const reload = document.getElementById("reload");
  if (reload) reload.hidden = Boolean(live) && !paused;
}

function open() {
  if (source || document.hidden) return;
  const query = new URLSearchParams({ view: location.pathname + location.search, seq, build: body.dataset.build });
  source = new EventSource(`/events?${query}`);
  source.onopen = () => { heard = Date.now(); link(); };
  source.onerror = () => {
    // The browser tries again by itself, unless the answer was an error.
    if (source && source.readyState === 2) { close(); setTimeout(open, 5000); }
    link();
  };
  source.addEventListener("fragment", (event) => {
    heard = Date.now();
    if (event.lastEventId) seq = event.lastEventId;
    const { id, html } = JSON.parse(event.data);
    if (paused) {
      if (id === "main") { waiting.set(id, html); missed += 1; }
      link();
    } else apply(id, html);
  });
  source.addEventListener("notice", (event) => { heard = Date.now(); say(JSON.parse(event.data).text); });
  source.addEventListener("reload", () => { if (!paused) location.reload(); });
}

function close() {
  if (source) source.close();
  source = null;
}

// A browser has few connections to one place: a hidden tab gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else open();
  link();
});

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.id === "pause") {
    paused = !paused;
    if (!paused) {
      if (missed) said.textContent = `${missed} updates were held back and are shown now`;
      missed = 0;
      for (const [id, html] of waiting) apply(id, html);
      waiting = new Map();
    }
    link();
  } else if (button?.classList.contains("copy")) {
    const block = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(block.innerText);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }
});

document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement) event.target.form?.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
  event.preventDefault();
  document.getElementById("search")?.focus();
});

function showCopy() {
  if (navigator.clipboard) for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
}

// Relative times tick with the server's clock, not the reader's.
function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const minutes = Math.floor((seconds % 3600) / 60);
  if (seconds < 86400) return minutes ? `${Math.floor(seconds / 3600)} h ${minutes} min` : `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function tick() {
  const asOf = document.getElementById("as-of");
  if (!asOf) return;
  if (offset === null) offset = Date.parse(asOf.dateTime) - Date.now();
  link();
  if (paused || !body.classList.contains("live")) return;
  const now = Date.now() + offset;
  for (const time of document.querySelectorAll("time.rel")) {
    const text = span(Math.max(0, Math.floor((now - Date.parse(time.dateTime)) / 1000)));
    if (time.textContent !== text) time.textContent = text;
  }
}

showCopy();
open();
link();
setInterval(tick, 1000);
