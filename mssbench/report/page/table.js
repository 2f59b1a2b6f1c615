// The table of all rows: search, sort, and download as CSV.

const PAGE = 100; // rows that are shown at first, and added by the button
let listed = [];
let sorting = null; // { name, descending }
let shownRows = PAGE;

function makeTable() {
  for (const { name, title, meaning } of data.table) {
    const button = element("button", { type: "button", class: "sort", title: meaning, onclick: () => sortBy(name) }, title);
    byId("head").append(element("th", { scope: "col", "data-column": name }, button));
  }
  byId("more").onclick = () => { shownRows += PAGE; fillTable(); };
  byId("download").onclick = download;
  let wait;
  byId("search").addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { shownRows = PAGE; listRows(); }, 120);
  });
}

function sortBy(name) {
  sorting = { name, descending: sorting?.name === name && !sorting.descending };
  for (const head of byId("head").children) {
    if (head.dataset.column === name) head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  listRows();
}

const searched = ["label", "problem", "ended", "reason", "flags"];

function listRows() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  listed = words.length
    ? chosen.filter((row) => {
        const text = searched.map((name) => value(name, row)).join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      })
    : [...chosen];
  if (sorting) {
    const sign = sorting.descending ? -1 : 1;
    listed.sort((a, b) => {
      const [x, y] = [value(sorting.name, a), value(sorting.name, b)];
      // A value that is missing stands last, whatever the direction.
      return x === null || y === null ? (x === null) - (y === null) : sign * byNumberOrWord(x, y);
    });
  }
  byId("found").textContent = `${listed.length} rows`;
  fillTable();
}

function fillTable() {
  byId("body").replaceChildren(...listed.slice(0, shownRows).map((row) => {
    const line = element("tr");
    for (const { name, writer } of data.table) {
      const x = value(name, row);
      const numeric = writer !== "plain";
      const cell = element("td", { class: numeric ? "number" : name === "label" ? "method" : undefined }, texts[writer](x));
      if (x !== null && x !== "") cell.title = String(x);
      line.append(cell);
    }
    return line;
  }));
  byId("more").hidden = listed.length <= shownRows;
}

// A text that a spreadsheet would take for a formula gets an apostrophe before it.
function quoted(x) {
  if (x === null) return "";
  if (typeof x === "number") return String(x);
  return `"${x.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
}

function download() {
  const names = data.csv;
  const lines = [names.join(","), ...listed.map((row) => names.map((name) => quoted(value(name, row))).join(","))];
  const file = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  const link = element("a", { download: "mssbench-rows.csv", href: file });
  link.click();
  URL.revokeObjectURL(file);
}
