// The table of all rows: search, sort, and download as CSV.

const PAGE = 100; // rows that are shown at first, and added by the button
let listed = [];
let sorting = null; // { name, descending }
let shownRows = PAGE;

const SEARCHED = ["label", "problem", "ended", "reason", "flags"];

function makeTable() {
  for (const { name, title, writer, meaning } of data.table) {
    const button = element("button", { type: "button", class: "sort", title: meaning, onclick: () => sortBy(name) }, title);
    const kind = writer === "plain" ? undefined : "number";
    byId("head").append(element("th", { scope: "col", "data-column": name, class: kind }, button));
  }
  byId("more").onclick = () => { shownRows += PAGE; addLines(); };
  byId("download").onclick = download;
  let wait;
  byId("search").addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { shownRows = PAGE; listRows(); }, 120);
  });
}

function setSearch(words) {
  byId("search").value = words;
}

function sortBy(name) {
  sorting = { name, descending: sorting?.name === name && !sorting.descending };
  for (const head of byId("head").children) {
    if (head.dataset.column === name) head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  shownRows = PAGE;
  listRows();
}

// Rows in which each word occurs in some searched column. Each distinct text is searched once.
function matching(rows, words) {
  const tests = words.map((word) => {
    const found = SEARCHED.map((name) => columns[name].words.map((text) => text.toLowerCase().includes(word)));
    return (row) => SEARCHED.some((name, i) => found[i][columns[name].codes[row]]);
  });
  return rows.filter((row) => tests.every((test) => test(row)));
}

// For each row its place among the sorted values of a column; null if it has no value.
function ranks(name) {
  const column = columns[name];
  if (!column.codes) return column;
  const order = column.words.map((_, i) => i).sort((a, b) => collator.compare(column.words[a], column.words[b]));
  const rank = [];
  order.forEach((code, i) => { rank[code] = column.words[code] === "" ? null : i; });
  return column.codes.map((code) => rank[code]);
}

function listRows() {
  listed = matching(chosen, byId("search").value.toLowerCase().split(/\s+/).filter(Boolean));
  if (sorting) {
    const sign = sorting.descending ? -1 : 1;
    const keys = ranks(sorting.name);
    listed.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      // A value that is missing stands last, whatever the direction.
      return x === null || y === null ? (x === null) - (y === null) : sign * byNumberOrWord(x, y);
    });
  }
  byId("found").textContent = counted(listed.length, "row");
  fillTable();
}

function fillTable() {
  byId("body").replaceChildren();
  addLines();
}

// Adds lines until `shownRows` are there.
function addLines() {
  const body = byId("body");
  body.append(...listed.slice(body.childElementCount, shownRows).map((row) => {
    const line = element("tr");
    for (const { name, writer } of data.table) {
      const x = value(name, row);
      const kind = writer !== "plain" ? "number" : name === "label" ? "method" : undefined;
      const title = x === null || x === "" ? undefined : String(x);
      line.append(element("td", { class: kind, title }, texts[writer](x)));
    }
    return line;
  }));
  byId("more").hidden = listed.length <= shownRows;
}

// A text that a spreadsheet would take for a formula gets an apostrophe before it.
function quoted(x) {
  if (x === null) return "";
  if (typeof x === "number") return Number.isFinite(x) ? String(x) : x > 0 ? "inf" : "-inf";
  return `"${x.replace(/^[=+\-@\t\r\n]/, "'$&").replaceAll('"', '""')}"`;
}

function download() {
  const names = data.csv;
  const lines = [names.join(","), ...listed.map((row) => names.map((name) => quoted(value(name, row))).join(","))];
  const file = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  const link = element("a", { download: "mssbench-rows.csv", href: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(file), 60_000); // some browsers read the file only later
}
