// The comparison of each run with the first one, and the steps in the history of several runs.

function drawComparison() {
  if (!data.comparisons.length) return;
  byId("comparison").hidden = false;
  const parts = data.comparisons.map((comparison) => {
    const heading = element("h3", {}, `${comparison.new} compared with ${comparison.base}`);
    const remarks = comparison.remarks.map((remark) => element("p", { class: "about" }, remark));
    const rows = comparison.rows.filter(({ row }) => atChosenPlace(row));
    const counts = new Map();
    for (const { verdict } of rows) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
    const summary = [...counts].map(([verdict, n]) => `${n} ${verdict}`).join(", ");
    const told = rows.filter(({ verdict }) => verdict !== "same").sort((a, b) => strength(b) - strength(a));
    return element(
      "div", {}, heading, ...remarks,
      element("p", {}, rows.length ? `${rows.length} rows: ${summary}.${meanText(rows)}` : "No row of this comparison is left by the filters."),
      ...(told.length ? [changesTable(told.slice(0, 50), told.length)] : []),
    );
  });
  byId("compared").replaceChildren(...parts);
}

// The filters choose rows of one run; a row is compared if its place, apart from the run, is chosen.
function atChosenPlace(row) {
  return filters.every(({ column, select }) =>
    column === "run" || select.value === "" || String(value(column, row)) === select.value);
}

const strength = ({ ratio }) => (ratio === null ? Infinity : Math.abs(Math.log(ratio)));

function meanText(rows) {
  const logs = rows.filter(({ ratio }) => ratio !== null).map(({ ratio }) => Math.log(ratio));
  if (!logs.length) return "";
  const mean = Math.exp(logs.reduce((a, b) => a + b) / logs.length);
  return ` Geometric mean of the ratios of time over ${logs.length} rows that are ok in both: ${texts.ratio(mean)}.`;
}

function changesTable(changes, all) {
  const titles = ["method", "matrices", "n", "batch", "phase", "verdict", "time, new ÷ base", "95 % interval", "reason"];
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const body = element("tbody", {}, ...changes.map((change) => {
    const of = (name) => value(name, change.row);
    const interval = change.low === null ? "-" : `${texts.ratio(change.low)} to ${texts.ratio(change.high)}`;
    const cells = [of("method"), spoken("problem", of("problem")), of("size"), of("batch"), of("phase"), change.verdict, texts.ratio(change.ratio), interval, change.reason];
    return element("tr", {}, ...cells.map((cell) => element("td", {}, String(cell ?? "-"))));
  }));
  const caption = all > changes.length ? `The ${changes.length} largest of ${all} differences` : "All differences";
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), body));
}

function drawSteps() {
  if (data.steps === null) return;
  byId("changes").hidden = false;
  const steps = data.steps.filter(({ row }) => atChosenPlace(row));
  if (!steps.length) {
    byId("steps").replaceChildren(element("p", { class: "empty" }, "No step was detected in the rows that the filters leave."));
    return;
  }
  const titles = ["method", "matrices", "n", "batch", "phase", "from", "to", "time, after ÷ before", "in products"];
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const body = element("tbody", {}, ...steps.map((step) => {
    const of = (name) => value(name, step.row);
    const cells = [of("method"), spoken("problem", of("problem")), of("size"), of("batch"), of("phase"), step.before, step.after, texts.ratio(step.ratio), texts.ratio(step.ratio_in_products)];
    return element("tr", {}, ...cells.map((cell) => element("td", {}, String(cell ?? "-"))));
  }));
  const caption = `${steps.length} steps, the largest first`;
  byId("steps").replaceChildren(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), body)));
}
