"""Combines the passes over a suite into one row each: pooled samples, worst errors, spread.

Between two passes lie minutes, in which a machine changes more than between two samples. So the
interval of a pooled median reaches at least from one pass's median to the other's, and as far as
the passes of the whole run usually differ: two that agree may do so by chance. What lies inside it
is a tie wherever times are compared.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import sqrt
from statistics import fmean
from typing import Any

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
        cell.device, cell.function, cell.problem, cell.size, cell.batch, cell.precision, cell.seed,
    )  # fmt: skip


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

    samples: by `place`; a row without keeps the class that it has. Over all rows, the differences
    of two passes tell the deviation σ of one, which is their root mean square / √2. An interval
    reaches σ to both sides: the means of two passes and of another two differ by less than 2 σ in
    95 %, and then their intervals overlap.
    """
    apart: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if _several(row):
            apart.setdefault(_machine(row), []).append(row["spread"])
    usual = {m: sqrt(fmean(s * s for s in spreads) / 2) for m, spreads in apart.items()}
    return [
        _wider(r, usual[_machine(r)], samples.get(place(r))) if _several(r) else {} for r in rows
    ]


def place(row: Row) -> Place:
    """What names a row among those of all cells."""
    return (row["cell_id"], *(row[k] for k in _KEY))


def _several(row: Row) -> bool:
    return row["status"] in MEASURED and row["spread"] is not None and row["passes"] > 1


def _machine(row: Row) -> tuple[Any, ...]:
    return (row["environment"], row["device"], row["clock"])


def _wider(row: Row, usual: float, samples: Sequence[float] | None) -> Row:
    middle = row["seconds_median"]
    wider: Row = {
        "seconds_low": min(row["seconds_low"], middle / (1 + usual)),
        "seconds_high": max(row["seconds_high"], middle * (1 + usual)),
    }
    if samples:
        spread = max(row["spread"], usual)
        wider["noise"] = noise(samples, spread, (row["flags"] or "").split())
    return wider


def _worse(x: Any, y: Any) -> Any:
    """The larger; unknown, which an error is when it is nan, is worse than any."""
    return None if x is None or y is None else max(x, y)
