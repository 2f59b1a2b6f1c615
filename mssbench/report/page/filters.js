// Filters by key columns. They act on every part of the page and are kept in its address.

const filters = [];
let chosen = []; // the numbers of the rows that the filters leave
let chosenOfAllRuns = []; // those that all filters but that of the run leave

// The value of a filter that is shown first: what is usual if some row has it, one batch, one run.
// rows: those that the filters before it leave.
function usual(name, values, rows) {
  const present = new Set(distinct(rows, name));
  const left = values.filter((x) => present.has(x));
  if (name === "run") return left.at(-1);
  if (name in data.usual) return left.includes(data.usual[name]) ? data.usual[name] : left[0];
  // The largest batch, unless it leaves out a size.
  if (name === "batch") {
    const of = rows.filter((row) => value(name, row) === left.at(-1));
    return distinct(of, "size").length === distinct(rows, "size").length ? left.at(-1) : "";
  }
  return "";
}

function makeFilters(changed) {
  const all = Array.from({ length }, (_, i) => i);
  let left = all;
  for (const { column, title } of data.filters) {
    const values = inOrder(all, column).filter((x) => x !== null && x !== "");
    if (values.length < 2) continue;
    const select = element("select", { id: `filter-${column}`, onchange: changed });
    select.add(new Option("all", ""));
    for (const x of values) select.add(new Option(column === "problem" ? spoken(column, x) : String(x), String(x)));
    const first = usual(column, values, left);
    if (first !== "") left = left.filter((row) => value(column, row) === first);
    byId("filters").append(element("label", {}, `${title} `, select));
    filters.push({ column, title, select, first: String(first) });
  }
  const reset = () => { setFilters({}); setSearch(""); changed(); };
  byId("filters").append(
    element("button", { type: "button", id: "reset", onclick: reset }, "Reset"),
    element("output", { id: "count", "aria-live": "polite" }),
  );
  setFilters({});
  readAddress();
  window.addEventListener("hashchange", () => {
    if (readAddress()) changed();
  });
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

// Sets the filters to what the address says, if it says anything; returns whether it does.
function readAddress() {
  if (!location.hash.includes("=")) return false;
  setFilters(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
  return true;
}

function writeAddress() {
  const address = new URLSearchParams(filters.map((f) => [f.column, f.select.value]));
  const hash = `#${address}`;
  if (!filters.length || hash === location.hash) return;
  try {
    history.replaceState(null, "", hash);
  } catch {
    // Browsers refuse to change the address very often within a short time: it is then out of date.
  }
}

// Applies the filters, by the numbers that `numbersOf` gives to values.
function filter() {
  const tests = [];
  let ofRun = () => true;
  for (const { column, select } of filters) {
    if (select.value === "") continue;
    const { of } = numbersOf([column]);
    const example = firstRowWith(column, select.value);
    const wanted = of[example];
    if (column === "run") ofRun = (row) => of[row] === wanted;
    else tests.push((row) => of[row] === wanted);
  }
  chosenOfAllRuns = [];
  for (let row = 0; row < length; row += 1) {
    if (tests.every((test) => test(row))) chosenOfAllRuns.push(row);
  }
  chosen = chosenOfAllRuns.filter(ofRun);
  const count = `${chosen.length} of ${counted(length, "row")}`;
  byId("count").textContent = count;
  const words = filters.filter(({ select }) => select.value !== "").map(({ select, title }) => `${title} ${select.selectedOptions[0].text}`);
  byId("chosen").textContent = `Shown: ${words.join(", ") || "all"} (${count}).`;
}

function firstRowWith(name, text) {
  for (let row = 0; row < length; row += 1) if (String(value(name, row)) === text) return row;
  return -1;
}
