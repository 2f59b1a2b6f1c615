// Puts a page on trainings alone together.

for (const heading of document.querySelectorAll("h2")) heading.tabIndex = -1;
window.addEventListener("beforeprint", () => { drawAll(); });
window.report = { complete: () => drawSeen(), drawAll, figures: drawnFigures };
prepareViews()
  .then(() => layOutTrainings(data.trainings))
  .then(drawSeen)
  .then(() => { document.body.dataset.ready = String(performance.now()); });
