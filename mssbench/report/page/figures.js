// The figures of runs: the rows that the filters leave, divided among small charts in a grid.

const AT_ONCE = 24; // panels of a figure that are laid out before the reader asks for more

const figures = data.figures.map((figure) => ({
  ...figure,
  panels: [],
  shown: AT_ONCE,
  specOf: () => figure.spec,
  records: (rows) => rows.map(record),
  described: ({ words, rows }) => `${figure.title}${words && `, ${words}`}: ${counted(rows.length, "row")}, which the table at the end of the page has too`,
}));
drawnFigures.push(...figures);

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

// The symbols that the rows of the panels have.
function fillLegend(figure, rows) {
  const present = new Set(distinct(rows, figure.legend_column));
  showLegend(figure.legend, data.legends[figure.legend_column].filter(({ name }) => present.has(name)));
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
    const panel = figure.panels[i] ?? newPanel(figure, figure.grid);
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
