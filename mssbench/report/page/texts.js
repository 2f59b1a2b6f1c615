// Numbers as text, by the rules of mssbench/units.py, so that page and terminal write the same.

const texts = (() => {
  const SECONDS = [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]];
  const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  const ROUNDS_UP = 0.9995;

  function digits(x, count = 3) {
    if (x === 0) return "0";
    const leading = Number(x.toExponential(count - 1).split("e")[1]);
    return x.toFixed(Math.max(count - 1 - leading, 0));
  }
  function power(x, fraction) {
    const [mantissa, exponent] = x.toExponential(fraction).split("e");
    const sign = exponent[0];
    return `${mantissa}e${sign}${exponent.slice(1).padStart(2, "0")}`;
  }
  function scaled(x, units, below) {
    if (x === null || x === undefined || !Number.isFinite(x)) return "-";
    for (const [unit, name] of units) {
      if (Math.abs(x) >= unit * ROUNDS_UP) return `${digits(x / unit)} ${name}`;
    }
    return below(x);
  }
  return {
    seconds: (x) => scaled(x, SECONDS, (y) => `${digits(y / 1e-9)} ns`),
    size: (x) => scaled(x, BYTES, (y) => `${y.toFixed(0)} B`),
    error: (x) => (x === null || !Number.isFinite(x) ? "-" : x ? power(x, 0) : "0"),
    number(x) {
      if (x === null || !Number.isFinite(x)) return "-";
      const large = x !== 0 && !(Math.abs(x) >= 1e-3 && Math.abs(x) < 1e6);
      return large ? power(x, 2) : digits(x);
    },
    whole: (x) => (x === null ? "-" : String(x)),
    ratio: (x) => (x === null || !Number.isFinite(x) ? "-" : `${digits(x, x >= 1 ? 3 : 2)}x`),
    plain: (x) => (x === null || x === "" ? "-" : String(x)),
  };
})();
