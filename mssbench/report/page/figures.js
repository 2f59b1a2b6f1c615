// Figures: small charts in a grid, each drawn anew when its rows change and only while it is in view.

const AT_ONCE = 24; // panels of a figure that are laid out before the reader asks for more

const OPTIONS = {
  mode: "vega", renderer: "svg", actions: false, ast: true, logLevel: 1, defaultStyle: false,
  tooltip: { disableDefaultStyle: true },
};

const figures = data.figures.map((figure) => ({ ...figure, panels: [], shown: AT_ONCE }));
const panelOf = new Map(); // the panel of each element that is watched
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const panel = panelOf.get(entry.target);
      if (panel) panel.seen = entry.isIntersecting;
    }
    drawSeen();
  },
  { rootMargin: "150px" },
);

function layOutFigures(main) {
  for (const figure of figures) {
    figure.grid = element("div", { class: "grid" });
    figure.note = element("p", { class: "empty" });
    figure.more = element("button", { type: "button", onclick: () => { figure.shown += AT_ONCE; divide(figure); } });
    figure.section = element(
      "section",
      { id: figure.name, "aria-labelledby": `${figure.name}-title` },
      element("h2", { id: `${figure.name}-title` }, figure.title),
      element("p", { class: "about" }, figure.about),
      legend(figure), figure.grid, figure.note, figure.more,
    );
    main.append(figure.section);
  }
}

// The symbols of the forwards that occur, or those of the figure's own legend.
function legend(figure) {
  figure.legend = element("ul", { class: "legend", "aria-label": "Legend" });
  return figure.legend;
}

const SHAPES = {
  circle: "M7,1a6,6 0 1 0 .01,0z", square: "M2,2h10v10h-10z", "triangle-up": "M7,1L13,12H1z", diamond: "M7,0L12,7L7,14L2,7z",
  cross: "M5,1h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "triangle-down": "M7,13L1,2H13z", "triangle-right": "M13,7L2,13V1z", "triangle-left": "M1,7L12,1V13z",
};

function fillLegend(figure, rows) {
  const present = new Set(distinct(rows, figure.legend_column));
  const entries = data.legends[figure.legend_column].filter(({ name }) => present.has(name));
  figure.legend.replaceChildren(...entries.map(({ name, colour, shape }) => {
    const item = element("li");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 14 14");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[shape]);
    path.setAttribute("fill", colour);
    svg.append(path);
    item.append(svg, name);
    return item;
  }));
}

// Divides the chosen rows among the panels of a figure. Panels that hold nothing new stay as they are.
function divide(figure) {
  // The history compares runs, so that its rows are those of all of them.
  const source = figure.name === "history" ? chosenOfAllRuns : chosen;
  const rows = source.filter((row) => figure.needs.every((name) => value(name, row) !== null));
  const groups = grouped(rows, figure.panel)
    .map((group) => (figure.within ? varyingWithin(group, figure) : group))
    .filter((group) => group.length && (!figure.varies || distinct(group, figure.varies).length > 1))
    .map((group) => ({ rows: group, key: figure.panel.map((name) => value(name, group[0])) }));
  sortPanels(figure, groups);

  const settings = {};
  for (const letter of ["x", "y"]) {
    const axis = figure[letter];
    if (!axis) continue;
    const [low, high, ticks] = ends(axis, valuesOf(axis.columns, groups));
    Object.assign(settings, { [`${letter}_low`]: low, [`${letter}_high`]: high, [`${letter}_ticks`]: ticks });
  }

  const varying = figure.panel.filter((name) => new Set(groups.map((g) => value(name, g.rows[0]))).size > 1);
  const laidOut = groups.slice(0, figure.shown);
  while (figure.panels.length > laidOut.length) discard(figure.panels.pop());
  laidOut.forEach((group, i) => {
    const panel = figure.panels[i] ?? newPanel(figure);
    figure.panels[i] = panel;
    const words = varying.map((name) => spoken(name, value(name, group.rows[0]))).join(", ");
    const state = JSON.stringify([group.rows, settings, words]);
    if (state === panel.state) return;
    Object.assign(panel, { state, rows: group.rows, settings, words, stale: true });
    panel.heading.textContent = words;
  });

  fillLegend(figure, laidOut.flatMap((group) => group.rows));
  figure.note.textContent = groups.length ? "" : figure.varies
    ? `Nothing to draw: among the rows that the filters leave, ${figure.varies} does not vary.`
    : "The filters leave no row that this figure could draw.";
  const rest = groups.length - laidOut.length;
  figure.more.hidden = rest <= 0;
  figure.more.textContent = `Show more of the ${rest} panels that are left`;
  drawSeen();
}

function valuesOf(names, groups) {
  const values = [];
  for (const { rows } of groups) for (const row of rows) for (const name of names) values.push(value(name, row));
  return values;
}

// The rows of those series, such as the steps of one method, that have two values of what varies.
function varyingWithin(rows, { within, varies }) {
  return grouped(rows, [within]).filter((series) => distinct(series, varies).length > 1).flat();
}

function sortPanels(figure, groups) {
  const names = figure.panel.map((name) => (name === "problem" ? "hardness" : name));
  groups.sort((a, b) => {
    for (const name of names) {
      const order = byNumberOrWord(value(name, a.rows[0]), value(name, b.rows[0]));
      if (order) return order;
    }
    return 0;
  });
}

function newPanel(figure) {
  const heading = element("h4");
  const plot = element("div", { class: "plot" });
  const box = element("div", { class: "panel" }, heading, plot);
  const panel = { figure, heading, plot, box, seen: false, stale: true, view: null, state: "" };
  figure.grid.append(box);
  panelOf.set(plot, panel);
  watcher.observe(plot);
  return panel;
}

function discard(panel) {
  watcher.unobserve(panel.plot);
  panelOf.delete(panel.plot);
  panel.view?.finalize();
  panel.box.remove();
  panel.stale = false;
}

// Draws a panel from a new view: handing new rows to a view that exists has left old marks behind.
async function drawPanel(panel) {
  if (!panel.stale) return;
  panel.stale = false;
  panel.view?.finalize();
  const { spec, title } = panel.figure;
  const rows = panel.rows.map(record);
  const filled = {
    ...spec,
    data: spec.data.map((source) => (source.name === "rows" ? { ...source, values: rows } : source)),
    signals: spec.signals.map((signal) =>
      signal.name in panel.settings ? { name: signal.name, value: panel.settings[signal.name] } : signal),
  };
  panel.view = (await vegaEmbed(panel.plot, filled, OPTIONS)).view;

  const svg = panel.plot.querySelector("svg");
  panel.plot.style.minHeight = `${svg.getAttribute("height")}px`;
  for (const inner of svg.querySelectorAll("[role], [aria-label], [aria-roledescription]")) {
    for (const name of ["role", "aria-label", "aria-roledescription"]) inner.removeAttribute(name);
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}${panel.words && `, ${panel.words}`}: ${rows.length} rows, all in the table below`);
}

// Drawings follow one another, so that a filter that is changed twice does not draw one panel twice.
let turn = Promise.resolve();
function drawSeen() {
  turn = turn.then(async () => {
    for (const figure of figures) {
      for (const panel of figure.panels) if (panel.seen) await drawPanel(panel);
    }
  });
  return turn;
}

function drawAll() {
  for (const figure of figures) for (const panel of figure.panels) panel.seen = true;
  return drawSeen();
}
window.addEventListener("beforeprint", drawAll);
