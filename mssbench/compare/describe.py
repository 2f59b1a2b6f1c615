"""`compare`: the judgement on every row of two tables, and the geometric means of their times."""

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
    refuse,
    same_machine,
)
from mssbench.compare.times import StoredTimes
from mssbench.compare.verdict import outcome

# Times of different phases or clocks have no common mean.
_APART = ("phase", "clock", "cache")


def compare(
    base: StoredRun, new: StoredRun, across: Collection[str] = (), by: Sequence[str] = ()
) -> Judged:
    """The judgement on every row of both tables, and a remark where the code differs.

    across: in what the tables may differ, of ACROSS.
    by: the columns by which geometric means are taken, beside the phase and the clock.
    Raises NotComparable where the tables differ in something else, or have no row in common.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=("machine", "problem"))

    same = same_machine(base, new)
    terms = Terms(same_machine=same, counts=same, when_gone=WHEN_GONE)
    times = StoredTimes(max(base.drift(), new.drift()))
    judgements = tuple(judge(pair, terms, times) for pair in pairs)

    # It describes two runs, and only a comparison of nothing is a failure: no verdict counts.
    measured = sum(both_measured(pair) for pair in pairs)
    return Judged(
        judgements,
        outcome({}, measured),
        (
            *left_over_remarks(base, new),
            *changed_parameters(pairs),
            *filter(None, [changed_code(pairs)]),
        ),
        means=tuple(geometric_means(judgements, (*_APART, *by))),
    )


def geometric_means(judgements: Iterable[Judgement], by: Sequence[str]) -> Iterable[Mean]:
    """The geometric mean of the ratios of time, for each combination of values in some columns.

    Only rows that are ok on both sides have a ratio.
    """
    logarithms: dict[tuple[Any, ...], list[float]] = {}
    for judgement in judgements:
        if judgement.ratio is not None:
            values = tuple(judgement.pair.row[name] for name in by)
            logarithms.setdefault(values, []).append(log(judgement.ratio))

    for values, logs in sorted(logarithms.items(), key=str):
        at = tuple(zip(by, values, strict=True))
        yield Mean(at, exp(sum(logs) / len(logs)), len(logs))
