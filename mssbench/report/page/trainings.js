// The section on trainings: its figures, and its filters, which hide whatever they do not choose.

// What the filters choose by, with the words on the page. Places have these values, and so have the
// rows of the table of all trainings, as attributes.
const TRAINING_FILTERS = { run: "run", task: "task", learningRate: "learning rate", precision: "precision" };

function layOutTrainings(trained) {
  const valueOf = (name, row) => {
    const column = trained.columns[name];
    return column.codes ? column.words[column.codes[row]] : column[row];
  };
  const made = trained.figures.map((figure) => trainingFigure(figure, trained, valueOf));
  drawnFigures.push(...made);
  makeTrainingFilters(trained, made);
}

// A figure with a panel for each quantity of each place.
function trainingFigure({ name, title }, trained, valueOf) {
  const names = Object.keys(trained.columns);
  const figure = {
    name, title, panels: [],
    legend: element("ul", { class: "legend", "aria-label": "method", "data-title": "method" }),
    specOf: ({ rows }) => trained.specs[trained.forms[valueOf("chart", rows[0])]],
    records: (rows) => rows.map((row) => Object.fromEntries(names.map((column) => [column, valueOf(column, row)]))),
    described: ({ words, rows }) => `${title}, ${words}: ${counted(rows.length, "value")}, of which the tables have the numbers`,
  };
  const panels = new Map(); // the rows of each quantity of each place
  for (let row = 0; row < trained.length; row += 1) {
    if (valueOf("figure", row) !== name) continue;
    const key = JSON.stringify([valueOf("place", row), valueOf("quantity", row)]);
    if (panels.has(key)) panels.get(key).push(row);
    else panels.set(key, [row]);
  }

  const box = document.querySelector(`[data-figure="${name}"]`);
  box.append(figure.legend);
  const grids = new Map();
  for (const rows of panels.values()) {
    const place = valueOf("place", rows[0]);
    if (!grids.has(place)) grids.set(place, placeGrid(box, place, trained, name));
    const quantity = valueOf("quantity", rows[0]);
    const panel = newPanel(figure, grids.get(place));
    panel.heading.textContent = quantity;
    const methods = [...new Set(rows.map((row) => valueOf("method", row)))];
    Object.assign(panel, { rows, place, methods, words: `${quantity}, ${trained.places[place].title}` });
    figure.panels.push(panel);
  }
  for (const panel of figure.panels) panel.settings = settingsOf(panel, figure.panels, trained, valueOf);
  return figure;
}

// The ends and ticks of the vertical axis, which all panels of one quantity share.
function settingsOf({ rows }, panels, trained, valueOf) {
  const chart = valueOf("chart", rows[0]);
  const axis = trained.axes[chart];
  if (!axis) return {};
  const alike = panels.filter((panel) => valueOf("chart", panel.rows[0]) === chart).flatMap((panel) => panel.rows);
  const values = ends(axis, axis.columns.flatMap((column) => alike.map((row) => valueOf(column, row))));
  return Object.fromEntries(axis.names.map((name, i) => [name, values[i]]));
}

// The grid of the panels of a place. Places have a heading if there are several.
function placeGrid(box, place, trained, name) {
  const part = element("div", { "data-place": String(place) });
  const level = document.querySelector(".place")?.tagName ?? "H3";
  if (trained.places.length > 1) part.append(element(level.toLowerCase(), { class: "place" }, trained.places[place].title));
  const grid = element("div", { class: name === "differences" ? "grid wide" : "grid" });
  part.append(grid);
  box.append(part);
  return grid;
}

function makeTrainingFilters(trained, made) {
  const nav = byId("training-filters");
  const selects = [];
  const apply = () => {
    // What has no value of a filter, as a grid of learning rates has no single rate, passes it.
    const isChosen = (values) => selects.every(
      ({ name, select }) => select.value === "" || !(name in values) || values[name] === select.value,
    );
    const kept = trained.places.map(isChosen);
    for (const part of document.querySelectorAll("[data-place]")) part.hidden = !kept[Number(part.dataset.place)];
    for (const table of document.querySelectorAll("#training-rates .rates")) table.hidden = !isChosen(table.dataset);
    const lines = [...document.querySelectorAll("#training-rows tbody tr")];
    for (const line of lines) line.hidden = !isChosen(line.dataset);
    for (const { legend, panels } of made) {
      const present = new Set(panels.filter(({ place }) => kept[place]).flatMap(({ methods }) => methods));
      showLegend(legend, trained.legend.filter(({ name }) => present.has(name)));
    }
    count.textContent = `${lines.filter((line) => !line.hidden).length} of ${counted(lines.length, "training")}`;
  };
  const count = element("output", { "aria-live": "polite" });

  for (const [name, title] of Object.entries(TRAINING_FILTERS)) {
    const values = [...new Set(trained.places.map((place) => place[name]))];
    if (values.length < 2) continue;
    const select = element("select", { id: `training-filter-${name}`, onchange: apply });
    select.add(new Option("all", ""));
    for (const x of values) select.add(new Option(x, x));
    nav.append(element("label", {}, `${title} `, select));
    selects.push({ name, select });
  }
  if (selects.length) nav.append(count);
  nav.hidden = !selects.length;
  apply();
}
