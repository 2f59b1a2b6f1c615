// Two maps as tables, which a screen reader reads cell by cell: where methods fail, and which is fastest.

// Statuses from harmless to worst, each with the class that colours it.
const SEVERITY = new Map(data.statuses.map(([status, look], i) => [status, { look, rank: i }]));
const severity = (status) => SEVERITY.get(status) ?? { look: "failed", rank: SEVERITY.size };

// The columns of a map: each combination of values of the columns that vary among the rows.
function mapColumns(rows, names) {
  const varying = names.filter((name) => distinct(rows, name).length > 1);
  const shown = varying.length ? varying : names.slice(0, 1);
  const places = grouped(rows, shown).map((group) => ({
    key: shown.map((name) => value(name, group[0])),
    sort: shown.map((name) => value(name === "problem" ? "hardness" : name, group[0])),
  }));
  places.sort((a, b) => {
    for (let i = 0; i < a.sort.length; i += 1) {
      const order = byNumberOrWord(a.sort[i], b.sort[i]);
      if (order) return order;
    }
    return 0;
  });
  return { shown, places: places.map((place) => place.key) };
}

function mapTable(caption, shown, places, lines) {
  const head = element("tr", {}, element("th", { scope: "col", class: "method" }, "method"));
  for (const place of places) {
    head.append(element("th", { scope: "col" }, place.map((x, i) => spoken(shown[i], x)).join(", ")));
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

// Methods by problems: the number of measured rows that are ok, and the colour of the worst status.
function drawFailures(place) {
  const absent = chosen.filter((row) => severity(value("ended", row)).look === "absent");
  const rows = chosen.filter((row) => severity(value("ended", row)).look !== "absent");
  if (!rows.length) return place.replaceChildren(nothing());

  const { shown, places } = mapColumns(rows, ["problem", "precision", "device", "function", "phase", "run"]);
  const lines = grouped(rows, ["label"]).map((ofMethod) => {
    let right = 0;
    const cells = places.map((key) => {
      const here = ofMethod.filter((row) => shown.every((name, i) => value(name, row) === key[i]));
      if (!here.length) return { look: "", text: "", title: "not measured" };
      const counts = new Map();
      for (const row of here) counts.set(value("ended", row), (counts.get(value("ended", row)) ?? 0) + 1);
      const ok = counts.get("ok") ?? 0;
      right += ok / here.length;
      const worst = [...counts.keys()].sort((a, b) => severity(b).rank - severity(a).rank)[0];
      const title = [...counts].map(([status, n]) => `${status}: ${n} of ${here.length}`).join(", ");
      const text = ok === here.length ? `${ok}/${here.length}` : `${ok}/${here.length} ${worst}`;
      return { look: severity(worst).look, text, title };
    });
    return { name: value("method", ofMethod[0]), title: value("label", ofMethod[0]), cells, right };
  });
  lines.sort((a, b) => b.right - a.right || a.name.localeCompare(b.name));

  const missing = distinct(absent, "label").filter((label) => !rows.some((row) => value("label", row) === label));
  const note = missing.length
    ? [element("p", { class: "about" }, `Not in the map, since they cannot run on this machine: ${missing.join(", ")}.`)]
    : [];
  place.replaceChildren(
    mapTable("Rows that are ok, of the rows measured, and the worst status of the others", shown, places, lines),
    ...note,
  );
}

// Problems by places: the fastest method that is ok, with the number of methods tied with it.
function drawWinners(place) {
  const timed = chosen.filter((row) => value("seconds_median", row) !== null);
  if (!timed.length) return place.replaceChildren(nothing());

  const parts = grouped(timed, ["run", "function", "precision", "device", "phase", "clock", "cache"]);
  const several = ["run", "function", "precision", "device", "phase", "clock", "cache"].filter(
    (name) => distinct(timed, name).length > 1,
  );
  place.replaceChildren(
    ...parts.map((rows) => {
      const { shown, places } = mapColumns(rows, ["size", "batch"]);
      const lines = inOrder(rows, "problem").map((problem) => ({
        name: spoken("problem", problem),
        title: problem,
        cells: places.map((key) => {
          const here = rows.filter(
            (row) => value("problem", row) === problem && shown.every((name, i) => value(name, row) === key[i]),
          );
          return winner(here);
        }),
      }));
      const words = several.map((name) => spoken(name, value(name, rows[0]))).join(", ");
      const table = mapTable(`Fastest method that is ok${words && `: ${words}`}`, shown, places, lines);
      table.querySelector("thead th").textContent = "matrices";
      return table;
    }),
  );
}

function winner(rows) {
  if (!rows.length) return { look: "", text: "", title: "not measured" };
  const best = rows.find((row) => value("fastest", row) === "best");
  if (best === undefined) {
    const ok = rows.some((row) => value("ended", row) === "ok");
    const title = ok ? "no second method to compare with, or the times cannot be compared" : "no method is ok";
    return { look: ok ? "" : "nonfinite", text: ok ? "-" : "none is ok", title };
  }
  const tied = distinct(rows.filter((row) => value("fastest", row) === "tied"), "method");
  const more = tied.length ? ` (tied with ${tied.length})` : "";
  const title = `${value("label", best)}${tied.length ? `; tied: ${tied.join(", ")}` : ""}`;
  return { look: "ok", text: `${value("method", best)} ${texts.seconds(value("seconds_median", best))}${more}`, title };
}

const nothing = () => element("p", { class: "empty" }, "The filters leave no row that this part could show.");
