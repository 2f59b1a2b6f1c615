// The table of the report. Columns of text are stored as a list of words and a code for each row.

const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.columns;
const length = data.length;
const byId = (id) => document.getElementById(id);

function value(name, row) {
  const column = columns[name];
  return column.codes ? column.words[column.codes[row]] : column[row];
}

// What a figure draws of one row.
function record(row) {
  const fields = {};
  for (const name of data.drawn) fields[name] = value(name, row);
  fields.time_text = withInterval(row);
  fields.error_text = texts.error(value("error", row));
  return fields;
}

function withInterval(row) {
  const [low, high] = [value("seconds_low", row), value("seconds_high", row)];
  const time = texts.seconds(value("seconds_median", row));
  return low === null ? time : `${time} (${texts.seconds(low)} to ${texts.seconds(high)})`;
}

// Rows whose columns have the same values, as lists, in the order in which they first occur.
function grouped(rows, names) {
  const groups = new Map();
  for (const row of rows) {
    const key = names.map((name) => value(name, row)).join("\u0000");
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  return [...groups.values()];
}

const distinct = (rows, name) => [...new Set(rows.map((row) => value(name, row)))];

function byNumberOrWord(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

// Problems are ordered by their condition number, runs as they were named, and all else by value.
function inOrder(rows, name) {
  if (name === "run") return distinct(rows, name);
  if (name !== "problem") return distinct(rows, name).sort(byNumberOrWord);
  const hardness = new Map(rows.map((row) => [value("problem", row), value("hardness", row)]));
  return [...hardness.keys()].sort((a, b) => hardness.get(a) - hardness.get(b));
}

// How a value of a key column is written in a heading: n = 64, batch 256, κ 1e6 · logspec.
function spoken(name, x) {
  if (name === "problem") return data.matrices[x] ?? x;
  if (name === "size") return `n = ${x ?? "-"}`;
  if (name === "batch") return `batch ${x ?? "-"}`;
  if (name === "clock" || name === "cache") return `${x} ${name}`;
  return String(x);
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, x] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), x);
    else if (x !== undefined && x !== false) made.setAttribute(key, x === true ? "" : x);
  }
  made.append(...children);
  return made;
}
