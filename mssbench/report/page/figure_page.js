// Draws the one figure of a page that `mssbench plot` wrote.

const spec = JSON.parse(document.getElementById("data").textContent);
const options = { renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
vegaEmbed(document.getElementById("figure"), spec, options).then(() => { document.body.dataset.ready = "1"; });
