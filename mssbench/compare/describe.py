"""`compare`: judge every row of two tables, and take geometric means of their ratios of time."""

from collections.abc import Collection, Iterable, Sequence
from math import exp, log
from typing import Any

from mssbench.compare.judge import Terms, judge
from mssbench.compare.judgement import Judged, Judgement, Mean
from mssbench.compare.tables import (
    WHEN_GONE,
    StoredRun,
    both_measured,
    changed_code,
    changed_parameters,
    left_over_remarks,
    matched,
    part_remarks,
    refuse,
    same_machine,
)
from mssbench.compare.times import StoredTimes
from mssbench.compare.verdict import outcome

# Times of different phases, clocks or caches are not averaged with each other.
_APART = ("phase", "clock", "cache")
# Aspects in which two runs must agree. The machine includes the versions of its libraries.
_ALIKE = ("machine", "problem")


def compare(
    base: StoredRun, new: StoredRun, across: Collection[str] = (), by: Sequence[str] = ()
) -> Judged:
    """Compare two runs row by row: a verdict on each row, mean ratios of times, and remarks.

    across: "machine" or "problem", aspects in which the runs may differ.
    by: key columns; a geometric mean is taken for each combination of their values, in addition to
    phase, clock and cache.
    Raises NotComparable if the runs differ in another aspect, or have no row in common, and
    TableError for an unknown word in `across` or an empty table.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=_ALIKE, known=_ALIKE)

    same = same_machine(base, new)
    terms = Terms(same_machine=same, counts=same, when_gone=WHEN_GONE)
    times = StoredTimes(max(base.drift(), new.drift()))
    judgements = tuple(judge(pair, terms, times) for pair in pairs)

    # `compare` only describes: it fails if nothing was compared, but not because of a verdict.
    measured = sum(both_measured(pair) for pair in pairs)
    return Judged(
        judgements,
        outcome({}, measured),
        (
            *part_remarks(base, new),
            *left_over_remarks(base, new),
            *changed_parameters(pairs),
            *filter(None, [changed_code(pairs)]),
        ),
        means=tuple(geometric_means(judgements, (*_APART, *by))),
    )


def geometric_means(judgements: Iterable[Judgement], by: Sequence[str]) -> Iterable[Mean]:
    """Yield the geometric mean of the ratios new / base of time, for each group of rows.

    by: the columns whose values are equal in a group. Only rows ok on both sides have a ratio.
    """
    logarithms: dict[tuple[Any, ...], list[float]] = {}
    for judgement in judgements:
        if judgement.ratio is not None:
            values = tuple(judgement.pair.row[name] for name in by)
            logarithms.setdefault(values, []).append(log(judgement.ratio))

    for values, logs in sorted(logarithms.items(), key=str):
        at = tuple(zip(by, values, strict=True))
        yield Mean(at, exp(sum(logs) / len(logs)), len(logs))
