// Figures: small charts in a grid, each drawn anew when its rows change and only while it is in view.

const AT_ONCE = 24; // panels of a figure that are laid out before the reader asks for more

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

// The bundle of Vega has one function, vegaEmbed. It parses a specification and makes a view of it,
// which takes much longer than to draw. So it does this once for each figure, and the class of the
// view and what it is made of are kept for all panels. Expressions are interpreted, since the
// policy of the page forbids to compile them.
const OPTIONS = {
  mode: "vega", renderer: "svg", actions: false, ast: true, logLevel: 1, defaultStyle: false,
  tooltip: { disableDefaultStyle: true },
};
let View = null;
let showTooltip = null;

async function prepareViews() {
  const { view } = await vegaEmbed(element("div"), {}, OPTIONS);
  View = view.constructor;
  showTooltip = view.tooltip();
  view.finalize();
}

// What the views of a specification are made of: the arguments of the class View.
async function parsed(spec) {
  let made = null;
  class FirstView extends View {
    constructor(...parts) {
      super(...parts);
      made = parts;
    }
  }
  const { view } = await vegaEmbed(element("div"), spec, { ...OPTIONS, viewClass: FirstView });
  view.finalize();
  return made;
}

function layOutFigures(main) {
  for (const figure of figures) {
    figure.grid = element("div", { class: figure.y ? "grid" : "grid wide" });
    figure.note = element("p", { class: "empty" });
    figure.more = element("button", { type: "button", onclick: () => { figure.shown += AT_ONCE; divide(figure); } });
    figure.legend = element("ul", { class: "legend", "aria-label": figure.legend_title, "data-title": figure.legend_title });
    figure.section = element(
      "section",
      { id: figure.name, "aria-labelledby": `${figure.name}-title` },
      element("h2", { id: `${figure.name}-title` }, figure.title),
      element("p", { class: "about" }, figure.about),
      figure.legend, figure.grid, figure.note, figure.more,
    );
    main.append(figure.section);
  }
}

const SHAPES = {
  circle: "M7,1a6,6 0 1 0 .01,0z", square: "M2,2h10v10h-10z", "triangle-up": "M7,1L13,12H1z", diamond: "M7,0L12,7L7,14L2,7z",
  cross: "M5,1h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "triangle-down": "M7,13L1,2H13z", "triangle-right": "M13,7L2,13V1z", "triangle-left": "M1,7L12,1V13z",
};

// The symbols that the rows of the panels have.
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
    .filter((group) => group.length && (!figure.varies || varies(group, figure.varies)));
  sortedByValues(groups, figure.panel, (group) => group[0]);

  const settings = {};
  for (const letter of ["x", "y"]) {
    const axis = figure[letter];
    if (!axis) continue;
    const [low, high, ticks] = ends(axis, valuesOf(axis.columns, groups));
    Object.assign(settings, { [`${letter}_low`]: low, [`${letter}_high`]: high, [`${letter}_ticks`]: ticks });
  }

  const examples = groups.map((group) => group[0]);
  const varying = figure.panel.filter((name) => varies(examples, name));
  const laidOut = groups.slice(0, figure.shown);
  while (figure.panels.length > laidOut.length) discard(figure.panels.pop());
  laidOut.forEach((group, i) => {
    const panel = figure.panels[i] ?? newPanel(figure);
    figure.panels[i] = panel;
    const words = varying.map((name) => spoken(name, value(name, group[0]))).join(", ");
    const state = JSON.stringify([group, settings, words]);
    if (state === panel.state) return;
    // All rows of a panel are of one phase, which says whether the error is that of the gradient.
    const title = figure.names_error ? { error_title: data.error_titles[value("phase", group[0])] } : {};
    Object.assign(panel, { state, rows: group, settings: { ...settings, ...title }, words, stale: true });
    panel.heading.textContent = words;
  });

  fillLegend(figure, laidOut.flat());
  figure.note.textContent = groups.length ? "" : figure.varies
    ? `Nothing to draw: among the rows that the filters leave, no rows differ in ${figure.varies} alone.`
    : "The filters leave no row that this figure could draw.";
  const rest = groups.length - laidOut.length;
  figure.more.hidden = rest <= 0;
  figure.more.textContent = `Show more of the ${rest} panels that are left`;
  drawSeen();
}

function valuesOf(names, groups) {
  const values = [];
  for (const name of names) for (const group of groups) for (const row of group) values.push(value(name, row));
  return values;
}

// The rows of those series, such as the steps of one method, that have two values of what varies.
function varyingWithin(rows, { within, varies: name }) {
  return grouped(rows, [within]).filter((series) => varies(series, name)).flat();
}

function newPanel(figure) {
  const heading = element("h3", { class: "panel-title" });
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
  const { figure, plot, rows } = panel;
  figure.parsed ??= await parsed(figure.spec);

  panel.view = new View(...figure.parsed).tooltip(showTooltip).initialize(plot);
  for (const [name, x] of Object.entries(panel.settings)) panel.view.signal(name, x);
  await panel.view.data("rows", rows.map(record)).runAsync();

  const svg = plot.querySelector("svg");
  plot.style.minHeight = `${svg.getAttribute("height")}px`;
  // A screen reader would read hundreds of marks without order; the table has them all.
  for (const inner of svg.querySelectorAll("[role], [aria-label], [aria-roledescription]")) {
    for (const name of ["role", "aria-label", "aria-roledescription"]) inner.removeAttribute(name);
  }
  svg.setAttribute("role", "img");
  const words = panel.words && `, ${panel.words}`;
  svg.setAttribute("aria-label", `${figure.title}${words}: ${counted(rows.length, "row")}, which the table at the end of the page has too`);
}

// Drawings follow one another, so that a filter that is changed twice does not draw one panel twice.
// Nothing here waits for anything but the views, so that a page is complete when it is printed.
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
