"use strict";
// Enhances the page: everything in the tables is there without it. Nothing is ever parsed as HTML.
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const root = document.documentElement;
const data = JSON.parse($("#board-data").textContent);
const table = $("#board");
const controls = $("#controls");
const rows = $$("tbody tr[data-key]", table);
const bodies = [...table.tBodies];
const known = new Map(data.rows.map((row, i) => [row.key, { ...row, place: i }]));
const info = rows.map((row) => known.get(row.dataset.key));
const names = new Map(data.rows.map((row) => [row.key, row.name]));
const columnAt = new Map(data.columns.map((column, i) => [column.name, i + 1])); // 0 is the name
const scoreAt = new Map(data.scores.map((name, i) => [name, i]));
const heads = $$("thead [data-col]", table);
const DEFAULTS = {
  metric: root.dataset.metric, sort: "", dir: "", q: "", family: "", role: "", size: "", complete: "",
  intervals: "", cols: "averages", plot: "overall", compare: "", model: "", matrix: "",
  task: "", a: "", b: "", outcome: "", text: "",
};
const MOST = 4; // models side by side
let state = { ...DEFAULTS };

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
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

function say(text) {
  const said = $("#said");
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 4000);
}

// Numbers come in tenths of a point, as the build rounds them.
const points = (tenths) => (tenths / 10).toFixed(1).replace("-", "−");
const signed = (text) => (Number(text) < 0 ? text.replace("-", "−") : `+${text.replace("-", "")}`);
const percent = (x) => (100 * x).toFixed(1);
const pText = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
const pIs = (p) => (p < 0.001 ? `p ${pText(p)}` : `p = ${pText(p)}`);
const span = (low, high) => (low === null ? "" : `[${points(low)}, ${points(high)}]`);
const score = (row, name) => row.scores[state.metric][scoreAt.get(name)];
const quote = (cell) => (cell ? `${points(cell[0])} ${span(cell[1], cell[2])}`.trim() : "–");

// Addresses: whatever differs from the first view stands in location.hash.

function readHash() {
  const text = location.hash.slice(1);
  const found = new URLSearchParams(text.startsWith("model-") ? `model=${text.slice(6)}` : text);
  state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (found.has(name)) state[name] = found.get(name);
  if (!data.metrics.includes(state.metric)) state.metric = DEFAULTS.metric;
  if (!heads.some((th) => th.dataset.col === state.sort)) state.sort = state.dir = "";
  if (!["ascending", "descending"].includes(state.dir)) state.dir = state.sort && "descending";
  if (!Object.hasOwn(data.axes[state.metric], state.plot)) state.plot = DEFAULTS.plot;
  if (!names.has(state.model)) state.model = "";
  state.compare = [...new Set(state.compare.split(" "))].filter((key) => names.has(key)).slice(0, MOST).join(" ");
}

function address() {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== DEFAULTS[name]) kept.set(name, value);
  }
  return "#" + kept;
}

function writeHash() {
  const text = address();
  if (text !== (location.hash || "#")) history.replaceState(null, "", text);
}

// The table.

function showMetric() {
  const metric = state.metric;
  root.dataset.metric = metric;
  rows.forEach((row, i) => {
    const of = info[i];
    const rank = of.rank[metric];
    const first = row.cells[columnAt.get("rank")];
    first.firstChild.textContent = rank ? rank[1] : "–";
    first.lastChild.textContent = rank && rank[2] ? `tie ${rank[2]}` : "";
    data.scores.forEach((name, at) => {
      const cell = row.cells[columnAt.get(name)];
      const found = of.scores[metric][at];
      cell.firstChild.textContent = found ? points(found[0]) : cell.dataset.part || "–";
      cell.lastChild.textContent = found ? span(found[1], found[2]) : "";
      for (let shade = 1; shade <= 5; shade += 1) cell.classList.toggle(`s${shade}`, found && found[5] === shade);
    });
    const overall = of.scores[metric][0];
    const seeds = $(".spread", row);
    seeds.textContent = overall && overall[6] !== null ? `SD ${(overall[6] / 100).toFixed(1)}` : "";
  });
}

// What styles depend on the reader's choice stands in style sheets of the script's own.
const sheet = new CSSStyleSheet(); // of the columns
const gridSheet = new CSSStyleSheet();
document.adoptedStyleSheets = [sheet, gridSheet];

const gridOf = (places) => `linear-gradient(90deg,${places.map((x) => `#0000 ${x}%,var(--line) ${x}% calc(${x}% + 1px),#0000 calc(${x}% + 1px)`)})`;

function showPlot() {
  const [low, high, ticks] = data.axes[state.metric][state.plot];
  const at = (tenths) => `${(Math.min(1, Math.max(0, (tenths / 10 - low) / (high - low))) * 100).toFixed(2)}%`;
  $("#plotted").value = state.plot;
  gridSheet.replaceSync(`td.plot{background-image:${gridOf(ticks.map(([x]) => x))}}`);
  $(".axis svg").replaceChildren(...ticks.map(([x, text]) => draw("text", { x: `${x}%`, y: 10 }, text)));
  rows.forEach((row, i) => {
    const cell = score(info[i], state.plot);
    const marks = [];
    if (cell && cell[1] !== null) marks.push(draw("line", { x1: at(cell[1]), x2: at(cell[2]), y1: "50%", y2: "50%" }));
    if (cell) marks.push(draw("circle", { cx: at(cell[0]), cy: "50%", r: 3.5, ...(cell[1] === null && { class: "hollow" }) }));
    $(".plot svg", row).replaceChildren(...marks);
  });
}

function sortKeys(name) {
  if (name === "name") return info.map((of) => of.name);
  if (name === "rank") return info.map((of) => of.rank[state.metric] && of.rank[state.metric][0] || null);
  const at = scoreAt.get(name);
  if (at === undefined) return info.map((of) => of.facts[name]);
  return info.map((of) => of.scores[state.metric][at] && of.scores[state.metric][at][4] || null);
}

const collator = new Intl.Collator("en", { numeric: true });

function sortRows() {
  const head = heads.find((th) => th.dataset.col === state.sort);
  const sign = state.dir === "descending" ? -1 : 1;
  for (const th of heads) {
    if (th === head) th.setAttribute("aria-sort", state.dir);
    else th.removeAttribute("aria-sort");
  }
  const keys = sortKeys(head ? state.sort : "rank"); // the first view is in the order of the ranks
  const compare = (x, y) => {
    const [a, b] = [keys[x], keys[y]];
    if (a === null || b === null) return (a === null) - (b === null) || x - y;
    return sign * (typeof a === "string" ? collator.compare(a, b) : a - b) || x - y;
  };
  const order = rows.map((_, i) => i).sort(compare);
  for (const body of bodies) body.append(...order.map((i) => rows[i]).filter((row) => row.parentNode === body));
}

const words = rows.map((row) => `${$(".pick", row).textContent} ${row.dataset.words}`.toLowerCase());
const marks = new Map();
for (const point of $$(".point")) marks.set(point.dataset.key, [...(marks.get(point.dataset.key) || []), point]);

function filterRows() {
  const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  rows.forEach((row, i) => {
    const is = row.dataset;
    row.hidden = !(
      wanted.every((word) => words[i].includes(word)) &&
      (!state.family || is.family === state.family) &&
      (!state.role || is.role === state.role || is.declared === state.role) &&
      (!state.size || is.size === state.size) &&
      (!state.complete || is.complete === "yes")
    );
    shown += !row.hidden;
    for (const point of marks.get(is.key) || []) point.classList.toggle("out", row.hidden);
  });
  for (const body of bodies) body.hidden = ![...body.rows].some((r) => r.dataset.key && !r.hidden);
  $("#count").textContent = `${shown} of ${rows.length} rows`;
  $("#none").hidden = shown > 0;
}

let current = null; // the one score that the tab key reaches
function enter(cell) {
  if (current) current.tabIndex = -1;
  current = cell;
  cell.tabIndex = 0;
}

// Columns.

function shownColumns() {
  const chosen = new Set(state.cols.split("."));
  return new Set(data.columns.filter((c) => c.views.includes(state.cols) || chosen.has(c.name)).map((c) => c.name));
}

function showColumns() {
  const shown = shownColumns();
  const hidden = data.columns.filter((column) => !shown.has(column.name));
  const cells = hidden.map((column) => `#board :is(.heads, [data-key]) > :nth-child(${columnAt.get(column.name) + 1})`);
  const counts = {};
  for (const column of data.columns) if (shown.has(column.name)) counts[column.group] = (counts[column.group] || 0) + 1;
  for (const th of $$(".over th", table)) {
    th.hidden = !counts[th.dataset.group];
    th.colSpan = counts[th.dataset.group] || 1;
  }
  $(".over td", table).colSpan = 1 + (counts[""] || 0);
  for (const th of $$(".group th", table)) th.colSpan = 1 + shown.size;
  sheet.replaceSync(cells.length ? `${cells.join(",")}{display:none}` : "");
  const wide = data.columns.some((column) => column.kind === "dataset" && shown.has(column.name));
  $(".over", table).hidden = !wide; // the few others need no titles above them
  table.classList.toggle("compact", wide);
  table.classList.remove("first");
  for (const box of $$("[name=column]", controls)) box.checked = shown.has(box.value);
  for (const radio of $$("[name=view]", controls)) radio.checked = radio.value === state.cols;
  const first = data.scores.find((name) => shown.has(name));
  if (first && rows.length && (!current || !shown.has(data.columns[current.cellIndex - 1].name))) {
    enter(rows[0].cells[columnAt.get(first)]);
  }
}

// A score with its interval is copied by a click, or by Enter; arrow keys lead from cell to cell.

function whole(cell) {
  const found = info[rows.indexOf(cell.parentNode)].scores[state.metric][scoreAt.get(data.columns[cell.cellIndex - 1].name)];
  return found || null;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make("textarea", text, "hidden");
    const before = document.activeElement;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    before?.focus({ preventScroll: true });
    if (!done) return false;
  }
  return true;
}

async function copyCell(cell) {
  const found = whole(cell);
  if (!found) return;
  const text = quote(found);
  say((await copy(text)) ? `Copied ${text}` : `This browser does not allow copying: ${text}`);
}

function move(cell, key) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (step) {
    let next = cell;
    do next = step < 0 ? next.previousElementSibling : next.nextElementSibling;
    while (next && !(next.matches(".num") && next.offsetParent));
    return next;
  }
  const shown = $$("tbody tr[data-key]", table).filter((row) => row.offsetParent);
  return shown[shown.indexOf(cell.parentNode) + (key === "ArrowUp" ? -1 : 1)]?.cells[cell.cellIndex];
}

table.addEventListener("click", (event) => {
  const cell = event.target.closest("td.num");
  if (cell && !String(getSelection())) { enter(cell); copyCell(cell); }
});
table.addEventListener("keydown", (event) => {
  if (!event.target.matches("td.num")) return;
  if (event.key === "Enter" || event.key === " ") copyCell(event.target);
  else if (event.key.startsWith("Arrow")) {
    const next = move(event.target, event.key);
    if (next) { enter(next); next.focus(); }
  } else return;
  event.preventDefault();
});
table.addEventListener("pointerover", (event) => {
  const cell = event.target.closest("td.num, td.rank");
  if (!cell || cell.title) return;
  if (cell.matches(".rank")) {
    const rank = info[rows.indexOf(cell.parentNode)].rank[state.metric];
    if (rank) cell.title = `Place ${rank[0]}; in 95 of 100 draws: ${rank[1]}` + (rank[3] === "–" ? "" : `; p against the row above: ${rank[3]}`);
  } else {
    const found = whole(cell);
    if (!found) return;
    const parts = [quote(found)];
    if (found[1] === null) parts.push("no interval known");
    if (found[3]) parts.push(`${found[3].toLocaleString("en")} items`);
    if (found[6] !== null) parts.push(`standard deviation over seeds ${(found[6] / 100).toFixed(2)}`);
    cell.title = parts.join("; ");
  }
  cell.addEventListener("pointerleave", () => cell.removeAttribute("title"), { once: true });
});

// Models side by side.

let pairs = null;
function pairOf(a, b) {
  pairs ||= JSON.parse($("#pairs-data").textContent);
  const metric = data.metrics.indexOf(state.metric);
  const [x, y] = [known.get(a).place, known.get(b).place];
  const found = pairs.find((p) => p[0] === metric && ((p[1] === x && p[2] === y) || (p[1] === y && p[2] === x)));
  if (!found) return null;
  const [, first, , difference, low, high, p, detectable, tests] = found;
  const same = first === x;
  return { a, b, p, detectable, tests, difference: same ? difference : -difference, low: same ? low : -high, high: same ? high : -low };
}

function sentence(a, b) {
  const line = make("li");
  const pair = pairOf(a, b);
  const name = (key) => make("strong").appendChild(make("bdi", names.get(key))).parentNode;
  if (!pair) {
    const [x, y] = [known.get(a), known.get(b)];
    const ranked = x.group === y.group && x.rank[state.metric] && y.rank[state.metric];
    line.append(name(a), " and ", name(b), ranked
      ? ": with so many models, only neighbours in the ranking are compared item by item."
      : ": only ranked models are compared item by item; below are their scores, each with its own interval.");
    return line;
  }
  const below = pair.difference < 0;
  const [low, high] = below ? [-pair.high, -pair.low] : [pair.low, pair.high];
  const sure = pair.p < 0.05;
  line.append(name(a), ` is ${points(Math.abs(pair.difference))} points ${below ? "below" : "above"} `, name(b), `, ${span(low, high)}. `,
    make("span", sure ? "The two can be told apart" : "The two cannot be told apart", sure ? "sure" : "unsure"),
    ` (${pIs(pair.p)}). With these items, a true difference of ${points(pair.detectable)} points or more would be found in 8 of 10 repetitions.`);
  return line;
}

function sideBySide(keys) {
  const shown = data.scores.filter((name) => name !== "seen" && name !== "unseen");
  const cells = keys.map((key) => shown.map((name) => score(known.get(key), name)));
  const ends = cells.flat().filter(Boolean).flatMap((c) => [c[0], c[1] ?? c[0], c[2] ?? c[0]]);
  const low = Math.floor(Math.min(...ends, 1000) / 100) * 100;
  const high = Math.max(low + 100, Math.ceil(Math.max(...ends, 0) / 100) * 100);
  const at = (x) => `${(((x - low) / (high - low)) * 100).toFixed(2)}%`;
  const ticks = [];
  for (let x = low; x <= high; x += high - low > 500 ? 200 : 100) ticks.push(x);
  const grid = () => ticks.map((x) => draw("line", { class: "grid", x1: at(x), x2: at(x), y1: 0, y2: "100%" }));
  const mark = (i, cell, y) => {
    const x = at(cell[0]);
    const group = draw("g", { class: `m${i}` });
    if (cell[1] !== null) group.append(draw("line", { x1: at(cell[1]), x2: at(cell[2]), y1: y, y2: y }));
    const shape = draw("svg", { x, y, overflow: "visible" });
    shape.append(draw("path", { d: SHAPES[i] }));
    group.append(shape);
    return group;
  };
  const made = make("table", undefined, "small sides");
  const axis = make("th", undefined, "chart");
  const scale = draw("svg", { "aria-hidden": "true" });
  scale.append(...ticks.map((x) => draw("text", { x: at(x), y: 12 }, String(x / 10))));
  axis.append(make("span", "Chart", "hidden"), scale);
  const head = ["Score", axis, ...keys.map((key, i) => {
    const th = make("th");
    const sign = draw("svg", { class: `sign m${i}`, viewBox: "-7 -7 14 14", "aria-hidden": "true" });
    sign.append(draw("path", { d: SHAPES[i] }));
    th.append(sign, " ", make("bdi", names.get(key)));
    return th;
  })];
  const two = keys.length === 2 ? pairOf(...keys) : null;
  if (keys.length === 2) head.push("Difference");
  if (two && Object.keys(two.tests).length) head.push("p, adjusted");
  fill(made, "", head, shown.map((name, n) => {
    const chart = make("td", undefined, "chart");
    const svg = draw("svg", { "aria-hidden": "true", height: 8 + 10 * keys.length });
    svg.append(...grid(), ...keys.flatMap((_, i) => (cells[i][n] ? [mark(i, cells[i][n], 9 + 10 * i)] : [])));
    chart.append(svg);
    const line = [rowHead(data.titles[name]), chart, ...keys.map((_, i) => {
      const td = make("td", cells[i][n] ? points(cells[i][n][0]) : "–", "num");
      if (cells[i][n]) td.append(" ", make("small", span(cells[i][n][1], cells[i][n][2])));
      return td;
    })];
    if (keys.length === 2) {
      const both = cells[0][n] && cells[1][n];
      // of whole scores, not of rounded ones: as the sentence above says it
      const by = two && name === "overall" ? two.difference / 10 : both ? 100 * (cells[0][n][7] - cells[1][n][7]) : 0;
      line.push(make("td", both ? signed(by.toFixed(1)) : "–", "num"));
    }
    if (two && Object.keys(two.tests).length) {
      const test = two.tests[data.tasks.findIndex((t) => t.name === name)];
      line.push(make("td", test ? pText(test[2]) : "", "num"));
    }
    const row = makeRow(line);
    if (n === 0) row.className = "total";
    return row;
  }));
  return made;
}

const SHAPES = ["M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z", "M-4.5,-4.5h9v9h-9z", "M0,-5.5l5.5,10h-11z", "M0,-6l6,6l-6,6l-6,-6z"];

function against(key) {
  const made = make("table", undefined, "small");
  const lines = data.rows.filter((row) => row.key !== key).map((row) => pairOf(key, row.key)).filter(Boolean);
  fill(made, `${names.get(key)} minus each other model, overall, in points`,
    ["Model", "Difference", "95% interval", "p", "Told apart", "Smallest difference"], lines.map((c) => makeRow([
      rowHead(names.get(c.b)), make("td", signed((c.difference / 10).toFixed(1)), "num"), make("td", span(c.low, c.high), "num"),
      make("td", pText(c.p), "num"), make("td", c.p < 0.05 ? "yes" : "no", c.p < 0.05 ? "sure" : ""), make("td", points(c.detectable), "num")])));
  return lines.length ? made : make("p", "This model has no rank. Tick a second model to see the scores of both side by side.", "note");
}

function showCompared() {
  const keys = state.compare.split(" ").filter(Boolean);
  for (const row of rows) row.classList.toggle("chosen", keys.includes(row.dataset.key));
  for (const [key, points] of marks) for (const point of points) point.classList.toggle("chosen", keys.includes(key));
  for (const box of $$(".choose", table)) {
    box.checked = keys.includes(box.value);
    box.disabled = keys.length >= MOST && !box.checked;
  }
  const panel = $("#comparison");
  panel.hidden = !keys.length;
  root.style.scrollPaddingBottom = "";
  if (!keys.length) return;
  $("#chosen").replaceChildren(...keys.map((key) => {
    const item = make("li");
    const button = make("button");
    button.append(make("bdi", names.get(key)), " ×");
    button.setAttribute("aria-label", `Leave out ${names.get(key)}`);
    button.addEventListener("click", () => choose(key, false));
    item.append(button);
    return item;
  }));
  $("#advice").textContent = keys.length === 1 ? "Tick up to three more models to see them side by side." : "";
  if (keys.length === 1) $("#compared").replaceChildren(against(keys[0]));
  else {
    const list = make("ul", undefined, "verdicts");
    keys.forEach((a, i) => keys.slice(i + 1).forEach((b) => list.append(sentence(a, b))));
    $("#compared").replaceChildren(list, sideBySide(keys));
  }
  fold(keys.length > 1);
}

function fold(open) {
  const one = !state.compare.includes(" ");
  $("#fold").setAttribute("aria-expanded", String(open));
  $("#fold").textContent = open ? "Hide" : one ? "Show against all others" : "Show";
  $("#compared").hidden = !open;
  // what is ticked or reached by the tab key is never left behind the panel
  root.style.scrollPaddingBottom = `${$("#comparison").offsetHeight + 8}px`;
}

function choose(key, on) {
  const kept = state.compare.split(" ").filter((other) => other && other !== key);
  update({ compare: [...kept, ...(on ? [key] : [])].slice(0, MOST).join(" ") }, showCompared);
  if (on) $(`.choose[value="${CSS.escape(key)}"]`, table).closest("tr").scrollIntoView({ block: "nearest" });
}

// What was answered instead of what, for one model; drawn where a dataset is open.

let classes = null;

function showMatrices() {
  classes ||= JSON.parse($("#classes-data").textContent);
  const row = known.get(Object.hasOwn(classes, state.matrix) ? state.matrix : data.rows.find((r) => r.key in classes)?.key);
  if (!row) return;
  $("#matrix-model").value = row.key;
  for (const target of $$("details[open] > .matrix")) {
    const task = target.dataset.task;
    const labels = data.tasks.find((t) => t.name === task).labels;
    const counts = classes[row.key].confusion[task];
    if (!counts) {
      target.replaceChildren(make("p", `${row.name}: not run on this dataset.`, "note"));
      continue;
    }
    const matrix = make("table", undefined, "small");
    fill(matrix, `${row.name}: right labels in rows, answers in columns`, ["Right", ...labels, "unreadable"], counts.map((line, i) => {
      const total = line.reduce((sum, n) => sum + n, 0) || 1;
      return makeRow([rowHead(labels[i]), ...line.map((n, j) =>
        make("td", String(n), `shade-${Math.round((4 * n) / total)}${i === j ? " hit" : ""}`))]);
    }));
    const each = make("table", undefined, "small");
    fill(each, "Per label", ["Label", "Precision", "Recall", "F1"], (classes[row.key].per_class[task] || []).map((c) =>
      makeRow([rowHead(c.label), ...[c.precision, c.recall, c.f1].map((x) => make("td", percent(x), "num"))])));
    target.replaceChildren(matrix, each);
  }
}

// Items and answers; a dataset is unpacked when it is first shown.

const samples = $("#sample-controls");
const unpacked = new Map();
let limit = 50;
let asked = 0;

async function inflate(name) {
  // the texts stand behind this script, so that nobody waits for them
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done));
  const element = $$(".packed").find((script) => script.dataset.name === name);
  if (!element) return null;
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

function unpack(name) {
  if (!unpacked.has(name)) unpacked.set(name, inflate(name));
  return unpacked.get(name);
}

function showPrompt(box, task, way, i, sentence) {
  box.addEventListener("toggle", async () => {
    const found = await unpack(`prompts of ${task}`);
    const numbers = found ? found.ways[way][i] : [];
    const text = numbers.map((n) => found.blocks[n]).join("\n\n");
    $("pre", box).textContent = (found?.mark ? text.replaceAll(found.mark, () => sentence) : text) || "This prompt was not logged.";
  }, { once: true });
}

function promptsOf(task, ways, a, b, i, sentence) {
  const same = ways[a] === ways[b];
  return [[a, same ? "Prompt" : "Prompt of A"], ...(same ? [] : [[b, "Prompt of B"]])].filter(([key]) => key in ways).map(([key, title]) => {
    const box = make("details", undefined, "prompt");
    const text = make("pre");
    text.tabIndex = 0;
    box.append(make("summary", title), text);
    showPrompt(box, task, ways[key], i, sentence);
    return box;
  });
}

async function showSamples() {
  if (!samples) return;
  const task = [...samples.task.options].some((o) => o.value === state.task) ? state.task : samples.task.options[0].value;
  const mine = (asked += 1);
  let found;
  try {
    found = await unpack(task);
  } catch {
    $("#sample-count").textContent = "This browser is too old to unpack the texts.";
    return;
  }
  if (mine !== asked) return; // the reader has chosen something else meanwhile
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
  const test = a !== b && pairOf(a, b)?.tests[data.tasks.findIndex((t) => t.name === task)];
  if (test) $("#outcomes").append(make("p", `A against B on this dataset: ${pIs(test[1])}, adjusted for the number of datasets (Holm) ${pText(test[2])}; ${test[0]} test.`, "note"));
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
  const text = (content, extra = []) => {
    const cell = make("td");
    cell.append(make("bdi", content), ...extra);
    return cell;
  };
  fill($("#sample-table"), "", ["Item", "Text", "Right answer", "A", "B"], kept.slice(0, limit).map((i) => {
    const item = found.items[i];
    const prompts = promptsOf(task, found.ways, a, b, i, item.sentence);
    return makeRow([text(String(item.index)), text(item.sentence, prompts), text(item.gold), answer(a, i), answer(b, i)]);
  }));
  $("#more").hidden = kept.length <= limit;
}

// Everything together.

function showControls() {
  for (const radio of $$("[name=metric]", controls)) radio.checked = radio.value === state.metric;
  for (const name of ["q", "family", "role", "size"]) {
    if (!controls[name]) { state[name] = ""; continue; }
    if (controls[name].value !== state[name]) controls[name].value = state[name];
    state[name] = controls[name].value; // a link may name a family that is gone
  }
  for (const name of ["complete", "intervals"]) controls[name].checked = Boolean(state[name]);
  root.classList.toggle("intervals", Boolean(state.intervals));
}

function goTo(id) {
  const target = document.getElementById(id);
  const around = target?.closest("details");
  if (around) around.open = true;
  (around || target)?.scrollIntoView();
  target?.focus({ preventScroll: true });
}

// What the page shows as it was built needs no work: only what differs from it is done.
const STEPS = [
  [showControls, ["metric", "q", "family", "role", "size", "complete", "intervals"]],
  [showMetric, ["metric"]], [showColumns, null], [showPlot, ["metric", "plot"]], [sortRows, ["metric", "sort", "dir"]],
  [filterRows, ["q", "family", "role", "size", "complete"]], [showCompared, ["metric", "compare"]],
  [showMatrices, ["matrix"]], [showSamples, ["task", "a", "b", "outcome", "text"]],
];
let shown = { ...DEFAULTS };

function showAll() {
  const before = shown;
  shown = { ...state };
  for (const [step, names] of STEPS) {
    if (names === null || names.some((name) => state[name] !== before[name])) step();
  }
  if (state.model && state.model !== before.model) goTo(`model-${state.model}`);
}

function update(changes, ...steps) {
  Object.assign(state, changes);
  writeHash();
  for (const step of steps) step();
  shown = { ...state };
}

for (const th of heads) {
  $(".sort", th).addEventListener("click", () => {
    const first = th.dataset.first;
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
  if (name === "view") update({ cols: value }, showColumns);
  else if (name === "column") {
    update({ cols: $$("[name=column]", controls).filter((box) => box.checked).map((box) => box.value).join(".") || "rank" }, showColumns);
  } else {
    const changes = { [name]: type === "checkbox" ? (checked ? "1" : "") : value };
    if (state[name] === changes[name]) return;
    if (name === "metric") update(changes, showMetric, showPlot, sortRows, showCompared, ...(asked ? [showSamples] : []));
    else if (name === "intervals") update(changes, showControls);
    else update(changes, filterRows);
  }
});
controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("reset", (event) => {
  event.preventDefault();
  state = { ...DEFAULTS };
  writeHash();
  showAll();
});
table.addEventListener("change", (event) => {
  if (event.target.matches(".choose")) choose(event.target.value, event.target.checked);
});
$("#plotted")?.addEventListener("change", (event) => update({ plot: event.target.value }, showPlot));
$("#unchoose").addEventListener("click", () => update({ compare: "" }, showCompared));
$("#fold").addEventListener("click", () => fold($("#compared").hidden));
$("#matrix-model").addEventListener("change", (event) => update({ matrix: event.target.value }, showMatrices));
for (const box of $$("details.task")) box.addEventListener("toggle", () => { if (box.open) showMatrices(); });
if (samples) {
  samples.addEventListener("submit", (event) => event.preventDefault());
  onInput(samples, (event) => {
    if (state[event.target.name] === event.target.value) return;
    limit = 50;
    update({ [event.target.name]: event.target.value }, showSamples);
  });
  $("#more").addEventListener("click", () => { limit += 50; showSamples(); });
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    if (!asked) showSamples();
  }, { rootMargin: "600px" }).observe($("#samples"));
}

// A picture of a figure: its SVG is drawn on a canvas, which needs no network.

async function savePng(id) {
  const figure = document.getElementById(id);
  const [, , width, height] = figure.getAttribute("viewBox").split(" ").map(Number);
  const scale = Math.min(2, 16000 / height);
  const copied = figure.cloneNode(true);
  copied.setAttribute("width", width * scale);
  copied.setAttribute("height", height * scale);
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copied));
  await image.decode();
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [width * scale, height * scale];
  canvas.getContext("2d").drawImage(image, 0, 0);
  const link = make("a");
  link.download = `${id.replace("forest-", "intervals_")}.png`;
  link.href = canvas.toDataURL("image/png");
  link.click();
  return link.href;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const copied = event.target.closest(".copy");
  const saved = event.target.closest(".save-png");
  if (link) {
    // an anchor would overwrite what else stands in the address; the entry lets Back return
    event.preventDefault();
    const id = link.getAttribute("href").slice(1);
    if (id.startsWith("model-")) state.model = shown.model = id.slice(6);
    history.pushState(null, "", address());
    goTo(id);
  } else if (copied) {
    copy($("code", copied.parentElement).textContent).then((done) => { copied.textContent = done ? "Copied" : "Not allowed here"; });
  } else if (saved) {
    savePng(saved.dataset.figure).catch(() => say("This browser cannot draw the picture: take the SVG file."));
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

table.setAttribute("role", "grid");
addEventListener("hashchange", () => {
  if (!location.hash || /=|^#model-/.test(location.hash)) { readHash(); showAll(); }
});
readHash();
showAll();
