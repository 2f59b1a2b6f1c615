// What the scripts of the page read, and how they make elements.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// JSON has no infinite numbers: they are stored as words.
const INFINITE = { inf: Infinity, "-inf": -Infinity };

// "1 row", "2 rows", by the rule of mssbench/records/units.py.
const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, x] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), x);
    else if (x !== undefined && x !== false) made.setAttribute(key, x === true ? "" : x);
  }
  made.append(...children);
  return made;
}
