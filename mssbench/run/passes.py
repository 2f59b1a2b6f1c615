"""Combines the passes over a suite into one row each: pooled samples, worst errors, spread.

Between two passes lie minutes, in which a machine changes more than between two samples. So the
interval of a pooled median reaches at least from one pass's median to the other's, and as far as
passes of this run usually lie from the truth: two that agree may do so by chance. Times whose
intervals overlap are a tie wherever times are compared.
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
from mssbench.records.timing import Stop, Timing

Samples = Sequence[Sequence[float]]
Place = tuple[str, ...]  # cell_id, phase, clock, cache
# Errors and the like: of several passes the worst counts.
_WORST = tuple(c.name for c in SCHEMA if c.pooled == "worst")
_MEAN = ("gemms",)
_KEY = ("phase", "clock", "cache")

_TWO_SIDED = NormalDist().inv_cdf(0.975)  # an interval of 95 %
_MEDIAN_OF_TWO = NormalDist().inv_cdf(0.75) * sqrt(2)  # of |x - y| for x, y from N(0, 1): 0.954
# A deviation that n rows tell is itself uncertain, and intervals of few rows would be too narrow.
# With 1 + 2/n they cover as often as they say from four rows on: tests/run/test_intervals.py.
_FEW = 2.0


def shuffled(cells: Sequence[Cell], seed: str, number: int) -> Iterator[Cell]:
    """The cells in the order of pass `number`: those of one problem together, in random order.

    Methods that will be compared are so measured within the same minute, and none of them always
    first. The problem's matrices and reference are made once.
    """
    for key, group in groupby(cells, _group):
        mixed = list(group)
        random.Random(f"{seed} {number} {key}").shuffle(mixed)  # noqa: S311  (no secret)
        yield from mixed


def _group(cell: Cell) -> tuple[Any, ...]:
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
    """The rows of a cell from two passes, each with the samples behind it, in the order of `new`.

    A row that was not measured in both is as the later pass has it.
    """
    before = {tuple(r[k] for k in _KEY): (r, s) for r, s in zip(old, old_samples, strict=True)}
    rows, samples = [], []
    for row, own in zip(new, new_samples, strict=True):
        earlier, others = before.get(tuple(row[k] for k in _KEY), (None, ()))
        if earlier and row["status"] in MEASURED and earlier["status"] in MEASURED and others:
            rows.append(_pooled(earlier, others, row, own))
            samples.append([*others, *own])
        else:
            rows.append(row)
            samples.append(list(own))
    return rows, samples


def _pooled(old: Row, others: Sequence[float], new: Row, own: Sequence[float]) -> Row:
    stop = Stop(new["stop"]) if new["stop"] else Stop.PRECISION
    timing = Timing(
        (*others, *own), max(old["calls"], new["calls"]), old["first_call_seconds"], stop
    )
    time = timing.statistics()
    medians = (old["seconds_median"], new["seconds_median"])
    several = old["passes"] > 1  # whose medians lie between the ends of its interval
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
    if old["status"] != "ok":  # the first that was not fine says why
        row["status"], row["reason"] = old["status"], old["reason"]
    return row


def steadied(rows: Sequence[Row], samples: Mapping[Place, Sequence[float]]) -> list[Row]:
    """What the passes of a run say of each row: an interval, and a class of noise; or nothing.

    samples: by `place`; a row without keeps the class that it has.

    Let σ be the standard deviation of a pass, of the logarithm of its median. Two passes differ by
    N(0, 2 σ²), whose absolute value has the median Φ⁻¹(3/4) √2 σ = 0.954 σ. So the median of the
    differences over all rows, divided by 0.954, estimates σ, and rows that were disturbed do not
    move it as long as they are fewer than half. Of more than two passes the largest difference is
    known, which makes the estimate too large and never too small.

    A row's own difference d estimates its own σ as d/√2. The larger of the two counts: a row that
    was disturbed stays wide, and two passes that agree by chance do not make a row steady. The
    median of P passes has the deviation σ/√P, so that its interval reaches 1.96 σ/√P to both sides.
    """
    apart: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if _several(row):
            apart.setdefault(_machine(row), []).append(log1p(row["spread"]))

    usual = {machine: Usual.of(differences) for machine, differences in apart.items()}
    return [
        _wider(r, usual[_machine(r)], samples.get(place(r))) if _several(r) else {} for r in rows
    ]


class Usual(NamedTuple):
    """How far a pass usually is from the truth on one machine, as a deviation of the logarithm."""

    deviation: float
    rows: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> "Usual":
        """The deviation that the logarithmic differences of two passes tell, see `steadied`."""
        return cls(median(differences) / _MEDIAN_OF_TWO, len(differences))

    def reach(self, spread: float, passes: int) -> float:
        """How far an interval reaches to both sides of a median of `passes`, as a logarithm."""
        own = log1p(spread) / sqrt(2)
        from_few = self.deviation * (1 + _FEW / self.rows)
        return _TWO_SIDED * max(from_few, own) / sqrt(passes)


def place(row: Row) -> Place:
    """What names a row among those of all cells."""
    return (row["cell_id"], *(row[k] for k in _KEY))


def _several(row: Row) -> bool:
    return row["status"] in MEASURED and row["spread"] is not None and row["passes"] > 1


def _machine(row: Row) -> tuple[Any, ...]:
    return (row["environment"], row["device"], row["clock"])


def _wider(row: Row, usual: Usual, samples: Sequence[float] | None) -> Row:
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
    """The larger; unknown, which an error is when it is nan, is worse than any."""
    return None if x is None or y is None else max(x, y)
