// Filters by key columns. They act on every part of the page and are kept in its address.

const filters = [];
let chosen = []; // the numbers of the rows that the filters leave
let chosenOfAllRuns = []; // those that all filters but that of the run leave

// What is shown first: a training step in single precision, one batch, one run.
function usual(name, values) {
  const wanted = { phase: "step", precision: "float32", function: "sqrt", clock: "wall" }[name];
  if (wanted !== undefined) return values.includes(wanted) ? wanted : values[0];
  if (name === "batch") return values.at(-1);
  if (name === "run") return values.at(-1);
  return "";
}

function makeFilters(changed) {
  const all = Array.from({ length }, (_, i) => i);
  for (const { column, title } of data.filters) {
    const values = inOrder(all, column).filter((x) => x !== null);
    if (values.length < 2) continue;
    const select = element("select", { id: `filter-${column}`, onchange: changed });
    select.add(new Option("all", ""));
    for (const x of values) select.add(new Option(column === "problem" ? spoken(column, x) : String(x), String(x)));
    select.value = String(usual(column, values));
    byId("filters").append(element("label", {}, `${title} `, select));
    filters.push({ column, select, first: select.value });
  }
  byId("filters").append(
    element("button", { type: "button", id: "reset", onclick: () => { setFilters({}); changed(); } }, "Reset"),
    element("output", { id: "count", "aria-live": "polite" }),
  );
  readAddress();
  window.addEventListener("hashchange", () => { readAddress(); changed(); });
}

// Sets the filters to some values by column; the others get what is shown first.
function setFilters(wanted) {
  for (const filter of filters) {
    const x = wanted[filter.column];
    // An empty text stands for all values.
    const known = x !== undefined && [...filter.select.options].some((option) => option.value === String(x));
    filter.select.value = known ? String(x) : filter.first;
  }
}

function readAddress() {
  if (!location.hash.includes("=")) return;
  setFilters(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
}

function writeAddress() {
  const address = new URLSearchParams(filters.map((f) => [f.column, f.select.value]));
  const hash = `#${address}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

// Applies the filters: for a column of words, codes are compared, which are numbers.
function filter() {
  const tests = [];
  let ofRun = () => true;
  for (const { column, select } of filters) {
    if (select.value === "") continue;
    const stored = columns[column];
    const wanted = stored.codes ? stored.words.indexOf(select.value) : Number(select.value);
    const values = stored.codes ?? stored;
    if (column === "run") ofRun = (row) => values[row] === wanted;
    else tests.push((row) => values[row] === wanted);
  }
  chosenOfAllRuns = [];
  for (let row = 0; row < length; row += 1) {
    if (tests.every((test) => test(row))) chosenOfAllRuns.push(row);
  }
  chosen = chosenOfAllRuns.filter(ofRun);
  byId("count").textContent = `${chosen.length} of ${length} rows`;
}
