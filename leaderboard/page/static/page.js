"use strict";
// Enhances the page: everything in the tables is there without it. Nothing is ever parsed as HTML.
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const root = document.documentElement;
root.classList.add("on");
const data = JSON.parse($("#board-data").textContent);
const table = $("#board");
const controls = $("#controls");
const heads = $$("thead [data-col]", table);
const rows = $$("tbody tr[data-key]", table);
const order = new Map(rows.map((row, i) => [row, i]));
const names = new Map(data.rows.map((row) => [row.key, row.name]));
const words = new Map(rows.map((row) => [row, `${$(".pick", row).textContent} ${row.dataset.words}`.toLowerCase()]));
const DEFAULTS = {
  metric: root.dataset.metric, sort: "", dir: "", q: "", family: "", role: "", size: "",
  complete: "", intervals: "", chosen: "", matrix: "", task: "", a: "", b: "", outcome: "", text: "",
};
let state = { ...DEFAULTS };

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function makeRow(cells, tag = "td") {
  const row = document.createElement("tr");
  for (const cell of cells) {
    const made = typeof cell === "string" ? make(tag, cell) : cell;
    if (tag === "th") made.scope = "col";
    row.append(made);
  }
  return row;
}

function rowHead(text) {
  const head = make("th");
  head.scope = "row";
  head.append(make("bdi", text));
  return head;
}

function fill(target, caption, head, body) {
  const thead = make("thead");
  thead.append(makeRow(head, "th"));
  const tbody = make("tbody");
  tbody.append(...body);
  target.replaceChildren(...(caption ? [make("caption", caption)] : []), thead, tbody);
}

const percent = (x) => (100 * x).toFixed(1);
const points = (x) => (x < 0 ? "−" : "+") + percent(Math.abs(x));
const isSure = (c) => c.p !== null && c.p < 0.05;
const pText = (p) => (p === null ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));

// Permalinks: whatever differs from the first view stands in location.hash.

function readHash() {
  const found = new URLSearchParams(location.hash.slice(1));
  state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (found.has(name)) state[name] = found.get(name);
  if (!$$("[name=metric]", controls).some((input) => input.value === state.metric)) {
    state.metric = DEFAULTS.metric;
  }
  if (!heads.some((th) => th.dataset.col === state.sort)) state.sort = state.dir = "";
  if (!["ascending", "descending"].includes(state.dir)) state.dir = state.sort && "descending";
}

function writeHash() {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== DEFAULTS[name]) kept.set(name, value);
  }
  const text = kept.toString();
  if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? "#" + text : "#");
}

// The table.

function showMetric() {
  const metric = state.metric;
  root.dataset.metric = metric;
  for (const cell of $$("td[data-official]", table)) {
    const parts = (cell.dataset[metric] || "").split("|");
    const value = $(".v", cell);
    value.textContent = parts[0] || cell.dataset.part || "–";
    if (cell.classList.contains("rank")) {
      $(".tie", cell).textContent = parts[1] ? "tie " + parts[1] : "";
      cell.classList.toggle("g1", parts[1] % 2 === 1);
      cell.classList.toggle("g0", Boolean(parts[1]) && parts[1] % 2 === 0);
      cell.title = parts[1]
        ? `position ${parts[3]}, tie group ${parts[1]}, p against the row above: ${parts[2]}` : "";
    } else {
      $(".i", cell).textContent = parts[1] || "";
      cell.title = parts[0]
        ? (parts[1] ? `95% interval ${parts[1]}` : "no interval known") + (parts[2] ? `, n = ${parts[2]}` : "")
        : "";
    }
  }
}

function sortKey(row, index, name) {
  const cell = row.cells[index];
  if (name === "name") return $("bdi", cell).textContent;
  const text = name === "size" ? cell.dataset.value : (cell.dataset[state.metric] || "").split("|")[3];
  return text ? Number(text) : null;
}

function sortRows() {
  const head = heads.find((th) => th.dataset.col === state.sort);
  const name = head ? state.sort : "rank"; // the first view is in the order of the ranks
  const index = heads.findIndex((th) => th.dataset.col === name);
  const sign = state.dir === "descending" ? -1 : 1;
  const collator = new Intl.Collator("en", { numeric: true });
  for (const th of heads) {
    if (th === head) th.setAttribute("aria-sort", state.dir);
    else th.removeAttribute("aria-sort");
  }
  const keys = new Map(rows.map((row) => [row, sortKey(row, index, name)]));
  const compare = (x, y) => {
    const [a, b] = [keys.get(x), keys.get(y)];
    if (a === null || b === null) return (a === null) - (b === null) || order.get(x) - order.get(y);
    const by = name === "name" ? collator.compare(a, b) : a - b;
    return sign * by || order.get(x) - order.get(y);
  };
  for (const body of table.tBodies) {
    body.append(...[...body.rows].filter((row) => row.dataset.key).sort(compare));
  }
}

function filterRows() {
  const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const is = row.dataset;
    row.hidden = !(
      wanted.every((word) => words.get(row).includes(word)) &&
      (!state.family || is.family === state.family) &&
      (!state.role || is.role === state.role || is.declared === state.role) &&
      (!state.size || is.size === state.size) &&
      (!state.complete || is.complete === "yes")
    );
    shown += !row.hidden;
    for (const point of $$(`.point[data-key="${CSS.escape(is.key)}"]`)) point.classList.toggle("out", row.hidden);
  }
  for (const body of table.tBodies) body.hidden = ![...body.rows].some((r) => r.dataset.key && !r.hidden);
  $("#count").textContent = `${shown} of ${rows.length} rows`;
  $("#none").hidden = shown > 0;
}

function showChosen() {
  const found = data.comparisons
    .filter((c) => c.metric === state.metric && (c.a === state.chosen || c.b === state.chosen))
    .map((c) => (c.a === state.chosen
      ? { key: c.b, difference: c.difference, low: c.low, high: c.high, p: c.p }
      : { key: c.a, difference: -c.difference, low: -c.high, high: -c.low, p: c.p }));
  const tied = new Set(found.filter((c) => !isSure(c)).map((c) => c.key));
  for (const row of rows) {
    row.classList.toggle("chosen", row.dataset.key === state.chosen);
    row.classList.toggle("tied", tied.has(row.dataset.key));
  }
  for (const point of $$(".point")) point.classList.toggle("chosen", point.dataset.key === state.chosen);
  for (const radio of $$(".choose")) radio.checked = radio.value === state.chosen;
  $("#comparison").hidden = !names.has(state.chosen);
  $("#chosen-name").textContent = names.get(state.chosen) || "";
  const place = new Map(data.rows.map((row, i) => [row.key, i]));
  found.sort((x, y) => place.get(x.key) - place.get(y.key));
  fill($("#chosen-table"), "", ["Model", "Difference", "95% interval", "p", "Chosen row is"], found.map((c) => {
    const verdict = !isSure(c) ? ["not separable", ""] : c.difference > 0 ? ["better", "better"] : ["worse", "worse"];
    return makeRow([
      rowHead(names.get(c.key)), make("td", points(c.difference), "num"),
      make("td", `${points(c.low)} to ${points(c.high)}`, "num"), make("td", pText(c.p), "num"), make("td", ...verdict),
    ]);
  }));
}

// Confusion matrix and class scores of one model.

function showMatrices() {
  const row = data.rows.find((r) => r.key === state.matrix) || data.rows.find((r) => Object.keys(r.confusion).length);
  if (!row) return;
  $("#matrix-model").value = row.key;
  for (const target of $$(".matrix")) {
    const task = target.dataset.task;
    const labels = data.tasks.find((t) => t.name === task).labels;
    const counts = row.confusion[task];
    if (!counts) {
      target.replaceChildren(make("p", `${row.name}: not run on this dataset.`, "note"));
      continue;
    }
    const matrix = make("table", undefined, "small");
    fill(matrix, `${row.name}: gold in rows, answers in columns`, ["Gold", ...labels, "unreadable"], counts.map((line, i) => {
      const total = line.reduce((sum, n) => sum + n, 0) || 1;
      return makeRow([rowHead(labels[i]), ...line.map((n, j) =>
        make("td", String(n), `shade-${Math.round((4 * n) / total)}${i === j ? " hit" : ""}`))]);
    }));
    const classes = make("table", undefined, "small");
    fill(classes, "Per class", ["Label", "Precision", "Recall", "F1"], (row.per_class[task] || []).map((c) =>
      makeRow([rowHead(c.label), ...[c.precision, c.recall, c.f1].map((x) => make("td", x === null ? "–" : percent(x), "num"))])));
    target.replaceChildren(matrix, classes);
  }
}

// Items and answers; the texts of a dataset are parsed when it is first shown.

const samples = $("#sample-controls");
const parsed = new Map();
let limit = 50;

function sampleData(task) {
  if (!parsed.has(task)) {
    const element = $$(".sample-data").find((script) => script.dataset.task === task);
    parsed.set(task, element ? JSON.parse(element.textContent) : null);
  }
  return parsed.get(task);
}

function showSamples() {
  if (!samples) return;
  const task = [...samples.task.options].some((o) => o.value === state.task) ? state.task : samples.task.options[0].value;
  const found = sampleData(task);
  const keys = data.rows.map((row) => row.key).filter((key) => key in found.answers);
  const [a, b] = [["a", 0], ["b", 1]].map(([name, i]) => (keys.includes(state[name]) ? state[name] : keys[Math.min(i, keys.length - 1)]));
  for (const [select, value] of [[samples.a, a], [samples.b, b]]) {
    select.replaceChildren(...keys.map((key) => {
      const option = make("option", names.get(key));
      option.value = key;
      return option;
    }));
    select.value = value;
  }
  samples.task.value = task;
  samples.outcome.value = state.outcome;
  state.outcome = samples.outcome.value;
  if (samples.text.value !== state.text) samples.text.value = state.text;
  if (!keys.length) return;
  const [rightA, rightB] = [found.right[a], found.right[b]];
  const wanted = state.text.toLowerCase();
  const tally = { 11: 0, 10: 0, "01": 0, "00": 0 };
  const kept = found.items.map((item, i) => i).filter((i) => {
    const pair = rightA[i] + rightB[i];
    if (pair in tally) tally[pair] += 1;
    const item = found.items[i];
    return (
      (!state.outcome || (state.outcome === "none" ? !keys.some((key) => found.right[key][i] === "1") : pair === state.outcome)) &&
      (!wanted || `${item.sentence}\n${item.gold}`.toLowerCase().includes(wanted))
    );
  });
  const two = make("table", undefined, "small outcomes");
  fill(two, `A: ${names.get(a)}; B: ${names.get(b)}`, ["", "B right", "B wrong"], [
    makeRow([rowHead("A right"), make("td", String(tally[11]), "num"), make("td", String(tally[10]), "num")]),
    makeRow([rowHead("A wrong"), make("td", String(tally["01"]), "num"), make("td", String(tally["00"]), "num")]),
  ]);
  $("#outcomes").replaceChildren(two);
  const pair = data.comparisons.find((c) => c.metric === state.metric && ((c.a === a && c.b === b) || (c.a === b && c.b === a)));
  const test = pair && (pair.tests || {})[task];
  if (test) $("#outcomes").append(make("p", `${test.test} test of A against B: p = ${pText(test.p)}, adjusted for all datasets (Holm) ${pText(test.adjusted)}`, "note"));
  $("#sample-count").textContent = `${kept.length} of ${found.items.length} items`;
  const answer = (key, i) => {
    const mark = { 1: "✓ right", 0: "✗ wrong" }[found.right[key][i]] || "not run";
    const cell = make("td");
    cell.append(make("span", mark, mark.includes("right") ? "better" : "worse"), "\n", make("bdi", found.answers[key][i]));
    const tuples = ((found.marks || {})[key] || [])[i] || [];
    if (tuples.length) {
      const list = make("ul", undefined, "marks");
      const signs = { found: "✓ found: ", missed: "− missed: ", invented: "+ invented: " };
      for (const [text, what] of tuples) {
        const item = make("li", signs[what], what === "found" ? "better" : "worse");
        item.append(make("bdi", text));
        list.append(item);
      }
      cell.append(list);
    }
    return cell;
  };
  fill($("#sample-table"), "", ["Item", "Text", "Gold", "A", "B"], kept.slice(0, limit).map((i) => {
    const item = found.items[i];
    return makeRow([String(item.index), item.sentence, item.gold, answer(a, i), answer(b, i)].map((cell) => (
      typeof cell === "string" ? (() => { const td = make("td"); td.append(make("bdi", cell)); return td; })() : cell)));
  }));
  $("#more").hidden = kept.length <= limit;
}

// Everything together.

function showControls() {
  for (const radio of $$("[name=metric]", controls)) radio.checked = radio.value === state.metric;
  for (const name of ["q", "family", "role", "size"]) {
    if (controls[name].value !== state[name]) controls[name].value = state[name];
    state[name] = controls[name].value; // a permalink may name a family that is gone
  }
  for (const name of ["complete", "intervals"]) controls[name].checked = Boolean(state[name]);
  root.classList.toggle("intervals", Boolean(state.intervals));
}

function showAll() {
  for (const step of [showControls, showMetric, sortRows, filterRows, showChosen, showMatrices, showSamples]) step();
}

function update(changes, ...steps) {
  Object.assign(state, changes);
  writeHash();
  for (const step of steps) step();
}

for (const th of heads) {
  $(".sort", th).addEventListener("click", () => {
    const first = th.dataset.first || "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const again = state.sort === th.dataset.col && state.dir === first;
    update({ sort: th.dataset.col, dir: again ? other : first }, sortRows);
  });
}
function onInput(form, listener) {
  // a text field reports each letter as input; not every driver of a select reports one
  form.addEventListener("input", listener);
  form.addEventListener("change", listener);
}

onInput(controls, (event) => {
  const { name, type, value, checked } = event.target;
  const changes = { [name]: type === "checkbox" ? (checked ? "1" : "") : value };
  if (name === "metric") update(changes, showMetric, sortRows, showChosen, showSamples);
  else if (name === "intervals") update(changes, showControls);
  else update(changes, filterRows);
});
controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("reset", (event) => {
  event.preventDefault();
  update(DEFAULTS, showAll);
});
table.addEventListener("change", (event) => {
  if (event.target.name === "chosen") update({ chosen: event.target.value }, showChosen);
});
$("#unchoose").addEventListener("click", () => update({ chosen: "" }, showChosen));
$("#matrix-model").addEventListener("change", (event) => update({ matrix: event.target.value }, showMatrices));
if (samples) {
  samples.addEventListener("submit", (event) => event.preventDefault());
  onInput(samples, (event) => {
    if (state[event.target.name] === event.target.value) return;
    limit = 50;
    update({ [event.target.name]: event.target.value }, showSamples);
  });
  $("#more").addEventListener("click", () => { limit += 50; showSamples(); });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const copy = event.target.closest(".copy");
  if (link) {
    // an anchor would overwrite the permalink; the entry lets Back return to where the reader was
    event.preventDefault();
    history.pushState(null, "", location.hash || "#");
    const target = document.getElementById(link.getAttribute("href").slice(1));
    const around = target.closest("details");
    if (around) around.open = true;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  } else if (copy) {
    const code = $("code", copy.parentElement);
    getSelection().selectAllChildren(code);
    const done = () => { copy.textContent = "Copied"; };
    navigator.clipboard?.writeText(code.textContent).then(done, () => { copy.textContent = "Selected: copy it"; });
  }
});

const dark = matchMedia("(prefers-color-scheme: dark)");
function showTheme(theme) {
  if (theme) root.dataset.theme = theme;
  $("#theme").setAttribute("aria-pressed", String((root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark"));
}
let saved = "";
try { saved = localStorage.getItem("leaderboard-theme") || ""; } catch { /* storage refused */ }
showTheme(["light", "dark"].includes(saved) ? saved : "");
dark.addEventListener("change", () => showTheme(""));
$("#theme").addEventListener("click", (event) => {
  const theme = event.currentTarget.getAttribute("aria-pressed") === "true" ? "light" : "dark";
  showTheme(theme);
  try { localStorage.setItem("leaderboard-theme", theme); } catch { /* storage refused */ }
});

addEventListener("hashchange", () => { if (!location.hash || location.hash.includes("=")) { readHash(); showAll(); } });
readHash();
showAll();
