// Two maps as tables, which a screen reader reads cell by cell: where methods fail, and which is fastest.

// Of larger maps only a part is shown until the reader asks for more: it could not be read at once,
// and drawing it would take long.
const MOST_COLUMNS = 30;
const MOST_CELLS = 1500;

// Statuses from harmless to worst, each with the class that colours it.
const SEVERITY = new Map(data.statuses.map(([status, look], i) => [status, { look, rank: i }]));
const severity = (status) => SEVERITY.get(status) ?? { look: "failed", rank: SEVERITY.size };

const FAILURES_BY = ["problem", "precision", "device", "function", "phase", "clock", "cache", "run"];
const WINNERS_APART = ["run", "function", "precision", "device", "phase", "clock", "cache"];

// The columns of a map: each combination of values of those columns that vary among the rows.
function mapColumns(rows, names) {
  const varying = names.filter((name) => varies(rows, name));
  const by = varying.length ? varying : names.slice(0, 1);
  const places = [...groupedByNumber(rows, by)].map(([number, ofPlace]) => ({ number, row: ofPlace[0] }));
  return { by, places: sortedByValues(places, by, (place) => place.row) };
}

// Long names may be broken after a bracket or a point, and not in the middle of a word.
function breakable(text) {
  const pieces = text.split(/(?<=[(·,=|/_])/u);
  return pieces.flatMap((piece, i) => (i ? [element("wbr"), piece] : [piece]));
}

function mapTable(caption, corner, by, places, lines) {
  const head = element("tr", {}, element("th", { scope: "col", class: "method" }, corner));
  for (const { row } of places) {
    const words = by.map((name) => spoken(name, value(name, row))).join(", ");
    head.append(element("th", { scope: "col" }, ...breakable(words)));
  }
  const body = element("tbody");
  for (const { name, title, cells } of lines) {
    const line = element("tr", {}, element("th", { scope: "row", class: "method", title }, name));
    for (const cell of cells) line.append(element("td", { class: cell.look, title: cell.title }, cell.text));
    body.append(line);
  }
  const table = element("table", { class: "map" }, element("caption", {}, caption), element("thead", {}, head), body);
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
}

const NOT_MEASURED = { look: "", text: "", title: "not measured" };

// What is left out of a map, with a button that shows it; nothing if nothing is left out.
function remainder(left, showAll) {
  if (!left.length) return [];
  const button = element("button", { type: "button", onclick: showAll }, "Show the whole map");
  return [element("p", { class: "about" }, `Not shown: ${left.join(" and ")}. The filters choose fewer. `, button)];
}

// Methods by problems: the number of measured rows that are ok, and the colour of the worst status.
function drawFailures(place, whole = false) {
  const rows = chosen.filter((row) => severity(value("ended", row)).look !== "absent");
  const untried = untriedMethods(rows);
  if (!rows.length) return place.replaceChildren(nothing(), ...untried);

  const { by, places } = mapColumns(rows, FAILURES_BY);
  const { of } = numbersOf(["ended"]);
  const lines = grouped(rows, ["label"]).map((ofMethod) => {
    const byPlace = groupedByNumber(ofMethod, by);
    let right = 0;
    for (const here of byPlace.values()) {
      right += here.filter((row) => value("ended", row) === "ok").length / here.length;
    }
    return { name: value("method", ofMethod[0]), title: value("label", ofMethod[0]), byPlace, right };
  });
  lines.sort((a, b) => b.right - a.right || collator.compare(a.name, b.name));

  const columnsShown = whole ? places : places.slice(0, MOST_COLUMNS);
  const linesShown = whole ? lines : lines.slice(0, Math.max(1, Math.floor(MOST_CELLS / columnsShown.length)));
  for (const line of linesShown) line.cells = columnsShown.map(({ number }) => failureCell(line.byPlace.get(number), of));

  const left = [];
  if (lines.length > linesShown.length) left.push(counted(lines.length - linesShown.length, "method"));
  if (places.length > columnsShown.length) left.push(counted(places.length - columnsShown.length, "column"));
  place.replaceChildren(
    mapTable("Rows that are ok, of the rows measured, and the worst status of the others", "method", by, columnsShown, linesShown),
    ...remainder(left, () => drawFailures(place, true)),
    ...untried,
  );
}

function failureCell(rows, statusOf) {
  if (!rows) return NOT_MEASURED;
  const counts = new Map();
  for (const row of rows) counts.set(statusOf[row], (counts.get(statusOf[row]) ?? 0) + 1);
  const named = [...counts].map(([number, n]) => [columns.ended.words[number], n]);
  named.sort(([a], [b]) => severity(b).rank - severity(a).rank);

  const worst = named[0][0];
  const ok = named.find(([status]) => status === "ok")?.[1] ?? 0;
  const title = named.map(([status, n]) => `${status}: ${n} of ${rows.length}`).join(", ");
  const text = ok === rows.length ? `${ok}/${rows.length}` : `${ok}/${rows.length} ${worst}`;
  return { look: severity(worst).look, text, title };
}

// The methods of which no row was tried, with the statuses that say why.
function untriedMethods(tried) {
  const known = new Set(distinct(tried, "label"));
  const untried = firstRows(chosen, "label").filter((row) => !known.has(value("label", row)));
  if (!untried.length) return [];
  const named = untried.map((row) => `${value("method", row)} (${value("ended", row)})`);
  const list = element("details", {}, element("summary", {}, `${counted(untried.length, "method")} not tried, so not in the map`),
    element("p", { class: "about" }, named.join(", ")));
  return [list];
}

// Problems by places: the fastest method that is ok, with the number of methods tied with it.
function drawWinners(place, whole = false) {
  const timed = chosen.filter((row) => value("seconds_median", row) !== null);
  if (!timed.length) return place.replaceChildren(nothing());

  const parts = grouped(timed, WINNERS_APART);
  sortedByValues(parts, WINNERS_APART, (rows) => rows[0]);
  const several = WINNERS_APART.filter((name) => varies(timed, name));
  const tables = [];
  let [cells, columnsLeft] = [0, 0];
  for (const rows of parts) {
    if (!whole && cells > MOST_CELLS) break;
    const { by, places } = mapColumns(rows, ["size", "batch"]);
    const shown = whole ? places : places.slice(0, MOST_COLUMNS);
    columnsLeft += places.length - shown.length;
    const problems = sortedByValues(grouped(rows, ["problem"]), ["problem"], (ofProblem) => ofProblem[0]);
    cells += problems.length * shown.length;
    const lines = problems.map((ofProblem) => {
      const byPlace = groupedByNumber(ofProblem, by);
      const problem = value("problem", ofProblem[0]);
      return { name: spoken("problem", problem), title: problem, cells: shown.map(({ number }) => winner(byPlace.get(number))) };
    });
    const words = several.map((name) => spoken(name, value(name, rows[0]))).join(", ");
    tables.push(mapTable(`Fastest method that is ok${words && `: ${words}`}`, "matrices", by, shown, lines));
  }

  const left = [];
  if (columnsLeft) left.push(counted(columnsLeft, "column"));
  if (parts.length > tables.length) left.push(counted(parts.length - tables.length, "table"));
  const remarks = distinct(timed, "run").filter((run) => data.not_compared[run])
    .map((run) => element("p", { class: "about" }, data.not_compared[run]));
  place.replaceChildren(...remarks, ...tables, ...remainder(left, () => drawWinners(place, true)));
}

function winner(rows) {
  if (!rows) return NOT_MEASURED;
  const best = rows.find((row) => value("fastest", row) === "best");
  if (best === undefined && rows.some((row) => value("ended", row) === "unverified")) {
    return { look: "unranked", text: "not ranked", title: "the reference is not accurate enough to tell which methods are ok" };
  }
  if (best === undefined) {
    const ok = rows.some((row) => value("ended", row) === "ok");
    if (!ok) return { look: "nonfinite", text: "none is ok", title: "no method is ok" };
    const why = data.not_compared[value("run", rows[0])];
    if (why) return { look: "unranked", text: "not compared", title: why };
    return { look: "", text: "-", title: "no second method to compare with" };
  }
  const tied = distinct(rows.filter((row) => value("fastest", row) === "tied"), "method");
  const more = tied.length ? ` (tied with ${tied.length})` : "";
  const title = `${value("label", best)}${tied.length ? `; tied: ${tied.join(", ")}` : ""}`;
  return { look: "ok", text: `${value("method", best)} ${texts.seconds(value("seconds_median", best))}${more}`, title };
}

const nothing = () => element("p", { class: "empty" }, "The filters leave no row that this part could show.");
