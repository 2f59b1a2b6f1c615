"""Flag rows whose clocks contradict each other.

The replay of a CUDA graph cannot take longer than the device was busy with the same call, and the
device cannot be busy for longer than the caller waited. Where the time of the inner clock exceeds
that of the outer one, one of the two is wrong.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

from mssbench.records.cell import GPU, GRAPH, HOT, WALL
from mssbench.records.measurement import Measurement

# Tolerances, relative and in seconds: two right clocks may differ, as they time different samples.
_RELATIVE, _SECONDS = 0.05, 2e-6


def in_order(rows: Sequence[Measurement]) -> list[Measurement]:
    """Return the rows of one phase; those of clocks that contradict each other get a flag."""
    medians = {
        row.clock: row.timing.statistics()["seconds_median"]
        for row in rows
        if row.cache == HOT and row.timing is not None
    }

    contradicting: set[str] = set()
    for inner, outer in pairwise((GRAPH, GPU, WALL)):
        including = medians.get(outer, inf)
        if medians.get(inner, 0.0) > (1 + _RELATIVE) * including + _SECONDS:
            contradicting |= {inner, outer}

    return [_flagged(row) if row.clock in contradicting and row.timing else row for row in rows]


def _flagged(row: Measurement) -> Measurement:
    values = dict(row.values or {})
    flags = f"{values.get('flags') or ''} clock_order".strip()
    return replace(row, values=values | {"flags": flags})
