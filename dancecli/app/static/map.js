"use strict";
// The map: every clip a point near those that look like it. Drawn pixel by pixel, so that 100,000 points move smoothly.
const SIDE = 65535;
const STEPS = 9999;
const COLORINGS = {label: "by class", subset: "by subset", outcome: "by prediction"};
const PALETTE = ["#1c7ed6", "#e8590c", "#2f9e44", "#ae3ec9", "#d6a100", "#0c99a8", "#e64980", "#8d6e4f", "#748ffc", "#74b816", "#c92a2a", "#868e96"];
const SUBSETS = [["none", "#868e96"], ["train", "#1c7ed6"], ["val", "#d6a100"], ["test", "#e64980"]];
// Blue and orange, which differ for the color-blind too.
const OUTCOMES = [["not predicted", "#868e96"], ["right", "#1c7ed6"], ["wrong", "#e8590c"]];
const map = {info: null, n: 0, view: {x: SIDE / 2, y: SIDE / 2, zoom: 1}, coloring: "label", moving: false, path: null, drag: null,
  pointers: new Map(), ring: {x: SIDE / 2, y: SIDE / 2, r: SIDE / 16}, known: new Map(), turn: 0, hover: -1, ready: false};
const shownMap = () => state.query.view === "map";
const canvasOf = () => $("map-canvas");

// Places of the map and of the screen, the latter in pixels of the page.
function frameOf() {
  const {clientWidth: width, clientHeight: height} = canvasOf();
  return {width, height, scale: (Math.min(width, height) / SIDE) * map.view.zoom};
}
const toScreen = (x, y, {width, height, scale}) => [(x - map.view.x) * scale + width / 2, (y - map.view.y) * scale + height / 2];
const toMap = (left, top, {width, height, scale}) => [(left - width / 2) / scale + map.view.x, (top - height / 2) / scale + map.view.y];

const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
function colorOfLabel(i) {
  if (i < PALETTE.length && state.about.labels.length <= PALETTE.length) return PALETTE[i];
  const hue = (i * 137.508) % 360;
  const light = [0.42, 0.54, 0.66][i % 3];
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    const value = light - 0.62 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(255 * value).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}

function colors() {
  if (map.coloring === "subset") return {of: map.subset, list: SUBSETS};
  if (map.coloring === "outcome") return {of: map.outcome, list: OUTCOMES};
  return {of: map.label, list: state.about.labels.map((label, i) => [label, colorOfLabel(i)])};
}

// A disc as pixels with their opacity, at a distance in bytes from its middle.
function discOf(radius, width) {
  const disc = [];
  const reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy += 1) {
    for (let dx = -reach; dx <= reach; dx += 1) {
      const opacity = Math.min(Math.max(radius + 0.5 - Math.hypot(dx, dy), 0), 1);
      if (opacity > 0) disc.push({at: 4 * (dy * width + dx), opacity: Math.round(235 * opacity)});
    }
  }
  return disc;
}

function paint(pixels, width, height, ratio, frame, chosen, disc, colorOf) {
  const margin = Math.ceil(disc.reach);
  for (let i = 0; i < map.n; i += 1) {
    if (Boolean(map.shown[i]) !== chosen) continue;
    const left = Math.round(((map.x[i] - map.view.x) * frame.scale + frame.width / 2) * ratio);
    const top = Math.round(((map.y[i] - map.view.y) * frame.scale + frame.height / 2) * ratio);
    if (left < margin || top < margin || left >= width - margin || top >= height - margin) continue;
    const color = colorOf(i);
    const middle = 4 * (top * width + left);
    for (const {at, opacity} of disc.pixels) {
      const pixel = middle + at;
      for (let part = 0; part < 3; part += 1) pixels[pixel + part] += ((color[part] - pixels[pixel + part]) * opacity) >> 8;
    }
  }
}

function drawMap() {
  if (!shownMap() || !map.ready) return;
  const canvas = canvasOf();
  const frame = frameOf();
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const [width, height] = [Math.max(1, Math.round(frame.width * ratio)), Math.max(1, Math.round(frame.height * ratio))];
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const style = getComputedStyle(canvas.parentElement);
  pen.fillStyle = style.backgroundColor;
  pen.fillRect(0, 0, width, height);
  const image = pen.getImageData(0, 0, width, height);
  const {of, list} = colors();
  const table = list.map(([, color]) => rgb(color));
  const radius = Math.min(Math.max(5.6 - 0.9 * Math.log10(map.n + 1) + 0.5 * Math.log2(map.view.zoom), 1.4), 6) * ratio;
  const disc = (size) => ({pixels: discOf(size, width), reach: size + 1});
  const dim = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  const gray = rgb(dim);
  paint(image.data, width, height, ratio, frame, false, disc(radius * 0.8), () => gray);
  paint(image.data, width, height, ratio, frame, true, disc(radius), (i) => table[of[i]] ?? [134, 142, 150]);
  pen.putImageData(image, 0, 0);
  pen.scale(ratio, ratio);
  drawOutline(pen, frame, map.path ?? lassoOf(state.query.within));
  if (canvas.matches(":focus-visible") && !map.path) drawRing(pen, frame);
  pen.setTransform(1, 0, 0, 1, 0, 0);
}

function drawOutline(pen, frame, corners) {
  if (!corners || corners.length < 2) return;
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  pen.beginPath();
  for (const [x, y] of corners) pen.lineTo(...toScreen(x, y, frame));
  pen.closePath();
  pen.globalAlpha = 0.09;
  pen.fillStyle = ink;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.strokeStyle = ink;
  pen.stroke();
}

function drawRing(pen, frame) {
  const {x, y, r} = map.ring;
  const [left, top] = toScreen(x, y, frame);
  pen.lineWidth = 2;
  pen.setLineDash([6, 4]);
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  pen.beginPath();
  pen.arc(left, top, r * frame.scale, 0, 2 * Math.PI);
  pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  pen.moveTo(left - 5, top);
  pen.lineTo(left + 5, top);
  pen.moveTo(left, top - 5);
  pen.lineTo(left, top + 5);
  pen.stroke();
}

// A selection in the address: the map that it was drawn on, and its corners.
const lassoOf = (text) => (text && map.info && text.startsWith(`${map.info.key}:`)
  ? text.slice(13).split("_").map((corner) => corner.split(".").map((part) => Number(part) * SIDE / STEPS)) : null);
function selectWithin(corners) {
  const step = Math.max(1, Math.ceil(corners.length / 120));
  const kept = corners.filter((_, i) => i % step === 0)
    .map((corner) => corner.map((part) => Math.min(Math.max(Math.round(part * STEPS / SIDE), 0), STEPS)).join("."));
  if (new Set(kept).size < 3) return;
  choose("within", `${map.info.key}:${kept.join("_")}`);
}

function drawLegend() {
  const {of, list} = colors();
  const counts = new Map();
  for (let i = 0; i < map.n; i += 1) counts.set(of[i], (counts.get(of[i]) ?? 0) + 1);
  const key = map.coloring;
  const shown = list.map(([name, color], i) => ({name, color, n: counts.get(i) ?? 0})).filter(({n}) => n)
    .sort((one, two) => (key === "label" ? two.n - one.n : 0)).slice(0, 60);
  $("map-legend").replaceChildren(...shown.map(({name, color, n}) => {
    const button = element("button");
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    dot.setAttribute("class", "dot");
    dot.setAttribute("viewBox", "0 0 10 10");
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [part, value] of Object.entries({cx: 5, cy: 5, r: 5, fill: color})) circle.setAttribute(part, value);
    dot.append(circle);
    button.append(dot, element("span", name), element("span", n.toLocaleString("en"), "n"));
    const filter = ["none", "not predicted"].includes(name) ? null : name;
    button.disabled = !filter;
    button.setAttribute("aria-pressed", String(Boolean(filter) && state.query[key] === filter));
    button.addEventListener("click", () => choose(key, filter));
    return button;
  }));
}

async function loadMap() {
  if (!shownMap()) return;
  map.turn += 1;
  const {turn} = map;
  const wait = $("map-wait");
  const say = (text) => { wait.hidden = !text; wait.textContent = text; };
  try {
    const info = await ask("/api/map");
    if (turn !== map.turn) return;
    if (info.wait) {
      say(info.wait);
      setTimeout(() => { if (turn === map.turn) loadMap(); }, 1000);
      return;
    }
    const {view, sort, like, moves, ...query} = state.query;
    const answer = await fetch(`/api/map/${info.key}/points?${new URLSearchParams(query)}`);
    // The clips have changed in between, and so will the map.
    if ([202, 409].includes(answer.status)) {
      setTimeout(() => { if (turn === map.turn) loadMap(); }, 1000);
      return;
    }
    if (answer.status !== 200) throw new Error(await answer.text());
    const bytes = await answer.arrayBuffer();
    if (turn !== map.turn) return;
    const n = info.clips;
    if (map.info?.key !== info.key) map.known.clear();
    Object.assign(map, {info, n, x: new Uint16Array(bytes, 0, n), y: new Uint16Array(bytes, 2 * n, n), label: new Uint16Array(bytes, 4 * n, n),
      subset: new Uint8Array(bytes, 6 * n, n), outcome: new Uint8Array(bytes, 7 * n, n), shown: new Uint8Array(bytes, 8 * n, n), ready: true});
    say("");
    canvasOf().dataset.points = String(n);
    drawLegend();
    drawMap();
  } catch (error) {
    if (turn === map.turn) say(error.message);
  }
}

function nearest(x, y, within) {
  let [best, least] = [-1, within * within];
  for (let i = 0; i < map.n; i += 1) {
    const distance = (map.x[i] - x) ** 2 + (map.y[i] - y) ** 2;
    if (distance < least && (map.shown[i] || best < 0)) { best = i; least = distance; }
  }
  return best;
}

async function pointAt(i) {
  if (!map.known.has(i)) map.known.set(i, await ask(`/api/map/${map.info.key}/points/${i}`));
  return map.known.get(i);
}

async function openPoint(i) {
  if (i >= 0) await openClip((await pointAt(i)).clip_id, false);
}

async function hover(left, top) {
  const frame = frameOf();
  const i = nearest(...toMap(left, top, frame), 14 / frame.scale);
  map.hover = i;
  const tip = $("map-tip");
  if (i < 0) { tip.hidden = true; return; }
  const row = await pointAt(i);
  if (map.hover !== i) return;
  const source = `/thumb/${encodeURIComponent(row.clip_id)}`;
  if (!$("map-picture").src.endsWith(source)) $("map-picture").src = source;
  $("map-name").textContent = row.label;
  $("map-more").textContent = row.predicted ? `${row.right ? "✓" : "✗"} ${row.predicted} ${(100 * row.score).toFixed(0)} %` : [row.subset, row.clip_id].filter(Boolean).join(" · ");
  tip.hidden = false;
  tip.style.left = `${Math.min(Math.max(left + 16, 0), Math.max(0, frame.width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${top + 16 + tip.offsetHeight > frame.height ? Math.max(0, top - 16 - tip.offsetHeight) : top + 16}px`;
}

function zoomBy(factor, left, top) {
  const before = toMap(left, top, frameOf());
  map.view.zoom = Math.min(Math.max(map.view.zoom * factor, 0.8), 60);
  const after = toMap(left, top, frameOf());
  map.view.x += before[0] - after[0];
  map.view.y += before[1] - after[1];
  drawMap();
}

function wholeMap() {
  map.view = {x: SIDE / 2, y: SIDE / 2, zoom: 1};
  drawMap();
}

function describeRing() {
  const {x, y, r} = map.ring;
  const counts = new Map();
  let n = 0;
  for (let i = 0; i < map.n; i += 1) {
    if (!map.shown[i] || (map.x[i] - x) ** 2 + (map.y[i] - y) ** 2 > r * r) continue;
    n += 1;
    counts.set(map.label[i], (counts.get(map.label[i]) ?? 0) + 1);
  }
  const [most] = [...counts].sort((one, two) => two[1] - one[1]);
  $("map-ring").textContent = `Ring: ${numberOf(n)}${most ? `, ${most[1]} of them ${state.about.labels[most[0]] ?? "of no label"}` : ""}`;
  const frame = frameOf();
  const [left, top] = toScreen(x, y, frame);
  // The ring stays in view.
  if (left < 0 || top < 0 || left > frame.width || top > frame.height) Object.assign(map.view, {x, y});
  drawMap();
}

const RING = () => Array.from({length: 32}, (_, i) => [map.ring.x + map.ring.r * Math.cos(i * Math.PI / 16), map.ring.y + map.ring.r * Math.sin(i * Math.PI / 16)]);
const moveRing = (dx, dy) => () => {
  map.ring.x = Math.min(Math.max(map.ring.x + dx * map.ring.r / 3, 0), SIDE);
  map.ring.y = Math.min(Math.max(map.ring.y + dy * map.ring.r / 3, 0), SIDE);
};
const sizeRing = (factor) => () => { map.ring.r = Math.min(Math.max(map.ring.r * factor, SIDE / 400), SIDE / 2); };
const zoomRing = (factor) => () => zoomBy(factor, ...toScreen(map.ring.x, map.ring.y, frameOf()));
const MAP_KEYS = {ArrowLeft: moveRing(-1, 0), ArrowRight: moveRing(1, 0), ArrowUp: moveRing(0, -1), ArrowDown: moveRing(0, 1),
  "+": sizeRing(1.25), "=": sizeRing(1.25), "-": sizeRing(0.8), PageUp: zoomRing(1.5), PageDown: zoomRing(1 / 1.5), Home: wholeMap,
  Enter: () => selectWithin(RING()), " ": () => openPoint(nearest(map.ring.x, map.ring.y, SIDE)), Backspace: () => choose("within", "")};

const at = (event) => {
  const box = canvasOf().getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
function pressed(event) {
  const canvas = canvasOf();
  canvas.setPointerCapture(event.pointerId);
  map.pointers.set(event.pointerId, at(event));
  $("map-tip").hidden = true;
  map.drag = {from: at(event), moved: false};
  map.path = map.moving || map.pointers.size > 1 ? null : [toMap(...at(event), frameOf())];
}

function dragged(event) {
  if (!map.ready) return;
  const here = at(event);
  const before = map.pointers.get(event.pointerId);
  if (!before) { hover(...here).catch(() => {}); return; }
  if (Math.hypot(here[0] - map.drag.from[0], here[1] - map.drag.from[1]) > 5) map.drag.moved = true;
  if (map.pointers.size > 1) {
    pinch(event.pointerId, before, here);
  } else if (map.path) {
    map.path.push(toMap(...here, frameOf()));
    map.ring.x = map.path.at(-1)[0];
    map.ring.y = map.path.at(-1)[1];
  } else {
    const {scale} = frameOf();
    map.view.x -= (here[0] - before[0]) / scale;
    map.view.y -= (here[1] - before[1]) / scale;
  }
  map.pointers.set(event.pointerId, here);
  requestAnimationFrame(drawMap);
}

function pinch(id, before, here) {
  const [other] = [...map.pointers].filter(([key]) => key !== id).map(([, place]) => place);
  const [was, is] = [before, here].map((place) => Math.hypot(place[0] - other[0], place[1] - other[1]));
  if (was > 0) zoomBy(is / was, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
}

function released(event) {
  if (!map.pointers.delete(event.pointerId)) return;
  const {path, drag} = map;
  map.path = null;
  if (!drag.moved) {
    const frame = frameOf();
    const place = toMap(...at(event), frame);
    [map.ring.x, map.ring.y] = place;
    openPoint(nearest(...place, 14 / frame.scale)).catch((error) => toast(error.message));
  } else if (path) {
    selectWithin(path);
  }
  drawMap();
}

function chooseTool(moving) {
  map.moving = moving;
  $("map-lasso").setAttribute("aria-pressed", String(!moving));
  $("map-move").setAttribute("aria-pressed", String(moving));
  canvasOf().classList.toggle("moving", moving);
}

function switchView() {
  choose("view", shownMap() ? "" : "map");
  $(shownMap() ? "map-canvas" : "grid").focus();
}

function showView() {
  const on = shownMap();
  $("map").hidden = !on;
  $("grid").hidden = on;
  $("view-grid").setAttribute("aria-pressed", String(!on));
  $("view-map").setAttribute("aria-pressed", String(on));
  if (!on) { map.turn += 1; return; }
  const select = $("map-color");
  const kinds = Object.keys(COLORINGS).filter((key) => key === "label" || Object.keys(state.about.facets[key] ?? {}).length);
  if (select.length !== kinds.length) {
    select.replaceChildren(...kinds.map((key) => { const option = element("option", COLORINGS[key]); option.value = key; return option; }));
    select.value = map.coloring;
  }
  map.known.clear();
  loadMap();
}

VIEW_KEYS.v = switchView;
addEventListener("view", showView);
$("view-grid").addEventListener("click", () => { if (shownMap()) switchView(); });
$("view-map").addEventListener("click", () => { if (!shownMap()) switchView(); });
$("map-color").addEventListener("change", () => { map.coloring = $("map-color").value; drawLegend(); drawMap(); });
$("map-lasso").addEventListener("click", () => chooseTool(false));
$("map-move").addEventListener("click", () => chooseTool(true));
$("map-in").addEventListener("click", () => zoomBy(1.5, canvasOf().clientWidth / 2, canvasOf().clientHeight / 2));
$("map-out").addEventListener("click", () => zoomBy(1 / 1.5, canvasOf().clientWidth / 2, canvasOf().clientHeight / 2));
$("map-whole").addEventListener("click", wholeMap);
{
  const canvas = canvasOf();
  canvas.addEventListener("pointerdown", pressed);
  canvas.addEventListener("pointermove", dragged);
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", (event) => { map.pointers.delete(event.pointerId); map.path = null; drawMap(); });
  canvas.addEventListener("pointerleave", () => { map.hover = -1; $("map-tip").hidden = true; });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(Math.exp(-event.deltaY / 400), ...at(event)); }, {passive: false});
  canvas.addEventListener("focus", drawMap);
  canvas.addEventListener("blur", () => { $("map-ring").textContent = ""; drawMap(); });
  canvas.addEventListener("keydown", (event) => {
    const act = MAP_KEYS[event.key];
    if (!act || !map.ready || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    Promise.resolve(act()).catch((error) => toast(error.message));
    if (event.key !== " ") describeRing();
  });
  new ResizeObserver(drawMap).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
}
