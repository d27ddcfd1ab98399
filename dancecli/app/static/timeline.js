"use strict";
// A recording's timeline: stretches with labels over a player. Every change is saved at once, as all stretches.
const KEY = {start: 0, end: 1, label: 2, probability: 3, checked: 4};
const EDGE_MS = 100;
const LEAST_MS = 40;
const state = {
  doc: null, spans: [], revision: 0, last: [], at: -1, scale: 10, time: 0, drag: null, saving: Promise.resolve(), who: "",
};
const video = $("video");
const whoAmI = () => localStorage.getItem("dance-who") ?? state.who;
const clock = (ms, digits = 1) => {
  const tenth = Math.round(ms / 10 ** (3 - digits)) / 10 ** digits;
  const [h, m] = [Math.floor(tenth / 3600), Math.floor(tenth / 60) % 60];
  const s = (tenth % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
};
const milliseconds = (text) => {
  const parts = text.trim().split(":");
  if (!parts.length || parts.length > 3 || parts.some((part) => !/^\d+(\.\d+)?$/.test(part))) return null;
  return Math.round(1000 * parts.reduce((sum, part) => 60 * sum + Number(part), 0));
};
const total = () => 1000 * state.doc.seconds;
const frameMs = () => 1000 / state.doc.fps;
const now = () => (state.doc.media && !video.hidden ? 1000 * video.currentTime : state.time);
const pixels = (ms) => (ms / 1000) * state.scale;
const copy = () => state.spans.map((span) => [...span]);
const under = (ms) => state.spans.findIndex(([start, end]) => start <= ms && ms < end);

function hue(label) {
  const known = state.doc.labels.indexOf(label);
  if (known >= 0) return String((known * 137.5 + 205) % 360);
  return String([...label].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 360, 7));
}

function seek(ms) {
  const to = Math.min(Math.max(ms, 0), total());
  state.time = to;
  if (state.doc.media && !video.hidden) video.currentTime = to / 1000;
  drawHead();
}

// ---- what is saved

function settle(answer) {
  Object.assign(state, {revision: answer.revision, last: answer.last});
  tellChanged(answer.changed);
  // An edge that is being moved meanwhile stays where the hand is.
  if (state.drag) { state.drag.before = answer.spans; return; }
  state.spans = answer.spans;
  state.at = Math.min(state.at, state.spans.length - 1);
  draw();
}

// What was corrected on disk, as in ELAN, is not shown before it is imported.
function tellChanged(files) {
  $("changed").hidden = !files.length;
  $("changed").textContent = files.map(({path, changed_utc: when, problem}) => {
    const [folder, name] = [path.slice(0, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/") + 1)];
    return `${name} was changed on ${new Date(when).toLocaleString()}, since dance predict wrote it, which this page does not show. ` +
      (problem ? `It cannot be imported: ${problem}.` : `Choose it with Import below to have it here; Undo takes it back. It is in ${folder}.`);
  }).join(" ");
}

function save(action, said) {
  const turn = async () => {
    try {
      const before = copy();
      settle(await post(`/api/timelines/${encodeURIComponent(state.doc.name)}`, {base: state.revision, who: whoAmI(), ...action}));
      toast(typeof said === "function" ? said(before) : said);
    } catch (error) {
      toast(error.status === 412 ? "somebody else changed this timeline: it is shown as it is now" : error.message);
      state.drag = null;
      settle(await ask(`/api/timelines/${encodeURIComponent(state.doc.name)}`));
    }
  };
  state.saving = state.saving.then(turn, turn);
  return state.saving;
}

const change = (spans, why) => save({action: "edit", spans, why}, why);

// What an import did to the stretches, in figures that add up.
function imported(file, before) {
  const [were, are] = [before, state.spans].map((spans) => new Set(spans.map(([start, end, label]) => JSON.stringify([start, end, label]))));
  const same = [...are].filter((span) => were.has(span)).length;
  return `imported ${file}: ${are.size} stretch${are.size === 1 ? "" : "es"}, ${same} as before, ${are.size - same} new or changed; ${were.size - same} of before gone`;
}

// ---- what is done to stretches

const chosen = () => state.spans[state.at];

function relabel(label) {
  if (!chosen() || !label) return;
  if (label === chosen()[KEY.label] && chosen()[KEY.checked]) return;
  const spans = copy();
  spans[state.at] = [spans[state.at][0], spans[state.at][1], label, null, true];
  change(spans, `relabeled: ${label}`);
}

// Edges that touch move together; others stop at their neighbors.
function moved(spans, at, side, to, together) {
  const found = spans.map((span) => [...span]);
  const span = found[at];
  const other = found[side === KEY.start ? at - 1 : at + 1];
  const opposite = side === KEY.start ? KEY.end : KEY.start;
  const low = side === KEY.start ? (other ? (together ? other[KEY.start] + LEAST_MS : other[KEY.end]) : 0) : span[KEY.start] + LEAST_MS;
  const high = side === KEY.end ? (other ? (together ? other[KEY.end] - LEAST_MS : other[KEY.start]) : Math.round(total())) : span[KEY.end] - LEAST_MS;
  const moment = Math.round(Math.min(Math.max(to, low), high));
  span[side] = moment;
  span[KEY.checked] = true;
  if (together) other[opposite] = moment;
  return found;
}

function touches(at, side) {
  const other = state.spans[side === KEY.start ? at - 1 : at + 1];
  return Boolean(other) && other[side === KEY.start ? KEY.end : KEY.start] === state.spans[at][side];
}

function setEdge(side, to) {
  if (!chosen()) { toast("choose a stretch first"); return; }
  const spans = moved(state.spans, state.at, side, to, touches(state.at, side));
  change(spans, `${side === KEY.start ? "starts" : "ends"} at ${clock(spans[state.at][side])}`);
}

function split() {
  const ms = Math.round(now());
  const at = under(ms);
  if (at < 0) { toast("there is no stretch at this moment"); return; }
  const [start, end, label, probability] = state.spans[at];
  if (ms - start < LEAST_MS || end - ms < LEAST_MS) { toast("it is too close to an edge"); return; }
  const spans = copy();
  spans.splice(at, 1, [start, ms, label, probability, true], [ms, end, label, probability, true]);
  state.at = at + 1;
  change(spans, `split at ${clock(ms)}`);
}

function merge() {
  const [one, other] = [chosen(), state.spans[state.at + 1]];
  if (!one || !other) { toast("there is no next stretch to merge with"); return; }
  const spans = copy();
  spans.splice(state.at, 2, [one[0], other[1], one[2], one[2] === other[2] ? one[3] : null, true]);
  change(spans, "merged");
}

function drop() {
  if (!chosen()) return;
  const spans = copy();
  spans.splice(state.at, 1);
  change(spans, "deleted");
}

function add() {
  const ms = Math.round(now());
  if (under(ms) >= 0) { toast("a stretch is here already: split it"); return; }
  const next = state.spans.findIndex(([start]) => start > ms);
  const place = next < 0 ? state.spans.length : next;
  const end = Math.min(next < 0 ? Math.round(total()) : state.spans[next][0], ms + 10000);
  if (end - ms < LEAST_MS) { toast("there is no room for a stretch"); return; }
  const label = $("label").value.trim() || state.doc.labels[0];
  const spans = copy();
  spans.splice(place, 0, [ms, end, label, null, true]);
  state.at = place;
  change(spans, `new: ${label}`);
}

function confirmOne() {
  if (!chosen()) return;
  const spans = copy();
  spans[state.at][KEY.checked] = true;
  const next = state.at + 1;
  change(spans, `checked: ${chosen()[KEY.label]}`).then(() => { if (next < state.spans.length) select(next, true); });
}

function undoLast() {
  if (!state.last.length) { toast("there is nothing to undo"); return; }
  save({action: "undo"}, `undone: ${state.last[1]}`);
}

function select(at, jump) {
  if (at < 0 || at >= state.spans.length) return;
  state.at = at;
  if (jump) seek(state.spans[at][KEY.start]);
  draw();
  reveal(state.spans[at][KEY.start], state.spans[at][KEY.end]);
  // Within its list alone: the page stays where it is.
  const [box, row] = [$("stretches"), document.querySelector("#stretches [aria-current='true']")];
  const top = row.offsetTop - box.offsetTop;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + row.offsetHeight - box.clientHeight;
}

const KEYS = {
  " ": () => { if (video.paused) video.play().catch(() => {}); else video.pause(); },
  ",": () => { video.pause(); seek(now() - frameMs()); }, ".": () => { video.pause(); seek(now() + frameMs()); },
  n: () => select(state.at < 0 ? Math.max(0, under(now())) : state.at + 1, true), p: () => select(state.at - 1, true),
  c: confirmOne, s: split, m: merge, a: add, u: undoLast, Delete: drop, Backspace: drop,
  "[": () => setEdge(KEY.start, now()), "]": () => setEdge(KEY.end, now()),
  r: () => $("label").select(), "+": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: () => fit(),
};

// ---- what is drawn

const scroller = $("scroller");

function zoom(by, around = now()) {
  const least = (scroller.clientWidth - 2) / state.doc.seconds;
  const before = pixels(around) - scroller.scrollLeft;
  state.scale = Math.min(Math.max(state.scale * by, least), 400);
  $("space").style.width = `${Math.max(scroller.clientWidth - 2, pixels(total()))}px`;
  scroller.scrollLeft = pixels(around) - before;
  draw();
}

function fit() { zoom(0); }

function reveal(start, end) {
  const [left, right] = [pixels(start), pixels(end)];
  if (left < scroller.scrollLeft || right > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = left - scroller.clientWidth * 0.15;
}

function drawHead() {
  const ms = now();
  $("head").style.left = `${pixels(ms)}px`;
  $("clock").textContent = clock(ms);
}

function describe([start, end, label, probability, checked]) {
  const how = checked ? "checked" : `${Math.round(100 * probability)} %`;
  return `${label}, ${clock(start)} to ${clock(end)}, ${how}`;
}

function bar(at) {
  const [start, end, label, probability, checked] = state.spans[at];
  const made = element("button", undefined, `span${checked ? "" : " unchecked"}${state.doc.labels.includes(label) ? "" : " foreign"}`);
  made.style.setProperty("--h", hue(label));
  made.style.left = `${pixels(start)}px`;
  made.style.width = `${Math.max(2, pixels(end - start))}px`;
  made.tabIndex = -1;
  made.dataset.at = String(at);
  made.setAttribute("aria-pressed", String(at === state.at));
  made.setAttribute("aria-label", describe(state.spans[at]));
  made.title = describe(state.spans[at]);
  made.append(element("b", label), element("small", checked ? "✓ checked" : probability === null ? "" : `${Math.round(100 * probability)} %`));
  return made;
}

function edge(at, side) {
  const [start, end, label] = state.spans[at];
  const value = state.spans[at][side];
  const made = element("div", undefined, "edge");
  Object.assign(made.dataset, {at: String(at), side: String(side)});
  made.style.left = `${pixels(value) - (side === KEY.start ? 0 : 12)}px`;
  if (at === state.at) {
    const attributes = {role: "slider", tabindex: "0", "aria-label": `${side === KEY.start ? "Start" : "End"} of ${label}`,
      "aria-valuemin": side === KEY.start ? 0 : start, "aria-valuemax": side === KEY.start ? end : Math.round(total()),
      "aria-valuenow": value, "aria-valuetext": clock(value)};
    for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, String(text));
  }
  return made;
}

function drawTrack() {
  const held = document.activeElement?.classList.contains("edge") ? document.activeElement.dataset.side : null;
  const from = (scroller.scrollLeft - 200) / state.scale * 1000;
  const to = (scroller.scrollLeft + scroller.clientWidth + 200) / state.scale * 1000;
  const shown = [];
  state.spans.forEach(([start, end], at) => {
    if (end < from || start > to) return;
    shown.push(bar(at));
    // On a narrow bar the edges would leave no place to choose it.
    if (at === state.at || pixels(end - start) > 40) shown.push(edge(at, KEY.start), edge(at, KEY.end));
  });
  $("track").replaceChildren(...shown);
  if (held !== null) $("track").querySelector(`[role="slider"][data-side="${held}"]`)?.focus({preventScroll: true});
  const step = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600].find((s) => s * state.scale >= 74) ?? 7200;
  const ticks = [];
  for (let s = Math.max(0, Math.floor(from / 1000 / step) * step); s <= Math.min(to / 1000, state.doc.seconds); s += step) {
    const tick = element("span", clock(1000 * s, step < 1 ? 1 : 0));
    tick.style.left = `${pixels(1000 * s)}px`;
    ticks.push(tick);
  }
  $("ruler").replaceChildren(...ticks);
  drawStrip();
}

// What the model saw, window by window: the color of the likeliest label, the stronger the likelier.
function drawStrip() {
  const canvas = $("strip");
  const [width, left] = [scroller.clientWidth, scroller.scrollLeft];
  const ratio = devicePixelRatio || 1;
  canvas.style.left = `${left}px`;
  canvas.style.width = `${width}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(14 * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const step = state.doc.windows.length > 1 ? state.doc.windows[1][0] - state.doc.windows[0][0] : state.doc.seconds;
  for (const [start, end, label, probability] of state.doc.windows) {
    const middle = (start + end) / 2;
    const x = (middle - step / 2) * state.scale - left;
    const wide = Math.max(1, step * state.scale);
    if (x + wide < 0 || x > width) continue;
    pen.fillStyle = `hsl(${hue(label)} 60% 50% / ${0.15 + 0.85 * probability})`;
    pen.fillRect(x, 14 - 14 * probability, wide - (wide > 6 ? 1 : 0), 14 * probability);
  }
}

function drawPanel() {
  const span = chosen();
  for (const id of ["label", "save-label", "start", "end"]) $(id).disabled = !span;
  $("about").textContent = span ? (span[KEY.checked] ? "Checked" : `Predicted with ${Math.round(100 * span[KEY.probability])} %`) : "Choose a stretch to correct it.";
  if (document.activeElement !== $("label")) $("label").value = span ? span[KEY.label] : "";
  for (const side of ["start", "end"]) if (document.activeElement !== $(side)) $(side).value = span ? clock(span[KEY[side]], 2) : "";
  const done = state.spans.filter((one) => one[KEY.checked]).length;
  $("progress").textContent = `${done} of ${state.spans.length} checked`;
  const rows = state.spans.map((one, at) => {
    const button = element("button");
    const color = element("i");
    color.style.setProperty("--h", hue(one[KEY.label]));
    button.append(color, element("b", one[KEY.label]), element("span", `${clock(one[0], 0)} – ${clock(one[1], 0)}`),
      one[KEY.checked] ? element("span", "✓", "done") : element("span", one[KEY.probability] === null ? "" : `${Math.round(100 * one[KEY.probability])} %`));
    button.setAttribute("aria-current", String(at === state.at));
    button.setAttribute("aria-label", describe(one));
    button.addEventListener("click", () => select(at, true));
    const item = element("li");
    item.append(button);
    return item;
  });
  const box = $("stretches");
  const [top, inside] = [box.scrollTop, box.contains(document.activeElement)];
  box.replaceChildren(...rows);
  box.scrollTop = top;
  if (inside) box.querySelector("[aria-current='true']")?.focus({preventScroll: true});
}

function draw() { drawTrack(); drawPanel(); drawHead(); }

// ---- pointer and keys

$("track").addEventListener("pointerdown", (event) => {
  const handle = event.target.closest(".edge");
  if (!handle || event.button) return;
  event.preventDefault();
  const [at, side] = [Number(handle.dataset.at), Number(handle.dataset.side)];
  state.at = at;
  const box = $("space").getBoundingClientRect();
  state.drag = {at, side, before: state.spans, together: touches(at, side) && !event.altKey, off: event.clientX - box.left - pixels(state.spans[at][side])};
  $("track").setPointerCapture(event.pointerId);
  video.pause();
});
$("track").addEventListener("pointermove", (event) => {
  const drag = state.drag;
  if (!drag) return;
  const ms = (event.clientX - $("space").getBoundingClientRect().left - drag.off) / state.scale * 1000;
  state.spans = moved(drag.before, drag.at, drag.side, ms, drag.together);
  seek(state.spans[drag.at][drag.side]);
  draw();
});
for (const kind of ["pointerup", "pointercancel"]) {
  $("track").addEventListener(kind, () => {
    const drag = state.drag;
    if (!drag) return;
    state.drag = null;
    const spans = state.spans;
    state.spans = drag.before;
    const to = spans[drag.at][drag.side];
    if (kind === "pointerup" && to !== drag.before[drag.at][drag.side]) {
      state.spans = spans;
      change(spans, `${drag.side === KEY.start ? "starts" : "ends"} at ${clock(to)}`);
    } else draw();
  });
}
$("track").addEventListener("click", (event) => {
  const made = event.target.closest(".span");
  if (!made) return;
  const ms = (event.clientX - $("space").getBoundingClientRect().left) / state.scale * 1000;
  select(Number(made.dataset.at), false);
  seek(ms);
});
$("ruler").addEventListener("pointerdown", (event) => {
  seek((event.clientX - $("space").getBoundingClientRect().left) / state.scale * 1000);
});
// An edge that is moved by keys is saved once the key is still.
let nudged;
function nudge(side, by) {
  if (!state.drag) state.drag = {at: state.at, side, before: state.spans, together: touches(state.at, side)};
  state.spans = moved(state.spans, state.at, side, state.spans[state.at][side] + by, state.drag.together);
  seek(state.spans[state.at][side]);
  draw();
  clearTimeout(nudged);
  nudged = setTimeout(settleNudge, 500);
}
function settleNudge() {
  clearTimeout(nudged);
  const drag = state.drag;
  if (!drag || drag.off !== undefined) return;
  state.drag = null;
  change(state.spans, `${drag.side === KEY.start ? "starts" : "ends"} at ${clock(state.spans[drag.at][drag.side])}`);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Shift" || !state.doc) return;
  const target = event.target;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && !["checkbox", "file"].includes(target.type);
  if (event.key === "Escape" && typing) { target.blur(); draw(); event.preventDefault(); return; }
  if (typing || document.querySelector("dialog[open]")) return;
  if (event.key === "?") { $("help").showModal(); event.preventDefault(); return; }
  const arrow = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (arrow && target.classList.contains("edge")) {
    event.preventDefault();
    nudge(Number(target.dataset.side), arrow * (event.shiftKey ? 10 : 1) * EDGE_MS);
    return;
  }
  settleNudge();
  if (arrow && target.tagName !== "VIDEO") { event.preventDefault(); seek(now() + arrow * (event.shiftKey ? 10000 : 1000)); return; }
  if ((target.tagName === "BUTTON" || target.tagName === "A" || target.tagName === "VIDEO") && (event.key === " " || event.key === "Enter")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
}

// ---- start

async function showList() {
  const {workspace, rows} = await ask("/api/timelines");
  $("workspace").textContent = workspace;
  $("list").hidden = false;
  $("none").hidden = rows.length > 0;
  document.querySelector("#list .scroll").hidden = !rows.length;
  $("recordings").append(...rows.map((row) => {
    const made = element("tr");
    const link = element("a", row.title);
    link.href = `/timelines?recording=${encodeURIComponent(row.name)}`;
    const first = element("td");
    first.append(link);
    if (row.changed) first.append(" ", element("span", "changed on disk since", "soft"));
    const progress = element("td");
    const track = element("span", undefined, "bar");
    const full = element("i");
    full.style.width = `${row.spans ? (100 * row.checked) / row.spans : 0}%`;
    track.append(full);
    progress.append(track, `${row.checked} of ${row.spans}`);
    made.append(first, element("td", clock(1000 * row.seconds, 0)), element("td", row.run || "a checkpoint"), element("td", String(row.spans)), progress);
    return made;
  }));
}

async function showEditor(name) {
  const doc = await ask(`/api/timelines/${encodeURIComponent(name)}`);
  Object.assign(state, {doc, who: doc.who});
  $("workspace").textContent = doc.workspace;
  $("title").textContent = doc.title;
  document.title = `${doc.title} · dance app`;
  $("editor").hidden = false;
  $("labels").append(...doc.labels.map((label) => { const option = element("option"); option.value = label; return option; }));
  if (doc.media) video.src = `/recordings/${encodeURIComponent(name)}`;
  else noPicture("The file of this recording is gone, or another one now. Its timeline can be corrected all the same.");
  for (const kind of ["eaf", "vtt", "csv"]) link(kind);
  settle(doc);
  zoom(0);
  // At the width of the screen a long recording would be hairlines.
  const readable = scroller.clientWidth / (innerWidth <= 820 ? 180 : 600);
  if (state.scale < readable) zoom(readable / state.scale, 0);
}

function link(kind) {
  $(`export-${kind}`).href = `/api/timelines/${encodeURIComponent(state.doc.name)}/export.${kind}${$("only-checked").checked ? "?checked=1" : ""}`;
}

function noPicture(text) {
  video.hidden = true;
  $("gone").hidden = false;
  $("gone").textContent = text;
}

video.addEventListener("error", () => noPicture("This browser cannot play the file. Its timeline can be corrected all the same: click the ruler to choose a moment."));
(function tick() {
  if (state.doc && !video.paused) {
    drawHead();
    const x = pixels(now());
    if (x > scroller.scrollLeft + scroller.clientWidth - 40) scroller.scrollLeft = x - 60;
  }
  requestAnimationFrame(tick);
})();
video.addEventListener("seeked", () => { if (state.doc) drawHead(); });
scroller.addEventListener("scroll", () => requestAnimationFrame(() => { if (state.doc && !state.drag) drawTrack(); }), {passive: true});
scroller.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 200), (event.clientX - $("space").getBoundingClientRect().left) / state.scale * 1000);
}, {passive: false});
new ResizeObserver(() => { if (state.doc) zoom(1); }).observe(scroller);
document.addEventListener("keydown", keys);
document.querySelectorAll("[data-key]").forEach((button) => button.addEventListener("click", () => KEYS[button.dataset.key]()));
$("save-label").addEventListener("click", () => relabel($("label").value.trim()));
$("label").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  relabel($("label").value.trim());
  event.target.blur();
});
for (const side of ["start", "end"]) {
  $(side).addEventListener("change", () => {
    const ms = milliseconds($(side).value);
    if (ms === null) toast("write a time as 1:02.5");
    else setEdge(KEY[side], ms);
  });
}
$("only-checked").addEventListener("change", () => ["eaf", "vtt", "csv"].forEach(link));
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (file) await save({action: "import", file: file.name, text: await file.text()}, (before) => imported(file.name, before));
  $("file").value = "";
});
$("clips").addEventListener("click", async () => {
  await state.saving;
  try {
    const made = await post(`/api/timelines/${encodeURIComponent(state.doc.name)}/clips`, {});
    $("made-text").textContent = `${made.stretches} checked ${made.stretches === 1 ? "stretch is" : "stretches are"} in ${made.file}; ${made.left} that nobody checked ${made.left === 1 ? "is" : "are"} left out. This command cuts them as clips of the dataset:`;
    $("command").textContent = made.command;
    $("made").showModal();
  } catch (error) { toast(error.message); }
});
$("copy").hidden = !navigator.clipboard;
$("copy").addEventListener("click", async () => { await navigator.clipboard.writeText($("command").textContent); toast("copied"); });
$("made-close").addEventListener("click", () => $("made").close());
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
const named = new URLSearchParams(location.search).get("recording");
(named ? showEditor(named) : showList()).catch((error) => toast(error.message));
