// The ends and ticks of an axis, by the rules of `ends` in mssbench/report/figures/axes.py.

const [LEAST, MOST] = [1e-300, 1e300];
const MARGIN = 1.1;
const MOST_DECADES = 5;
const SHORT = 60;

function ends(axis, values) {
  const drawn = axis.ticks === "values" ? [...new Set(values)] : values;
  const able = drawn.filter((v) => v !== null && Number.isFinite(v) && (v > 0 || !axis.log));
  if (!able.length) return [...axis.empty, axis.empty];

  let [low, high] = [Infinity, -Infinity];
  for (const v of able) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (axis.ticks === "values") {
    able.sort((a, b) => a - b);
    let margin = axis.log ? (high / low) ** 0.05 : 0.05 * (high - low);
    if (high === low) margin = axis.log ? 1.5 : 1;
    return axis.log ? [low / margin, high * margin, able] : [low - margin, high + margin, able];
  }
  return roundEnds(
    Math.min(Math.max(low / MARGIN, LEAST), MOST / 10),
    Math.min(Math.max(high * MARGIN, LEAST * 10), MOST),
  );
}

// Ends around two values that are 1, 2 or 5 times a power of ten, and the round numbers between them.
function roundEnds(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1];
  const roundNumbers = [];
  for (let k = first; k <= last; k += 1) for (const m of [1, 2, 5]) roundNumbers.push(Number(`${m}e${k}`));
  const start = roundNumbers.filter((x) => x <= low).at(-1);
  const end = roundNumbers.find((x) => x >= high);

  const inside = roundNumbers.filter((x) => start <= x && x <= end);
  if (high / low < SHORT) return [start, end, inside];
  const decades = [];
  for (let k = first; k <= last; k += 1) if (start <= Number(`1e${k}`) && Number(`1e${k}`) <= end) decades.push(k);
  const every = Math.ceil(decades.length / MOST_DECADES);
  return [start, end, decades.filter((k) => k % every === 0).map((k) => Number(`1e${k}`))];
}
