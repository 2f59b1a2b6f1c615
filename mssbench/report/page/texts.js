// Numbers as text, by the rules of mssbench/units.py, so that page and terminal write the same.

const texts = (() => {
  const SECONDS = [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]];
  const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  const ROUNDS_UP = 0.9995;
  const MORE = 30; // further digits that tell whether a number lies exactly between two others
  const MOST = 100; // decimals that toFixed and toExponential can write

  // Python rounds a number that lies exactly between two others to the even one, JavaScript to the
  // larger one. rounded: by JavaScript. longer: with more digits, whose first `kept` characters are
  // those of the smaller one.
  function evenly(rounded, longer, kept) {
    const rest = longer.slice(kept).replace(".", "");
    const last = longer.slice(0, kept).replace(".", "").at(-1);
    return /^50*$/.test(rest) && Number(last) % 2 === 0 ? longer.slice(0, kept) : rounded;
  }
  function fixed(x, decimals) {
    if (Math.abs(x) >= 1e21) return `${BigInt(x)}${decimals ? `.${"0".repeat(decimals)}` : ""}`; // toFixed would write an exponent
    if (decimals > MOST - MORE) return tiny(x, decimals);
    const longer = x.toFixed(decimals + MORE);
    const kept = longer.indexOf(".") + (decimals ? 1 + decimals : 0);
    return evenly(x.toFixed(decimals), longer, kept);
  }
  // A number with more decimals than toFixed can write.
  function tiny(x, decimals) {
    const exponent = Number(x.toExponential().split("e")[1]);
    const [mantissa, rounded] = exponential(Math.abs(x), decimals + exponent);
    const behind = "0".repeat(-rounded - 1) + mantissa.replace(".", "");
    return `${x < 0 ? "-" : ""}0.${behind.padEnd(decimals, "0")}`;
  }
  // The mantissa and the exponent of a number.
  function exponential(x, fraction) {
    const [mantissa, exponent] = x.toExponential(fraction).split("e");
    const [longer, truncated] = x.toExponential(fraction + MORE).split("e");
    const kept = longer.indexOf(".") + (fraction ? 1 + fraction : 0);
    const even = evenly(mantissa, longer, kept);
    return [even, Number(even === mantissa ? exponent : truncated)];
  }
  function digits(x, count = 3) {
    if (x === 0) return "0";
    const [, leading] = exponential(x, count - 1);
    return fixed(x, Math.max(count - 1 - leading, 0));
  }
  function power(x, fraction) {
    const [mantissa, exponent] = exponential(x, fraction);
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const isKnown = (x) => x !== null && Number.isFinite(x);
  function scaled(x, units, below) {
    if (!isKnown(x)) return "-";
    for (const [unit, name] of units) {
      if (Math.abs(x) >= unit * ROUNDS_UP) return `${digits(x / unit)} ${name}`;
    }
    return below(x);
  }
  return {
    seconds: (x) => scaled(x, SECONDS, (y) => `${digits(y / 1e-9)} ns`),
    size: (x) => scaled(x, BYTES, (y) => `${fixed(y, 0)} B`),
    error: (x) => (!isKnown(x) ? "-" : x ? power(x, 0) : "0"),
    number(x) {
      if (!isKnown(x)) return "-";
      const large = x !== 0 && !(Math.abs(x) >= 1e-3 && Math.abs(x) < 1e6);
      return large ? power(x, 2) : digits(x);
    },
    whole: (x) => (x === null ? "-" : String(x)),
    ratio: (x) => (isKnown(x) ? `${digits(x, x >= 1 ? 3 : 2)}x` : "-"),
    plain: (x) => (x === null || x === "" ? "-" : String(x)),
  };
})();
