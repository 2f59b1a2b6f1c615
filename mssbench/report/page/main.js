// Puts the page together and answers the filters.

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

const main = byId("main");
main.append(
  mapSection("failures", "Where methods fail", data.about_failures),
  mapSection("winners", "Which method is fastest", data.about_winners),
);
layOutFigures(main);
makeTable();

function mapSection(id, title, about) {
  return element("section", { id, "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` }, title),
    element("p", { class: "about" }, about),
    element("div", { id: `${id}-map` }));
}

// Each part of the page with what draws it, in the order of the page.
const parts = [
  { section: byId("failures"), draw: () => drawFailures(byId("failures-map")) },
  { section: byId("winners"), draw: () => drawWinners(byId("winners-map")) },
  ...figures.map((figure) => ({
    section: figure.section,
    draw: () => { figure.shown = AT_ONCE; divide(figure); },
  })),
  { section: byId("comparison"), draw: () => drawComparison(byId("compared")) },
  { section: byId("changes"), draw: () => drawSteps(byId("steps")) },
  { section: byId("table"), draw: () => { shownRows = PAGE; listRows(); } },
];

function isInView({ section }) {
  const { top, bottom } = section.getBoundingClientRect();
  return bottom >= 0 && top <= window.innerHeight;
}

let latest = 0;
let complete = Promise.resolve(); // is done when all parts are drawn

// Returns when all that is in view has been drawn and painted. The other parts follow at once, with
// pauses in which the page answers.
async function apply() {
  latest += 1;
  const mine = latest;
  filter();
  writeAddress();
  const first = parts.filter(isInView);
  const others = parts.filter((part) => !first.includes(part));
  for (const part of first) part.draw();
  complete = drawSeen().then(painted).then(() => drawOthers(others, mine));
  await drawSeen();
  await painted();
}

async function drawOthers(others, mine) {
  for (const part of others) {
    if (mine !== latest) return; // a later change of the filters draws all parts
    part.draw();
    await pause();
  }
  await drawSeen();
}

const pause = () => new Promise((done) => setTimeout(done));

// A finding sets the filters and the search so that the page shows the rows that prove it.
async function showEvidence({ filters: wanted, search, show }) {
  setFilters(JSON.parse(wanted));
  setSearch(search);
  await apply();
  await complete;
  const section = byId(show);
  section.scrollIntoView();
  section.querySelector("h2").focus({ preventScroll: true });
}

for (const button of document.querySelectorAll("button[data-filters]")) {
  button.addEventListener("click", () => { showEvidence(button.dataset); });
}
for (const heading of document.querySelectorAll("h2")) heading.tabIndex = -1;

// A print has all parts, drawn before the browser goes on.
window.addEventListener("beforeprint", () => {
  latest += 1;
  for (const details of document.querySelectorAll("#findings details")) details.open = true;
  for (const part of parts) part.draw();
  drawAll();
});

window.report = { apply, complete: () => complete, drawAll, figures, texts, ends, chosen: () => chosen };
makeFilters(() => { apply(); });
prepareViews()
  .then(() => { if (data.trainings) layOutTrainings(data.trainings); })
  .then(apply)
 .then(() => { document.body.dataset.ready = String(performance.now()); });
