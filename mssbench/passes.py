"""Several passes over a suite, as one row: samples pooled, errors the worst, and how far apart.

Between two passes lie minutes, in which a machine changes more than between two samples. So the
interval of a pooled median reaches at least from one pass's median to the other's, and what lies
inside it is a tie wherever times are compared.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from mssbench.noise import noise
from mssbench.records import MEASURED, SCHEMA, Cell, Stop, Timing
from mssbench.rows import Row

Samples = Sequence[Sequence[float]]

# Errors and the like: of several passes the worst counts.
_WORST = tuple(c.name for c in SCHEMA if c.group in ("error", "memory"))
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
    time["seconds_low"] = min(time["seconds_low"], *medians)
    time["seconds_high"] = max(time["seconds_high"], *medians)
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


def _worse(x: Any, y: Any) -> Any:
    """The larger; unknown, which an error is when it is nan, is worse than any."""
    return None if x is None or y is None else max(x, y)
