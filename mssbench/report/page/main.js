// Puts the page together and answers the filters.

function makeMaps(main) {
  const failures = element("div");
  const winners = element("div");
  main.append(
    element("section", { id: "failures", "aria-labelledby": "failures-title" },
      element("h2", { id: "failures-title" }, "Where methods fail"),
      element("p", { class: "about" }, data.about_failures), failures),
    element("section", { id: "winners", "aria-labelledby": "winners-title" },
      element("h2", { id: "winners-title" }, "Which method is fastest"),
      element("p", { class: "about" }, data.about_winners), winners),
  );
  return () => { drawFailures(failures); drawWinners(winners); };
}

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

const main = byId("main");
const drawMaps = makeMaps(main);
layOutFigures(main);
makeTable();

// Returns when all that is in view has been drawn and painted.
async function apply() {
  filter();
  writeAddress();
  drawMaps();
  for (const figure of figures) divide(figure);
  drawComparison();
  drawSteps();
  shownRows = PAGE;
  listRows();
  await drawSeen();
  await painted();
}

makeFilters(() => { apply(); });
for (const button of document.querySelectorAll("button[data-filters]")) {
  button.addEventListener("click", async () => {
    setFilters(JSON.parse(button.dataset.filters));
    await apply();
    byId(button.dataset.show)?.scrollIntoView();
  });
}
window.report = { apply, figures, drawAll, texts, ends, chosen: () => chosen };
apply().then(() => { document.body.dataset.ready = String(performance.now()); });
