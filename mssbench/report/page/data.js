// The table of the report. Columns of text are stored as a list of words and a code for each row.

const columns = data.columns;
const length = data.length;

for (const column of Object.values(columns)) {
  if (column.codes) continue;
  for (let row = 0; row < length; row += 1) {
    if (typeof column[row] === "string") column[row] = INFINITE[column[row]];
  }
}

function value(name, row) {
  const column = columns[name];
  return column.codes ? column.words[column.codes[row]] : column[row];
}

// What a figure draws of one row. Vega adds fields of its own, so that each figure needs a copy.
const records = new Array(length);
function record(row) {
  records[row] ??= recordOf(row);
  return { ...records[row] };
}

function recordOf(row) {
  const fields = {};
  for (const name of data.drawn) {
    const x = value(name, row);
    fields[name] = typeof x === "number" && !Number.isFinite(x) ? null : x;
  }
  fields.time_text = withInterval(row);
  fields.error_text = texts.error(value("error", row));
  return fields;
}

function withInterval(row) {
  const [low, high] = [value("seconds_low", row), value("seconds_high", row)];
  const time = texts.seconds(value("seconds_median", row));
  return low === null ? time : `${time} (${texts.seconds(low)} to ${texts.seconds(high)})`;
}

// For each row a whole number, which is equal for rows with equal values in some columns. Numbers
// are compared much faster than values, of which some are long texts.
const numbering = new Map();
function numbersOf(names) {
  const key = names.join();
  let numbers = numbering.get(key);
  if (!numbers) {
    numbers = names.length > 1 ? numberPairs(numbersOf(names.slice(0, -1)), numbersOf(names.slice(-1))) : numberValues(names[0]);
    numbering.set(key, numbers);
  }
  return numbers;
}

function numberValues(name) {
  if (name === undefined) return { of: new Int32Array(length), count: 1 }; // no column: all rows are equal
  const column = columns[name];
  if (column.codes) return { of: Int32Array.from(column.codes), count: column.words.length };
  return numberedBy((row) => column[row]);
}

const numberPairs = (a, b) => numberedBy((row) => a.of[row] * b.count + b.of[row]);

function numberedBy(valueOf) {
  const known = new Map();
  const of = new Int32Array(length);
  for (let row = 0; row < length; row += 1) {
    const x = valueOf(row);
    let number = known.get(x);
    if (number === undefined) {
      number = known.size;
      known.set(x, number);
    }
    of[row] = number;
  }
  return { of, count: known.size };
}

// Rows whose columns have the same values, by the number of these values, in the order in which
// they first occur.
function groupedByNumber(rows, names) {
  const { of } = numbersOf(names);
  const groups = new Map();
  for (const row of rows) {
    const group = groups.get(of[row]);
    if (group) group.push(row);
    else groups.set(of[row], [row]);
  }
  return groups;
}

// The same as a list of lists.
const grouped = (rows, names) => [...groupedByNumber(rows, names).values()];

// The first row of each value of a column.
function firstRows(rows, name) {
  const { of } = numbersOf([name]);
  const seen = new Set();
  return rows.filter((row) => !seen.has(of[row]) && seen.add(of[row]));
}

const distinct = (rows, name) => firstRows(rows, name).map((row) => value(name, row));

const varies = (rows, name) => {
  const { of } = numbersOf([name]);
  return rows.some((row) => of[row] !== of[rows[0]]);
};

const collator = new Intl.Collator("en");

function byNumberOrWord(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return a < b ? -1 : a > b ? 1 : 0; // infinite - infinite is no number
  return collator.compare(String(a), String(b));
}

// Problems are ordered by their condition number, runs as they were named, and all else by value.
function inOrder(rows, name) {
  if (name === "run") return distinct(rows, name);
  if (name !== "problem") return distinct(rows, name).sort(byNumberOrWord);
  const first = firstRows(rows, "problem");
  return first.sort((a, b) => value("hardness", a) - value("hardness", b)).map((row) => value("problem", row));
}

// Sorts places by the values of their columns, of which `row` has an example.
function sortedByValues(places, names, rowOf) {
  const sorted = names.map((name) => (name === "problem" ? "hardness" : name));
  return places.sort((a, b) => {
    for (const name of sorted) {
      const order = byNumberOrWord(value(name, rowOf(a)), value(name, rowOf(b)));
      if (order) return order;
    }
    return 0;
  });
}

// How a value of a key column is written in a heading: n = 64, batch 256, κ 1e6 · logspec.
function spoken(name, x) {
  if (name === "problem") return data.matrices[x] ?? x;
  if (name === "size") return `n = ${x ?? "-"}`;
  if (name === "batch") return `batch ${x ?? "-"}`;
  if (name === "clock" || name === "cache") return `${x} ${name}`;
  return String(x);
}
