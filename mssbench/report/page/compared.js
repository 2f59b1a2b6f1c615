// The comparison of each run with the first one, and the steps in the history of several runs.

const MOST_CHANGES = 50; // rows of a comparison that are shown: the table of all rows has no limit
const UNCHANGED = new Set(["same", "unflagged"]); // the verdicts on rows without a detected difference
// The verdicts that matter most stand first. Rows with equal ones are sorted by their ratios.
const MOST_IMPORTANT = ["broken", "worse", "fixed", "slower", "faster", "unclear", "incomparable", "added", "gone"];

function drawComparison(place) {
  if (!data.comparisons.length) return;
  byId("comparison").hidden = false;
  place.replaceChildren(...data.comparisons.map((comparison) => {
    const heading = element("h3", {}, `${comparison.new} compared with ${comparison.base}`);
    const remarks = comparison.remarks.map((remark) => element("p", { class: "about" }, remark));
    const part = element("div", {}, heading, ...remarks);
    if (comparison.rows.length) part.append(...comparedRows(comparison.rows.filter(({ row }) => atChosenPlace(row))));
    return part;
  }));
}

function comparedRows(rows) {
  if (!rows.length) return [element("p", { class: "empty" }, "The filters leave no row of this comparison.")];
  const counts = new Map();
  for (const { verdict } of rows) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  const summary = [...counts].map(([verdict, n]) => `${n} ${verdict}`).join(", ");
  const told = rows.filter(({ verdict }) => !UNCHANGED.has(verdict)).sort(byImportance);
  return [
    element("p", {}, `${counted(rows.length, "row")}: ${summary}.${meanText(rows)}`),
    ...(told.length ? [changesTable(told.slice(0, MOST_CHANGES), told.length)] : []),
  ];
}

// The filters choose rows of one run; a row is compared if its place, apart from the run, is chosen.
function atChosenPlace(row) {
  return filters.every(({ column, select }) =>
    column === "run" || select.value === "" || String(value(column, row)) === select.value);
}

const importance = ({ verdict }) => MOST_IMPORTANT.indexOf(verdict.split(",")[0]);
const strength = ({ ratio }) => (ratio === null ? Infinity : Math.abs(Math.log(ratio)));

function byImportance(a, b) {
  const [i, j] = [importance(a), importance(b)];
  const timed = i === 3 || i === 4; // faster and slower rows stand together
  const together = timed && (j === 3 || j === 4);
  return (together ? 0 : i - j) || byNumberOrWord(strength(b), strength(a));
}

// Times of these are not averaged with each other, as in mssbench/compare/describe.py.
const MEANS_APART = ["phase", "clock", "cache"];

function meanText(rows) {
  const both = rows.filter(({ ratio }) => ratio !== null);
  if (!both.length) return "";
  const ratios = new Map(both.map(({ row, ratio }) => [row, ratio]));
  const groups = grouped([...ratios.keys()], MEANS_APART);
  sortedByValues(groups, MEANS_APART, (group) => group[0]);
  const means = groups.map((group) => {
    const sum = group.reduce((total, row) => total + Math.log(ratios.get(row)), 0);
    return { group, mean: texts.ratio(Math.exp(sum / group.length)) };
  });
  const what = "of the ratios of time over";
  if (means.length === 1) {
    return ` Geometric mean ${what} ${counted(both.length, "row")} that are ok in both: ${means[0].mean}.`;
  }
  const varying = MEANS_APART.filter((name) => varies([...ratios.keys()], name));
  const named = means.map(({ group, mean }) => {
    const words = varying.map((name) => spoken(name, value(name, group[0]))).join(", ");
    return `${words}: ${mean} (${counted(group.length, "row")})`;
  });
  return ` Geometric means ${what} the rows that are ok in both: ${named.join("; ")}.`;
}

// The columns that say of which cell a line is: those that are always of interest, and those that vary.
function cellColumns(rows) {
  const always = ["method", "problem", "size", "batch", "phase"];
  const more = ["function", "precision", "device", "clock", "cache", "seed"];
  return [...always, ...more.filter((name) => varies(rows, name))];
}

const TITLES = { problem: "matrices", size: "n" };

// A table with a line for each change. cells: returns the texts after those that name the cell.
function cellsTable(caption, changes, titles, cells) {
  const names = cellColumns(changes.map(({ row }) => row));
  const head = [...names.map((name) => TITLES[name] ?? name), ...titles];
  const lines = changes.map((change) => {
    const ofCell = names.map((name) => {
      const x = value(name, change.row);
      return name === "problem" ? spoken(name, x) : String(x ?? "-");
    });
    return element("tr", {}, ...[...ofCell, ...cells(change)].map((text) => element("td", {}, text)));
  });
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...head.map((title) => element("th", { scope: "col" }, title)))),
      element("tbody", {}, ...lines)));
}

function changesTable(changes, all) {
  const caption = all > changes.length ? `The ${changes.length} most important of ${all} differences` : "All differences";
  return cellsTable(caption, changes, ["verdict", "time, new ÷ base", "95 % interval", "reason"], (change) => {
    const interval = change.low === null ? "-" : `${texts.ratio(change.low)} to ${texts.ratio(change.high)}`;
    return [change.verdict, texts.ratio(change.ratio), interval, change.reason || "-"];
  });
}

function drawSteps(place) {
  if (data.steps === null) return;
  byId("changes").hidden = false;
  const steps = data.steps.filter(({ row }) => atChosenPlace(row));
  if (!steps.length) {
    place.replaceChildren(element("p", { class: "empty" }, "No step was detected in the rows that the filters leave."));
    return;
  }
  const caption = `${counted(steps.length, "step")}, the largest first`;
  const titles = ["from", "to", "time, after ÷ before", "in products", "environment"];
  place.replaceChildren(cellsTable(caption, steps, titles, (step) => [
    step.before, step.after, texts.ratio(step.ratio), texts.ratio(step.ratio_in_products),
    step.elsewhere ? "another one" : "the same",
  ]));
}
