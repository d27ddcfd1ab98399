"use strict";
// One correction of all clips that the filters, the search or the map leave, and taking it back.
const FIELD_WORDS = {label: "relabeled", group: "given a group", exclude: "excluded", confirmed: "confirmed"};
const numberOf = (n) => `${n.toLocaleString("en")} ${n === 1 ? "clip" : "clips"}`;
const narrowed = () => [...FILTERS.map(([key]) => key), "text", "within", "a"].some((key) => state.query[key]);

function offerBulk() {
  $("bulk-open").hidden = !narrowed() || !state.total;
  $("bulk-open").textContent = `Correct ${state.total === 1 ? "this clip" : `all ${state.total.toLocaleString("en")}`}…`;
  $("bulk-undo").hidden = !undo.some((change) => change.moment);
}

function openBulk() {
  if (!narrowed() || !state.total) { toast("select clips first: by filters, by search, or on the map"); return; }
  $("bulk-title").textContent = `Correct ${numberOf(state.total)}`;
  $("bulk-what").textContent = [...$("chips").children].map((chip) => chip.textContent.replace(" ×", "")).concat(state.query.text ? [`Search: ${state.query.text}`] : []).join(" · ");
  $("bulk").showModal();
}

async function correctMany(field, value) {
  const {view, sort, ...query} = state.query;
  if (field === "label" && !state.about.labels.includes(value)) { toast(`"${value}" is not a label of this dataset`); return; }
  if (field === "group" && !value) { toast("give the group a name"); return; }
  const answer = await post("/api/bulk", {who: whoAmI(), query, field, new: value, why: $("bulk-why").value.trim(), expected: state.total});
  $("bulk").close();
  for (const input of ["bulk-label", "bulk-group", "bulk-why"]) $(input).value = "";
  if (answer.moment) undo.push({moment: answer.moment});
  const word = field === "exclude" && !value ? "included again" : FIELD_WORDS[field];
  const rest = answer.unchanged ? `, ${numberOf(answer.unchanged)} had it already` : "";
  toast(`${numberOf(answer.saved)} ${word}${field === "label" ? `: ${value}` : ""}${rest}${answer.saved ? "; u takes it back" : ""}`);
  state.about = await ask("/api/about");
  await reload(true);
}

async function undoMany(moment) {
  let answer;
  try {
    answer = await post("/api/bulk/undo", {who: whoAmI(), moment});
  } catch (error) {
    undo.push({moment});
    toast(error.message);
    return;
  }
  const rest = answer.kept ? `; ${numberOf(answer.kept)} corrected since stay as they are` : "";
  toast(`undone: ${numberOf(answer.saved)}${rest}`);
  state.about = await ask("/api/about");
  if (state.open !== null) await openClip(state.open, true);
  await reload(true);
}

VIEW_KEYS.e = openBulk;
$("bulk-open").addEventListener("click", openBulk);
$("bulk-undo").addEventListener("click", () => KEYS.u());
$("bulk-close").addEventListener("click", () => $("bulk").close());
for (const button of document.querySelectorAll("#bulk [data-field]")) {
  const {field, value} = button.dataset;
  const act = () => correctMany(field, value ?? $(`bulk-${field}`).value.trim()).catch((error) => toast(error.message));
  button.addEventListener("click", act);
  if (value === undefined) {
    $(`bulk-${field}`).addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); act(); } });
  }
}
addEventListener("count", offerBulk);
