"""Pool the passes over a suite into one row per key: all samples, the worst errors, the spread.

A pass measures every cell of the suite once. A machine changes more between two passes, which are
minutes apart, than between two samples. The interval of a pooled median therefore contains the
medians of all passes, and is at least as wide as the usual difference between the passes of the run
requires: two passes may agree by chance. Times whose intervals overlap are a tie wherever times are
compared.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import exp, expm1, log1p, sqrt
from statistics import NormalDist, median
from typing import Any, NamedTuple

from mssbench.records.cell import Cell
from mssbench.records.measurement import MEASURED, Row
from mssbench.records.noise import noise
from mssbench.records.schema import SCHEMA
from mssbench.records.timing import StopReason, Timing

Samples = Sequence[Sequence[float]]
RowKey = tuple[str, ...]  # cell_id, phase, clock, cache
# Columns of which the worst of all passes is kept, such as errors and memory.
_WORST = tuple(c.name for c in SCHEMA if c.pooled == "worst")
_MEAN = ("gemms",)  # columns that are averaged over the passes
_KEY = ("phase", "clock", "cache")

_TWO_SIDED = NormalDist().inv_cdf(0.975)  # 1.96, for an interval of 95 %
_MEDIAN_OF_TWO = NormalDist().inv_cdf(0.75) * sqrt(2)  # 0.954: median of |x - y|, x, y ~ N(0, 1)
# A deviation estimated from n rows is itself uncertain, so that intervals from few rows would be
# too narrow. With the factor 1 + 2/n they have the nominal coverage from four rows on, see
# tests/run/test_intervals.py.
_FEW = 2.0


def shuffled(cells: Sequence[Cell], seed: str, number: int) -> Iterator[Cell]:
    """Yield the cells in the order of pass `number`: shuffled within each problem.

    Methods that will be compared are thus measured soon after each other, and no method is always
    the first. The matrices and the reference of the problem are computed once.
    """
    for key, group in groupby(cells, _group):
        mixed = list(group)
        random.Random(f"{seed} {number} {key}").shuffle(mixed)  # noqa: S311  (no secret)
        yield from mixed


def _group(cell: Cell) -> tuple[Any, ...]:
    """Return a key that is the same for cells with the same matrices and reference result."""
    return (
        cell.device,
        cell.function,
        cell.problem,
        cell.size,
        cell.batch,
        cell.precision,
        cell.seed,
    )


def pooled(
    old: Sequence[Row], old_samples: Samples, new: Sequence[Row], new_samples: Samples
) -> tuple[list[Row], list[list[float]]]:
    """Pool the rows of a cell from earlier passes, `old`, with those of a new pass.

    Return the rows and the samples of each, in the order of `new`. A row that was not measured in
    both is taken from the new pass.
    """
    before = {tuple(r[k] for k in _KEY): (r, s) for r, s in zip(old, old_samples, strict=True)}

    rows, samples = [], []
    for row, row_samples in zip(new, new_samples, strict=True):
        earlier, others = before.get(tuple(row[k] for k in _KEY), (None, ()))
        if earlier and row["status"] in MEASURED and earlier["status"] in MEASURED and others:
            rows.append(_pooled(earlier, others, row, row_samples))
            samples.append([*others, *row_samples])
        else:
            rows.append(row)
            samples.append(list(row_samples))

    return rows, samples


def _pooled(old: Row, old_samples: Sequence[float], new: Row, new_samples: Sequence[float]) -> Row:
    """Return one row for two measured rows of one key, from earlier passes and from a new one."""
    stop = StopReason(new["stop"]) if new["stop"] else StopReason.PRECISION
    timing = Timing(
        (*old_samples, *new_samples),
        max(old["calls"], new["calls"]),
        old["first_call_seconds"],
        stop,
    )
    time = timing.statistics()

    # The interval contains the median of every pass. If `old` is of several passes, its interval
    # contains theirs.
    medians = (old["seconds_median"], new["seconds_median"])
    several = old["passes"] > 1
    time["seconds_low"] = min(
        time["seconds_low"], *medians, *([old["seconds_low"]] if several else [])
    )
    time["seconds_high"] = max(
        time["seconds_high"], *medians, *([old["seconds_high"]] if several else [])
    )
    time["passes"] = old["passes"] + new["passes"]
    time["spread"] = max(old["spread"] or 0.0, max(medians) / min(medians) - 1)

    flags = " ".join(sorted({*(old["flags"] or "").split(), *(new["flags"] or "").split()}))
    row = new | time | {"flags": flags}
    row["noise"] = noise(timing.samples, time["spread"], flags.split())

    for name in _WORST:
        row[name] = _worse(old[name], new[name])
    for name in _MEAN:
        if old[name] is not None and new[name] is not None:
            row[name] = (old[name] * old["passes"] + new[name] * new["passes"]) / time["passes"]
    if row["limit_seconds"] is not None:
        row["limit_fraction"] = row["limit_seconds"] / row["seconds_median"]
    if old["status"] != "ok":  # the first pass that failed gives status and reason
        row["status"], row["reason"] = old["status"], old["reason"]
    return row


def steadied(rows: Sequence[Row], samples: Mapping[RowKey, Sequence[float]]) -> list[Row]:
    """Return for each row the columns that follow from the differences between passes of all rows.

    These are `seconds_low`, `seconds_high` and `noise`; a row of one pass gets no columns. samples:
    raw seconds by `place`; a row without samples keeps its noise class.

    Let σ be the standard deviation, from pass to pass, of the logarithm of a pass's median. Two
    passes differ by N(0, 2 σ²), whose absolute value has the median Φ⁻¹(3/4) √2 σ = 0.954 σ (Φ is
    the normal distribution function). The median of the differences over all rows, divided by
    0.954, therefore estimates σ, and is insensitive to disturbed rows as long as these are fewer
    than half. For more than two passes only the largest difference is known, so that σ is
    overestimated and never underestimated.

    The difference d of a single row estimates σ of that row as d/√2. The larger of the two
    estimates is used: a disturbed row keeps a wide interval, and a row does not get a narrow one
    because its two passes agree by chance. The median of P passes has the deviation σ/√P, so that
    its interval reaches 1.96 σ/√P to both sides.
    """
    differences: dict[tuple[Any, ...], list[float]] = {}  # logarithmic, by `_machine`
    for row in rows:
        if _several(row):
            differences.setdefault(_machine(row), []).append(log1p(row["spread"]))

    usual = {machine: Usual.of(logs) for machine, logs in differences.items()}
    return [
        _wider(r, usual[_machine(r)], samples.get(place(r))) if _several(r) else {} for r in rows
    ]


class Usual(NamedTuple):
    """Usual standard deviation of a pass on one machine, of the logarithm of its medians."""

    deviation: float
    rows: int  # number of rows from which it was estimated

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Usual":
        """Estimate the deviation from the logarithmic differences of passes, see `steadied`."""
        return cls(median(differences) / _MEDIAN_OF_TWO, len(differences))

    def reach(self, spread: float, passes: int) -> float:
        """Return the half width of the interval of a row's pooled median, as a logarithm.

        spread, passes: the row's columns of these names.
        """
        of_row = log1p(spread) / sqrt(2)
        of_machine = self.deviation * (1 + _FEW / self.rows)
        return _TWO_SIDED * max(of_machine, of_row) / sqrt(passes)


def place(row: Row) -> RowKey:
    """Return the key of a row within a run: cell_id, phase, clock and cache."""
    return (row["cell_id"], *(row[k] for k in _KEY))


def _several(row: Row) -> bool:
    """Whether a row was measured in several passes."""
    return row["status"] in MEASURED and row["spread"] is not None and row["passes"] > 1


def _machine(row: Row) -> tuple[Any, ...]:
    """Return a key that is the same for rows whose passes vary alike: one machine and clock."""
    return (row["environment"], row["device"], row["clock"])


def _wider(row: Row, usual: Usual, samples: Sequence[float] | None) -> Row:
    """Return the widened interval of a row's time and, if its samples are known, its noise class.

    usual: how much the passes of the machine vary.
    """
    middle, factor = row["seconds_median"], exp(usual.reach(row["spread"], row["passes"]))
    wider: Row = {
        "seconds_low": min(row["seconds_low"], middle / factor),
        "seconds_high": max(row["seconds_high"], middle * factor),
    }

    if samples:
        spread = max(row["spread"], expm1(usual.deviation))
        wider["noise"] = noise(samples, spread, (row["flags"] or "").split())
    return wider


def _worse(x: Any, y: Any) -> Any:
    """Return the larger of two values; None if one is None, which stands for an error of NaN."""
    return None if x is None or y is None else max(x, y)
