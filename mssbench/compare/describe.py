"""Two tables side by side, row by row, with the geometric means of their times."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any

from mssbench.compare import rows
from mssbench.compare.rows import Change, Pair, alone
from mssbench.compare.tables import Side, matched, refuse
from mssbench.compare.times import by_time
from mssbench.compare.verdict import Verdict
from mssbench.records.measurement import MEASURED


@dataclass(frozen=True)
class Comparison:
    """All pairs with their verdicts."""

    changes: tuple[Change, ...]

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return Counter(str(c.verdict) for c in self.changes)

    @property
    def measured(self) -> int:
        """Rows that were measured on both sides."""
        return sum(
            c.pair.base is not None
            and c.pair.new is not None
            and {c.pair.base["status"], c.pair.new["status"]} <= MEASURED
            for c in self.changes
        )

    def means(self, by: Sequence[str]) -> dict[tuple[Any, ...], tuple[float, int]]:
        """Geometric mean of the ratios and their number, by columns; of rows ok on both sides."""
        logs: dict[tuple[Any, ...], list[float]] = {}
        for c in self.changes:
            if c.ratio is not None:
                logs.setdefault(tuple(c.pair.row[k] for k in by), []).append(log(c.ratio))
        return {k: (exp(sum(v) / len(v)), len(v)) for k, v in sorted(logs.items(), key=str)}


def compare(base: Side, new: Side, across: Collection[str] = ()) -> Comparison:
    """Every row of both tables with its verdict.

    across: in what the tables may differ, of ACROSS. Raises NotComparable where they differ in
    something else, or have no row in common.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=("machine", "code", "problem"))
    same_machine = base.environments().keys() == new.environments().keys()
    drift = max(base.drift(), new.drift())
    return Comparison(tuple(_change(pair, same_machine, drift) for pair in pairs))


def _change(pair: Pair, same_machine: bool, drift: float) -> Change:
    if (change := alone(pair)) is not None:
        return change
    assert pair.base is not None
    assert pair.new is not None
    if found := rows.by_status(pair.base, pair.new):
        return Change(pair, *found)
    worse = list(
        rows.breaches(pair.base, pair.new, pair.new["method"], (), same_machine=same_machine,
                       counts=same_machine)
    )  # fmt: skip
    timed = by_time(pair, drift)
    if worse:
        return replace(timed, verdict=Verdict.WORSE, reason="; ".join(b.sentence for b in worse),
                       advice="")  # fmt: skip
    return timed
