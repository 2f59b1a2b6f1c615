// The ends and ticks of an axis, by the rules of `ends` in mssbench/report/figures/figure.py.

const MOST_DECADES = 5;
const SHORT = 30;

function ends(axis, values) {
  const drawn = axis.ticks === "values" ? [...new Set(values)] : values;
  const able = drawn.filter((v) => v !== null && Number.isFinite(v) && (v > 0 || !axis.log));
  if (!able.length) return [1, 10, [1, 10]];

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

  const ticks = roundNumbers(low, high);
  return [ticks[0], ticks.at(-1), ticks];
}

// Round numbers from the largest one up to `low` to the smallest one from `high` on.
function roundNumbers(low, high) {
  const steps = high / low < SHORT ? [1, 2, 5] : [1];
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = steps.length > 1 ? 1 : Math.max(1, Math.ceil((last - first) / MOST_DECADES));

  const candidates = [];
  for (let k = first; k <= last + every; k += every) for (const m of steps) candidates.push(Number(`${m}e${k}`));
  const start = candidates.filter((x) => x <= low).at(-1) ?? candidates[0];
  const end = candidates.find((x) => x >= high && x > start);
  return candidates.filter((x) => start <= x && x <= end);
}
