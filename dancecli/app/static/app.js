"use strict";
// The grid holds only the cells that can be seen; rows of clips are asked of the server a page at a time.
const FILTERS = [["subset", "Subset"], ["outcome", "Prediction"], ["label", "Label"], ["predicted", "Predicted as"],
  ["suspect", "Suspects"], ["next", "Active learning"], ["flag", "Flags"], ["changed", "Corrections"], ["dataset", "Dataset"], ["source", "Source"]];
const NAMES = {black: "black", static: "static", bars: "letterboxed", short: "short", noted: "with a note",
  right: "right", wrong: "wrong", yes: "corrected", excluded: "excluded",
  id: "by id", label: "by label", longest: "longest first", shortest: "shortest first",
  surest: "most confident", "least-sure": "least confident", worst: "lowest score of its label",
  suspects: "most suspicious", "near-duplicate": "near-duplicates", outlier: "outliers"};
// What an order or a selection by another clip, or on the map, is called on its chip.
const ORDERS = {like: (id) => `Looks like: ${id}`, moves: (id) => `Moves like: ${id}`, within: () => "Selected on the map"};
const CELL = {width: 220, height: 196};
const SMALL = {width: 168, height: 172};
// Of two compared runs each has a line.
const cellSize = () => {
  const {width, height} = innerWidth <= 820 ? SMALL : CELL;
  return {width, height: height + (state.query.a && state.query.a !== state.query.b ? 20 : 0)};
};
const state = {query: {}, about: null, total: 0, pages: new Map(), asked: new Set(), columns: 1, at: 0, open: null, stale: 0, waiting: 0, between: {}};
const named = (key) => NAMES[key] ?? key;
const media = (id) => `/media/${encodeURIComponent(id)}`;

// What is shown stands in the address, so that a view can be sent.
function readAddress() {
  const words = new URLSearchParams(location.search);
  state.query = {};
  for (const [key] of FILTERS) if (words.get(key)) state.query[key] = words.get(key);
  for (const key of ["text", "sort", "view", "a", "b", "between", ...Object.keys(ORDERS)]) if (words.get(key)) state.query[key] = words.get(key);
  $("text").value = state.query.text ?? "";
  $("sort").value = state.query.sort ?? "id";
  return words.get("clip");
}

function writeAddress(replace) {
  const words = new URLSearchParams(state.query);
  if (state.open !== null) words.set("clip", state.open);
  const address = words.size ? `?${words}` : location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", address);
}

function choose(key, value) {
  if (!value || state.query[key] === value) delete state.query[key];
  else state.query[key] = value;
  writeAddress(false);
  reload();
}

// Of two runs, in words: which of them got a clip right.
function sides() {
  const {a, b} = state.query;
  if (a === b) return [["both", `${a} right`], ["neither", `${a} wrong`]];
  return [["a", `${a} right, ${b} wrong`], ["b", `${b} right, ${a} wrong`], ["both", "both right"], ["neither", "both wrong"]];
}

function drawComparison() {
  const {a, b, between} = state.query;
  if (!a || !b) return;
  const heads = [element("h2", a === b ? a : `${a} and ${b}`)];
  for (const [side, text] of sides()) {
    const button = element("button");
    const short = side === "a" || side === "b" ? `only ${state.query[side]} right` : text;
    button.append(element("span", short), element("span", (state.between[side] ?? 0).toLocaleString("en"), "n"));
    button.setAttribute("aria-pressed", String(between === side));
    button.title = text;
    button.addEventListener("click", () => choose("between", side));
    heads.push(button);
  }
  $("filters").prepend(...heads);
  const shown = sides().find(([side]) => side === between)?.[1] ?? (a === b ? a : `${a} and ${b}`);
  const chip = element("button", `${shown} ×`);
  chip.setAttribute("aria-label", `Remove filter ${shown}`);
  chip.addEventListener("click", () => {
    for (const key of ["a", "b", "between"]) delete state.query[key];
    writeAddress(false);
    reload();
  });
  $("chips").append(chip);
}

const whoAmI = () => localStorage.getItem("dance-who") ?? state.about.who;

function drawFilters() {
  const box = $("filters");
  const top = box.scrollTop;
  box.replaceChildren();
  for (const [key, title] of FILTERS) {
    const order = key === "subset" ? ["train", "val", "test"] : null;
    const counts = Object.entries(state.about.facets[key] ?? {})
      .sort(([a], [b]) => (order ? order.indexOf(a) - order.indexOf(b) : 0)).filter(([value, n]) => n || state.query[key] === value);
    if (!counts.length || (counts.length === 1 && ["dataset", "source"].includes(key))) continue;
    box.append(element("h2", title));
    for (const [value, n] of counts) {
      const button = element("button");
      button.append(element("span", key === "next" ? "to label next" : named(value)), element("span", n.toLocaleString("en"), "n"));
      button.setAttribute("aria-pressed", String(state.query[key] === value));
      button.title = named(value);
      button.addEventListener("click", () => choose(key, value));
      box.append(button);
    }
  }
  const name = element("label", "Your name, for the history");
  const who = element("input");
  who.value = whoAmI();
  who.addEventListener("change", () => localStorage.setItem("dance-who", who.value.trim()));
  name.append(who);
  box.append(name);
  box.scrollTop = top;
  $("chips").replaceChildren(...FILTERS.filter(([key]) => state.query[key]).map(([key, title]) => {
    const value = key === "next" ? "to label next" : named(state.query[key]);
    const chip = element("button", `${title}: ${value} ×`);
    chip.setAttribute("aria-label", `Remove filter ${title}: ${value}`);
    chip.addEventListener("click", () => choose(key, ""));
    return chip;
  }));
  $("sort").disabled = ["like", "moves", "next"].some((key) => state.query[key]);
  for (const key of Object.keys(ORDERS).filter((order) => state.query[order])) {
    const text = ORDERS[key](state.query[key]);
    const chip = element("button", `${text} ×`);
    chip.setAttribute("aria-label", `Remove: ${text}`);
    chip.addEventListener("click", () => choose(key, ""));
    $("chips").append(chip);
  }
  drawComparison();
}

async function reload(keep) {
  state.stale += 1;
  state.waiting = 0;
  state.pages.clear();
  state.asked.clear();
  if (!keep) { state.at = 0; $("grid").scrollTop = 0; }
  drawFilters();
  dispatchEvent(new CustomEvent("view"));
  await load(keep ? Math.floor(state.at / 300) : 0);
}

// Who scrolls past a thousand clips waits for those at which they stop, not for all between.
const MOST_ASKED = 2;

async function load(page) {
  if (state.asked.has(page) || state.waiting >= MOST_ASKED) return;
  state.asked.add(page);
  state.waiting += 1;
  const turn = state.stale;
  const words = new URLSearchParams({...state.query, offset: String(page * 300)});
  let answer;
  try {
    answer = await ask(`/api/clips?${words}`);
  } catch (error) {
    toast(error.message);
    return;
  } finally {
    // Of what was shown before, nobody waits for the answers.
    if (turn === state.stale) state.waiting -= 1;
  }
  if (turn !== state.stale) return;
  if (answer.wait) {
    $("count").textContent = answer.wait;
    setTimeout(() => { if (turn === state.stale) { state.asked.delete(page); load(page); } }, 1000);
    return;
  }
  state.total = answer.total;
  if (state.query.a && JSON.stringify(state.between) !== JSON.stringify(answer.between)) {
    state.between = answer.between;
    drawFilters();
  }
  answer.rows.forEach((row, i) => state.pages.set(page * 300 + i, row));
  const clips = state.about.clips.toLocaleString("en");
  $("count").textContent = `${state.total.toLocaleString("en")} of ${clips} clips`;
  dispatchEvent(new CustomEvent("count"));
  draw();
}

function draw() {
  const grid = $("grid");
  const width = grid.clientWidth - 24;
  const size = cellSize();
  state.columns = Math.max(1, Math.floor(width / size.width));
  const cell = width / state.columns;
  const rows = Math.ceil(state.total / state.columns);
  const first = Math.max(0, Math.floor(grid.scrollTop / size.height) - 1);
  const last = Math.min(rows, Math.ceil((grid.scrollTop + grid.clientHeight) / size.height) + 1);
  const space = $("space");
  space.style.height = `${rows * size.height + 20}px`;
  const kept = new Map([...space.children].map((child) => [child.dataset.key, child]));
  const shown = [];
  for (let i = first * state.columns; i < Math.min(last * state.columns, state.total); i += 1) {
    const row = state.pages.get(i);
    if (!row) { load(Math.floor(i / 300)); continue; }
    const key = `${row.clip_id}|${row.label}|${row.excluded}|${row.changed}|${row.suspect}|${row.by_a ?? ""}|${row.by_b ?? ""}`;
    const made = kept.get(key) ?? cellOf(row, key);
    made.style.left = `${12 + (i % state.columns) * cell}px`;
    made.style.top = `${Math.floor(i / state.columns) * size.height}px`;
    made.style.width = `${cell}px`;
    made.dataset.index = String(i);
    made.setAttribute("aria-selected", String(i === state.at));
    made.id = `cell-${i}`;
    shown.push(made);
  }
  space.replaceChildren(...shown);
  grid.setAttribute("aria-activedescendant", `cell-${state.at}`);
}

function cellOf(row, key) {
  const cell = element("div", undefined, `cell${row.excluded ? " excluded" : ""}`);
  cell.dataset.key = key;
  cell.setAttribute("role", "option");
  cell.setAttribute("aria-label", `${row.label}, ${row.clip_id}`);
  const box = element("div", undefined, "pic");
  const image = element("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = "";
  image.src = `/thumb/${encodeURIComponent(row.clip_id)}`;
  image.addEventListener("error", () => { image.remove(); });
  box.append(image, element("span", `${row.seconds.toFixed(1)} s`, "len"));
  const marks = [...(row.suspect ? ["suspect"] : []), ...row.flags.map(named), ...(row.excluded ? ["excluded"] : row.changed ? ["corrected"] : [])];
  if (marks.length) {
    const mark = element("div", undefined, "mark");
    mark.append(...marks.map((text) => element("span", text)));
    box.append(mark);
  }
  cell.append(box, element("div", row.label, "name"));
  const more = row.predicted
    ? element("div", `${row.right ? "✓" : "✗"} ${row.predicted} ${(100 * row.score).toFixed(0)} %`, `more ${row.right ? "right" : "wrong"}`)
    : element("div", [row.subset, row.clip_id].filter(Boolean).join(" · "), "more");
  more.title = row.clip_id;
  if (row.by_a === undefined) cell.append(more);
  else cell.append(callOf(row, "a"), ...(state.query.a === state.query.b ? [] : [callOf(row, "b")]));
  return cell;
}

function callOf(row, side) {
  const right = row[`right_${side}`];
  const made = element("div", `${right ? "✓" : "✗"} ${row[`by_${side}`]}`, `more ${right ? "right" : "wrong"}`);
  made.title = `${state.query[side]}: ${row[`by_${side}`]}`;
  return made;
}

function select(i) {
  if (!state.total) return;
  state.at = Math.min(Math.max(i, 0), state.total - 1);
  const grid = $("grid");
  const {height} = cellSize();
  const top = Math.floor(state.at / state.columns) * height;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
  draw();
}

async function openClip(id, replace) {
  let clip;
  try {
    clip = await ask(`/api/clips/${encodeURIComponent(id)}`);
  } catch (error) {
    toast(error.message);
    return;
  }
  state.open = id;
  writeAddress(replace);
  const changed = state.shown?.clip_id !== id;
  state.shown = clip;
  if (changed) {
    const video = $("video");
    video.hidden = false;
    $("gone").hidden = true;
    video.src = media(id);
    video.play().catch(() => {});
  }
  drawClip();
  if (!$("viewer").open) $("viewer").showModal();
  if (changed) dispatchEvent(new CustomEvent("clip", {detail: clip}));
}

function drawClip() {
  const clip = state.shown;
  $("title").textContent = clip.label;
  const verdict = $("verdict");
  verdict.replaceChildren();
  if (clip.predicted) {
    verdict.append(element("span", clip.right ? "predicted right" : `predicted as ${clip.predicted}`, clip.right ? "right" : "wrong"),
      ` with ${(100 * clip.score).toFixed(1)} %`);
  } else if (clip.label !== clip.listed_label) {
    verdict.append(`listed as ${clip.listed_label}`);
  }
  $("suspect").hidden = !clip.suspect;
  $("reason").textContent = clip.suspect ? `Suspect: ${clip.reason}.` : "";
  $("accept").hidden = !clip.suggested;
  $("accept").textContent = `Relabel as ${clip.suggested}`;
  $("relabel").value = clip.label;
  $("second").value = clip.corrections.second_label ?? "";
  $("note").value = clip.corrections.note ?? "";
  $("group").value = clip.corrections.group ?? "";
  const excluded = Boolean(clip.corrections.exclude);
  $("exclude").setAttribute("aria-pressed", String(excluded));
  $("exclude").textContent = excluded ? "Excluded" : "Exclude";
  const facts = {
    Clip: clip.clip_id, "Listed label": clip.listed_label, Subset: clip.subset || "none", Group: clip.group,
    Length: `${clip.seconds.toFixed(2)} s, ${clip.num_frames} frames`, Size: `${clip.width} × ${clip.height}`,
    "In the source": `${(clip.start_ms / 1000).toFixed(2)} to ${(clip.end_ms / 1000).toFixed(2)} s`,
    "To be cut": newTimes(clip),
    Source: [clip.dataset, clip.source].filter(Boolean).join(", "), Title: clip.title, Uploader: clip.uploader,
    License: clip.license, File: clip.original_path, Note: clip.note, Flags: clip.flags.map(named).join(", "),
  };
  $("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value)
    .flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function newTimes(clip) {
  const {start_ms, end_ms, exclude} = clip.corrections;
  if ((!start_ms && !end_ms) || exclude) return "";
  const [start, end] = [start_ms ?? clip.start_ms, end_ms ?? clip.end_ms].map((ms) => (Number(ms) / 1000).toFixed(2));
  return `${start} to ${end} s in the source, by dance corrections --recut`;
}

async function correct(field, value, text, why = "") {
  const clip = state.shown;
  const before = field === "label" ? clip.label : clip.corrections[field] ?? "";
  const change = {clip_id: clip.clip_id, field, new: value, why};
  if (value === before) return;
  await send(change, text, {clip_id: clip.clip_id, field, new: before});
}

const undo = [];
// `back` takes the change back; a change that is itself an undo has none.
async function send(change, text, back) {
  try {
    await ask("/api/corrections", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({who: whoAmI(), changes: [change]})});
  } catch (error) {
    toast(error.message);
    throw error;
  }
  if (back) undo.push(back);
  toast(text);
  state.about = await ask("/api/about");
  if (state.open !== null) await openClip(state.open, true);
  await reload(true);
}

async function step(by) {
  const here = state.pages.get(state.at);
  // In the place of a clip that has left the queue is the next one.
  const left = here && here.clip_id !== state.open && by > 0 && (state.query.suspect || state.query.next);
  const next = left ? state.at : state.at + by;
  if (next < 0 || next >= state.total) return;
  select(next);
  if (!state.pages.get(next)) await load(Math.floor(next / 300));
  const row = state.pages.get(next);
  if (row) openClip(row.clip_id, true);
}

// A clip that was looked at leaves the queue, so the next one stands in its place.
async function next() {
  if (!state.query.suspect && !state.query.next) { await step(1); return; }
  if (!state.total) { $("viewer").close(); toast(state.query.next ? "all of these are labeled" : "no suspects are left"); return; }
  select(state.at);
  const row = state.pages.get(state.at);
  if (row) await openClip(row.clip_id, true);
}

function frame(by) {
  const clip = state.shown;
  const video = $("video");
  video.pause();
  const one = clip.fps_den / clip.fps_num;
  const now = Math.floor(video.currentTime / one + 0.01);
  video.currentTime = Math.min(Math.max((now + by + 0.5) * one, 0), video.duration || 0);
}

// What keys do in the grid and on the map, where no clip is open.
const VIEW_KEYS = {u: () => KEYS.u()};

function toggle(key, on) {
  document.querySelector(`.transport [data-key="${key}"]`).setAttribute("aria-pressed", String(on));
}

const KEYS = {
  n: () => step(1), p: () => step(-1), ".": () => frame(1), ",": () => frame(-1),
  s: () => { const video = $("video"); video.playbackRate = video.playbackRate === 1 ? 0.25 : 1; video.defaultPlaybackRate = video.playbackRate; toggle("s", video.playbackRate !== 1); },
  l: () => { const video = $("video"); video.loop = !video.loop; toggle("l", video.loop); },
  " ": () => { const video = $("video"); if (video.paused) video.play(); else video.pause(); },
  r: () => $("relabel").select(), d: () => $("second").select(), m: () => $("note").select(), g: () => $("group").select(),
  x: () => {
    const excluded = Boolean(state.shown.corrections.exclude);
    return correct("exclude", excluded ? "" : "yes", excluded ? "included again" : "excluded");
  },
  a: async () => {
    const {suspect, suggested} = state.shown;
    if (!suspect || !suggested) { toast("there is no suggestion for this clip"); return; }
    await correct("label", suggested, `relabeled: ${suggested}`, `suspect: ${state.shown.reason}`);
    await next();
  },
  c: async () => {
    const {label} = state.shown;
    await correct("confirmed", "yes", `confirmed: ${label}`);
    await next();
  },
  i: () => moveEnd("start_ms", "start"),
  o: () => moveEnd("end_ms", "end"),
  k: () => orderBy("like", "moves"),
  j: () => orderBy("moves", "like"),
  u: async () => {
    const last = undo.pop();
    if (!last) { toast("there is nothing to undo"); return; }
    if (last.moment) { await undoMany(last.moment); return; }
    await send({...last, why: "undo"}, "undone");
  },
};

function orderBy(key, other) {
  const id = state.shown.clip_id;
  $("viewer").close();
  delete state.query[other];
  delete state.query.view;
  if (state.query[key] !== id) choose(key, id);
}

// The clip itself is cut by `dance corrections --recut`.
function moveEnd(field, name) {
  const clip = state.shown;
  const at = Math.round(clip.start_ms + 1000 * $("video").currentTime);
  const start = field === "start_ms" ? at : Number(clip.corrections.start_ms ?? clip.start_ms);
  const end = field === "end_ms" ? at : Number(clip.corrections.end_ms ?? clip.end_ms);
  if (start >= end) { toast("the start must be before the end"); return Promise.resolve(); }
  return correct(field, at === clip[field] ? "" : String(at), `new ${name}: ${(at / 1000).toFixed(2)} s`);
}

function saveLabel() {
  const value = $("relabel").value.trim();
  if (!state.about.labels.includes(value)) { toast(`"${value}" is not a label of this dataset`); return; }
  return correct("label", value, `relabeled: ${value}`);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) { event.target.blur(); event.preventDefault(); return; }
  if (typing || $("help").open) return;
  if (event.key === "?") { $("help").showModal(); event.preventDefault(); return; }
  if ($("viewer").open) {
    if (event.target.tagName === "VIDEO" && event.key === " ") return;
    if (event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter")) return;
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); Promise.resolve(act()).catch(() => {}); }
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "/") { event.preventDefault(); $("text").focus(); }
  const act = VIEW_KEYS[event.key];
  if (act) { event.preventDefault(); Promise.resolve(act()).catch(() => {}); return; }
  if (event.target !== $("grid")) return;
  const moves = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: state.columns, ArrowUp: -state.columns,
    PageDown: 3 * state.columns, PageUp: -3 * state.columns, Home: -state.at, End: state.total};
  if (event.key in moves) { event.preventDefault(); select(state.at + moves[event.key]); }
  if (event.key === "Enter" && state.pages.get(state.at)) { event.preventDefault(); openClip(state.pages.get(state.at).clip_id, false); }
}

function closed() {
  $("video").pause();
  $("video").removeAttribute("src");
  $("video").load();
  state.open = null;
  state.shown = null;
  dispatchEvent(new CustomEvent("clip", {detail: null}));
  writeAddress(false);
  $(state.query.view === "map" ? "map-canvas" : "grid").focus();
  draw();
}

async function start() {
  state.about = await ask("/api/about");
  const about = state.about;
  $("workspace").textContent = [about.name, about.split && `split ${about.split}`, about.run && `run ${about.run}`].filter(Boolean).join(" · ");
  document.title = `${about.name} · dance app`;
  const missing = [...(about.run ? [] : ["surest", "least-sure", "worst"]),
    ...(Object.keys(about.facets.suspect).length ? [] : ["suspects"])];
  const sorts = about.sorts.filter((sort) => !missing.includes(sort));
  $("sort").append(...sorts.map((sort) => { const option = element("option", named(sort)); option.value = sort; return option; }));
  $("labels").append(...about.labels.map((label) => { const option = element("option"); option.value = label; return option; }));
  const clip = readAddress();
  await reload();
  if (clip) openClip(clip, true);
  $(state.query.view === "map" ? "map-canvas" : "grid").focus();
}

let typed;
$("text").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => choose("text", $("text").value.trim() === state.query.text ? "" : $("text").value.trim()), 200);
});
$("sort").addEventListener("change", () => { state.query.sort = $("sort").value; writeAddress(false); reload(); });
$("grid").addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
$("grid").addEventListener("click", (event) => {
  const cell = event.target.closest(".cell");
  if (!cell) return;
  select(Number(cell.dataset.index));
  openClip(state.pages.get(state.at).clip_id, false);
});
new ResizeObserver(() => { if (state.about) draw(); }).observe($("grid"));
document.addEventListener("keydown", keys);
document.querySelectorAll("#viewer [data-key]").forEach((button) => {
  button.addEventListener("click", () => Promise.resolve(KEYS[button.dataset.key]()).catch(() => {}));
});
for (const [button, input, act] of [
  ["save-label", "relabel", saveLabel],
  ["save-second", "second", () => correct("second_label", $("second").value.trim(), "saved: second dance")],
  ["save-note", "note", () => correct("note", $("note").value.trim(), "note saved")],
  ["save-group", "group", () => correct("group", $("group").value.trim(), "group saved")],
]) {
  $(button).addEventListener("click", () => Promise.resolve(act()).catch(() => {}));
  $(input).addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); Promise.resolve(act()).catch(() => {}); event.target.blur(); }
  });
}
$("video").loop = true;
$("video").addEventListener("error", () => { if (state.open !== null) { $("video").hidden = true; $("gone").hidden = false; } });
$("viewer").addEventListener("close", closed);
$("close").addEventListener("click", () => $("viewer").close());
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("menu").addEventListener("click", () => {
  const open = $("filters").classList.toggle("open");
  $("menu").setAttribute("aria-expanded", String(open));
});
addEventListener("popstate", () => {
  const clip = readAddress();
  reload();
  if (clip) openClip(clip, true);
  else if ($("viewer").open) $("viewer").close();
});
start().catch((error) => toast(error.message));
