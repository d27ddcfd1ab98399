"use strict";
// The runs of the workspace; what is ticked stands in the address. Logs are read again while a run trains.
const state = {rows: [], ticked: [], curves: {}, compared: "", asked: null};
const LOOKS = 6;
const MOST = 12;
const KINDS = [["val top1", "Validation top-1", true], ["train loss", "Training loss", false], ["val loss", "Validation loss", false]];
const WIDE = {width: 460, height: 230, left: 46, right: 12, top: 8, bottom: 32};
const look = (run) => `r${state.ticked.indexOf(run) % LOOKS}`;
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

function readAddress() {
  const words = new URLSearchParams(location.search).getAll("run");
  state.ticked = words.filter((run) => state.rows.some((row) => row.run === run)).slice(0, MOST);
  return words.length > 0;
}

function tick(run, on) {
  state.ticked = state.ticked.filter((other) => other !== run);
  if (on) state.ticked.push(run);
  if (state.ticked.length > MOST) state.ticked.shift();
  const words = new URLSearchParams(state.ticked.map((name) => ["run", name]));
  history.pushState(null, "", words.size ? `?${words}` : location.pathname);
  drawRows();
  refreshCurves().catch((error) => toast(error.message));
}

function cell(text, title) {
  const made = element("td", text);
  if (title) made.title = title;
  return made;
}

function rowOf(row) {
  const made = element("tr", undefined, state.ticked.includes(row.run) ? look(row.run) : "");
  const box = element("input");
  box.type = "checkbox";
  box.checked = state.ticked.includes(row.run);
  box.dataset.run = row.run;
  box.setAttribute("aria-label", `Show ${row.run}`);
  box.addEventListener("change", () => tick(row.run, box.checked));
  const first = element("td");
  first.append(box);
  const name = element("td");
  const title = row.status === "done" && row.predictions ? element("a", row.run) : element("b", row.run);
  if (title.tagName === "A") title.href = `/reports/${encodeURIComponent(row.run)}/`;
  name.append(title);
  if (box.checked) name.append(element("span", undefined, "swatch"));
  name.append(element("small", row.title));
  const status = element("td");
  status.append(element("span", row.status, `state ${row.status}`));
  if (row.error) status.title = row.error;
  const last = element("td");
  if (row.status === "running") {
    const button = element("button", "Stop…", "danger");
    button.setAttribute("aria-label", `Stop ${row.run}`);
    button.addEventListener("click", () => askToStop(row));
    last.append(button);
  } else if (row.predictions) {
    const link = element("a", "Clips it got wrong");
    link.href = `/?a=${encodeURIComponent(row.run)}&b=${encodeURIComponent(row.run)}&between=neither`;
    last.append(link);
  }
  made.append(first, name, status, cell(row.epochs ? `${row.epoch} of ${row.epochs}` : row.epoch ? String(row.epoch) : "–"),
    cell(row.loss === null ? "–" : row.loss.toFixed(3), "mean of the last 20 steps"),
    cell(row.best_val_top1 === null ? "–" : percent(row.best_val_top1), "the best so far"),
    cell(row.n ? `${row.top1}/${row.n} = ${percent(row.top1 / row.n)}` : "–"), cell(row.split), cell(row.created.slice(0, 16).replace("T", " ")), last);
  return made;
}

function drawRows() {
  const held = document.activeElement;
  const [run, label] = [held?.dataset?.run, held?.getAttribute?.("aria-label")];
  $("rows").replaceChildren(...state.rows.map(rowOf));
  $("none").hidden = state.rows.length > 0;
  document.querySelector(".scroll").hidden = !state.rows.length;
  const again = [...$("rows").querySelectorAll("input, button")]
    .find((one) => (run ? one.dataset.run === run : label && one.getAttribute("aria-label") === label));
  if (again && document.activeElement === document.body) again.focus();
}

// ---- curves

const svg = (tag, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
};

function niceStep(span, about) {
  const rough = span / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough * 0.999);
}

function chart(key, title, share) {
  const lines = state.ticked.map((run) => [run, state.curves[run]?.[key] ?? []]).filter(([, points]) => points.length);
  const figure = element("figure");
  if (!lines.length) return null;
  figure.append(element("figcaption", title));
  const lastX = Math.max(1, ...lines.flatMap(([, points]) => points.map(([x]) => x)));
  const highest = Math.max(...lines.flatMap(([, points]) => points.map(([, y]) => y)));
  const stepY = share ? 0.25 : niceStep(highest || 1, 4);
  const high = share ? 1 : Math.ceil((highest || 1) / stepY - 1e-9) * stepY;
  const stepX = Math.max(1, niceStep(lastX, 6));
  const {width, height, left, right, top, bottom} = WIDE;
  const x = (value) => left + (value / lastX) * (width - left - right);
  const y = (value) => height - bottom - (value / high) * (height - top - bottom);
  const drawn = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by epoch of ${lines.map(([run]) => run).join(", ")}`});
  for (let value = 0; value <= high + 1e-9; value += stepY) {
    drawn.append(svg("line", {class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value)}),
      svg("text", {class: "tick", x: left - 7, y: y(value) + 4, "text-anchor": "end"}, share ? `${Math.round(100 * value)} %` : String(Number(value.toPrecision(3)))));
  }
  for (let value = 0; value <= lastX; value += stepX) drawn.append(svg("text", {class: "tick", x: x(value), y: height - bottom + 16, "text-anchor": "middle"}, value));
  drawn.append(svg("text", {class: "tick", x: (left + width - right) / 2, y: height - 2, "text-anchor": "middle"}, "epoch"));
  for (const [run, points] of lines) {
    const group = svg("g", {class: look(run)});
    group.append(svg("path", {d: `M${points.map((p) => `${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("L")}`}));
    if (points.length <= 60) for (const p of points) group.append(svg("circle", {cx: x(p[0]), cy: y(p[1]), r: 2.4}));
    drawn.append(group);
  }
  const keys = element("ul");
  const values = new Map(lines.map(([run, points]) => {
    const item = element("li", undefined, look(run));
    const value = element("b");
    item.append(element("i"), element("span", run), value);
    keys.append(item);
    return [run, {value, points}];
  }));
  const show = (at) => values.forEach(({value, points}) => {
    const near = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
    value.textContent = share ? percent(near[1]) : near[1].toFixed(3);
  });
  show(lastX);
  const guide = svg("line", {class: "guide", y1: top, y2: height - bottom});
  drawn.addEventListener("pointermove", (event) => {
    const box = drawn.getBoundingClientRect();
    const at = Math.min(lastX, Math.max(0, (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * lastX));
    guide.setAttribute("x1", x(at));
    guide.setAttribute("x2", x(at));
    drawn.append(guide);
    show(at);
  });
  drawn.addEventListener("pointerleave", () => { guide.remove(); show(lastX); });
  figure.append(drawn, keys);
  return figure;
}

async function refreshCurves() {
  const words = new URLSearchParams(state.ticked.map((run) => ["run", run]));
  const asked = words.toString();
  state.asked = asked;
  const curves = state.ticked.length ? await ask(`/api/runs/curves?${words}`) : {};
  if (state.asked !== asked) return;
  state.curves = curves;
  // A chart that is being read stays until the next time.
  if (!$("curves").matches(":hover")) $("curves").replaceChildren(...KINDS.map((kind) => chart(...kind)).filter(Boolean));
  await refreshComparison();
}

// ---- two runs

async function refreshComparison() {
  const pair = state.ticked.length === 2 && state.ticked.every((run) => state.rows.find((row) => row.run === run)?.predictions) ? state.ticked.join("\n") : "";
  if (pair === state.compared) return;
  state.compared = pair;
  $("comparison").hidden = !pair;
  if (!pair) return;
  const [a, b] = state.ticked;
  const words = new URLSearchParams({a, b});
  for (const id of ["sides", "test"]) $(id).replaceChildren();
  let found;
  try { found = await ask(`/api/runs/compare?${words}`); } catch (error) {
    if (state.compared === pair) $("verdict").textContent = error.message;
    return;
  }
  if (state.compared !== pair) return;
  $("verdict").textContent = `${found.verdict}. ${a}: ${percent(found.rates[0])}, ${b}: ${percent(found.rates[1])}.`;
  const sides = [["a", `${a} right, ${b} wrong`], ["b", `${b} right, ${a} wrong`], ["both", "both right"], ["neither", "both wrong"]];
  $("sides").replaceChildren(...sides.map(([side, name]) => {
    const link = element("a");
    link.href = `/?${words}&between=${side}`;
    link.append(element("b", found.counts[side].toLocaleString("en")), element("span", name));
    return link;
  }));
  const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
  $("test").textContent = `${b} against ${a}: ${points(found.rates[1] - found.rates[0])} points (95 % interval ${points(found.low)} to ${points(found.high)}), p = ${found.p.toPrecision(2)}.`;
}

// ---- stop

function askToStop(row) {
  state.stopping = row.run;
  $("asking-title").textContent = `Stop ${row.run}?`;
  $("command").textContent = row.command || "dance finetune --resume";
  $("asking").showModal();
  $("keep").focus();
}

$("keep").addEventListener("click", () => $("asking").close());
$("stop").addEventListener("click", async () => {
  $("asking").close();
  try {
    await post(`/api/runs/${encodeURIComponent(state.stopping)}/stop`, {});
    toast(`${state.stopping} is stopping`);
    await redraw();
  } catch (error) { toast(error.message); }
});

// ---- start

// Whether something has changed since.
async function refresh() {
  const before = JSON.stringify(state.rows);
  const {workspace, rows} = await ask("/api/runs");
  $("workspace").textContent = workspace;
  state.rows = rows;
  return JSON.stringify(rows) !== before;
}

async function redraw() {
  if (!(await refresh())) return;
  drawRows();
  await refreshCurves();
}

async function follow() {
  await redraw().catch((error) => toast(error.message));
  setTimeout(follow, state.rows.some((row) => row.status === "running") ? 2000 : 10000);
}

async function start() {
  await refresh();
  if (!readAddress()) state.ticked = state.rows.filter((row, i) => row.status === "running" || i === 0).map((row) => row.run).slice(0, LOOKS);
  drawRows();
  await refreshCurves();
  setTimeout(follow, 2000);
}
addEventListener("popstate", () => { readAddress(); drawRows(); refreshCurves().catch((error) => toast(error.message)); });
start().catch((error) => toast(error.message));
