// Views: small charts in a grid, each drawn anew when its rows change and only while it is in view.

// All figures whose panels are drawn. Each has `panels`, and functions that return the specification
// of a panel, the records that it draws of its rows, and its description for a screen reader.
const drawnFigures = [];
const parsedSpecs = new Map(); // what the views of each specification are made of
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

const SHAPES = {
  circle: "M7,1a6,6 0 1 0 .01,0z", square: "M2,2h10v10h-10z", "triangle-up": "M7,1L13,12H1z", diamond: "M7,0L12,7L7,14L2,7z",
  cross: "M5,1h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "triangle-down": "M7,13L1,2H13z", "triangle-right": "M13,7L2,13V1z", "triangle-left": "M1,7L12,1V13z",
};

// Fills a list with entries: a name, a colour and a shape each.
function showLegend(legend, entries) {
  legend.replaceChildren(...entries.map(({ name, colour, shape }) => {
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

function newPanel(figure, grid) {
  const heading = element("h3", { class: "panel-title" });
  const plot = element("div", { class: "plot" });
  const box = element("div", { class: "panel" }, heading, plot);
  const panel = { figure, heading, plot, box, seen: false, stale: true, view: null, state: "" };
  grid.append(box);
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
  const spec = figure.specOf(panel);
  if (!parsedSpecs.has(spec)) parsedSpecs.set(spec, await parsed(spec));

  panel.view = new View(...parsedSpecs.get(spec)).tooltip(showTooltip).initialize(plot);
  for (const [name, x] of Object.entries(panel.settings)) panel.view.signal(name, x);
  await panel.view.data("rows", figure.records(rows)).runAsync();

  const svg = plot.querySelector("svg");
  plot.style.minHeight = `${svg.getAttribute("height")}px`;
  // A screen reader would read hundreds of marks without order; the table has them all.
  for (const inner of svg.querySelectorAll("[role], [aria-label], [aria-roledescription]")) {
    for (const name of ["role", "aria-label", "aria-roledescription"]) inner.removeAttribute(name);
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", figure.described(panel));
}

// Drawings follow one another, so that a filter that is changed twice does not draw one panel twice.
// Nothing here waits for anything but the views, so that a page is complete when it is printed.
let turn = Promise.resolve();
function drawSeen() {
  turn = turn.then(async () => {
    for (const figure of drawnFigures) {
      for (const panel of figure.panels) if (panel.seen) await drawPanel(panel);
    }
  });
  return turn;
}

function drawAll() {
  for (const figure of drawnFigures) for (const panel of figure.panels) panel.seen = true;
  return drawSeen();
}
