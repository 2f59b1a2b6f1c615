"""Judge one row that base and new have, by the same rules in `compare`, `check` and `ab`.

The first rule that applies decides:

1. the row is missing on one side;
2. base failed in a later process after it had succeeded, so that nothing can be said about new;
3. the status changed, or both sides have the same status without numbers;
4. the inputs differ, and the caller does not want their numbers compared;
5. an error, a count, or a time with a user's limit is larger than allowed;
6. the times differ, or are shown to be equal.

`compare`, `check` and `ab` differ in the `Terms`, and in the function that judges times.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite, log

from mssbench.compare.judgement import Judgement, RowPair
from mssbench.compare.rows import breaches, by_status, columns_to_compare, failed, other_input
from mssbench.compare.verdict import BY_TIME, Verdict
from mssbench.records.measurement import MEASURED, AnyRow, Status
from mssbench.results.labels import have_same_method
from mssbench.suite.thresholds import TIMES, Rule

# A function that judges a pair of measured rows by their times alone.
TimeSource = Callable[[RowPair], Judgement]
CALM = "stop other processes, and compare again"


@dataclass(frozen=True)
class Terms:
    """The settings by which `compare`, `check` and `ab` differ in comparing rows."""

    same_machine: bool  # whether the same code rounds in the same way on both sides
    counts: bool  # whether counts are compared; it needs the same library releases on both sides
    rules: tuple[Rule, ...] = ()  # limits set by users
    # The verdict on rows with different inputs; None if their numbers are compared nevertheless.
    other_input: Verdict | None = None
    when_gone: str = ""  # advice for a row that new does not have
    base_failed: str = ""  # why base failed in a later pair of processes; else empty
    doubt: str = ""  # why no time can be trusted; else empty
    # |log(new / base)| beyond which a difference in time is reported in spite of the doubt.
    beyond: float = inf


_OTHER_INPUT = {
    Verdict.UNFLAGGED: "the inputs differ: only the status was compared",
    Verdict.INCOMPARABLE: "base and new were given different inputs",
}


def judge(pair: RowPair, terms: Terms, times: TimeSource | None) -> Judgement:
    """Return the judgement on one pair of rows.

    times: a function that judges the times of both rows; None if times are not judged.
    """
    base, new = pair
    if base is None or new is None:
        return _missing(pair, terms)

    if terms.base_failed:
        reason = f"base failed in a later pair: {terms.base_failed}"
        return Judgement(pair, Verdict.UNCLEAR, reason, CALM)

    if (decided := by_status(base, new)) is not None:
        verdict, reason = decided
        worse = verdict in (Verdict.BROKEN, Verdict.WORSE)
        breached = ("status",) if worse else ()
        decided_by = Judgement(pair, verdict, reason, compared=("status",), breached=breached)
        both = all(row["status"] in MEASURED for row in (base, new))
        if times is None or not (worse and both) or other_input(pair):
            return decided_by
        return _also_slower(decided_by, _with_doubt(times(pair), terms))

    # Errors on different inputs cannot be compared.
    if terms.other_input is not None and other_input(pair):
        reason = _OTHER_INPUT[terms.other_input]
        return Judgement(pair, terms.other_input, reason, compared=("status",))

    return _by_numbers(pair, base, new, terms, times)


def _missing(pair: RowPair, terms: Terms) -> Judgement:
    """Return the judgement on a row that only one side has."""
    status_only = ("status",)
    if pair.new is None:
        return Judgement(
            pair,
            Verdict.GONE,
            "not in new",
            terms.when_gone,
            compared=status_only,
            breached=status_only,
        )

    status = Status(pair.new["status"])
    if failed(status):
        reason = f"not in base, {status}: {pair.new['reason']}"
        return Judgement(pair, Verdict.BROKEN, reason, compared=status_only, breached=status_only)
    return Judgement(pair, Verdict.ADDED, "not in base")


def _by_numbers(
    pair: RowPair, base: AnyRow, new: AnyRow, terms: Terms, times: TimeSource | None
) -> Judgement:
    """Return the judgement on two measured rows: by errors and counts first, and then by times."""
    # A different method rounds differently and has different counts; that does not make it worse.
    same_method = have_same_method(base, new)
    same_machine = terms.same_machine and same_method
    counts = terms.counts and same_method

    compared = columns_to_compare(base, new["method"], terms.rules, counts=counts)
    larger = list(
        breaches(
            base,
            new,
            new["method"],
            terms.rules,
            same_machine=same_machine,
            columns=compared,
        )
    )

    # The ratio and its interval are reported whichever rule decides.
    all_compared = ("status", *compared)
    if times is not None:
        timed = replace(_with_doubt(times(pair), terms), compared=all_compared)
    else:
        ratio = _ratio(base, new) if larger else None
        timed = Judgement(pair, Verdict.UNFLAGGED, "", ratio=ratio, compared=all_compared)

    if not larger:
        return timed

    by_time_alone = all(breach.column in TIMES for breach in larger)
    breached = Judgement(
        pair,
        Verdict.SLOWER if by_time_alone else Verdict.WORSE,
        "; ".join(breach.sentence for breach in larger),
        compared=timed.compared,
        breached=tuple(breach.column for breach in larger),
    )
    return _also_slower(breached, timed)


def _also_slower(decided: Judgement, timed: Judgement) -> Judgement:
    """Return the judgement `decided`, by status, errors or counts, with the times of `timed` added.

    A row that is slower as well has both verdicts, since both have to be fixed.
    """
    both = replace(
        decided,
        ratio=timed.ratio,
        low=timed.low,
        high=timed.high,
        detectable=timed.detectable,
        pairs=timed.pairs,
    )

    if timed.verdict is not Verdict.SLOWER or decided.verdict is Verdict.SLOWER:
        return both
    reason = f"{decided.reason}; slower: {timed.reason}"
    return replace(both, reason=reason, also=(Verdict.SLOWER,))


def _with_doubt(timed: Judgement, terms: Terms) -> Judgement:
    """Return the judgement on times; if no time of the run can be trusted, a weaker one.

    `same` becomes `unflagged`, and `slower` or `faster` becomes `unclear`, unless it is far larger
    than the differences of base from itself.
    """
    if not terms.doubt:
        return timed

    reason = f"{timed.reason}, but {terms.doubt}"
    if timed.verdict is Verdict.SAME:
        return replace(timed, verdict=Verdict.UNFLAGGED, reason=reason)
    if timed.verdict not in BY_TIME:
        return timed

    # A difference stands if its whole interval exceeds the differences of base from itself.
    ends = [abs(log(end)) for end in (timed.low, timed.high) if end is not None]
    if len(ends) == 2 and min(ends) > terms.beyond:
        return timed
    return replace(timed, verdict=Verdict.UNCLEAR, reason=reason, advice=CALM)


def _ratio(base: AnyRow, new: AnyRow) -> float | None:
    """Return new / base of the median times; None if one is missing or the ratio is not finite."""
    before, now = base["seconds_median"], new["seconds_median"]
    if before is None or now is None:
        return None

    ratio = float(now / before)
    return ratio if isfinite(ratio) else None
