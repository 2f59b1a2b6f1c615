"""`check`: compare a run with a baseline by numbers without noise; times only give advice.

On shared machines the usual rules on stored times raised false alarms in 20 to 80 of 100 identical
runs, except for rules that allow a time to double. Users soon switch off a gate with false alarms,
so stored times decide only if a user has set a limit. `ab` compares times reliably.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from mssbench.compare import rows
from mssbench.compare.judge import Terms, judge
from mssbench.compare.judgement import Judged, Judgement, RowPair, Tally, count_verdicts
from mssbench.compare.tables import (
    WHEN_GONE,
    StoredRun,
    both_measured,
    changed_parameters,
    left_over_remarks,
    matched,
    part_remarks,
    refuse,
    same_machine,
)
from mssbench.compare.times import StoredTimes
from mssbench.compare.verdict import BY_TIME, Verdict, outcome
from mssbench.errors import GateError
from mssbench.records.measurement import MEASURED
from mssbench.suite.thresholds import TIMES, Rule, why_idle


def check(
    base: StoredRun, new: StoredRun, rules: Sequence[Rule] = (), across: Collection[str] = ()
) -> Judged:
    """Compare every row of a run (`new`) with the same row of a baseline (`base`).

    rules: limits set by users; if several cover a column of a row, the last one counts.
    across: words of ACROSS, aspects in which the two may differ.
    Raises NotComparable if they have no row in common, or were measured with different inputs or
    library releases, or on different machines while a rule limits a time, and `across` does not
    allow it. Raises GateError for a rule that applies to no row, and TableError for an unknown word
    in `across` or an empty table.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=("problem", "versions"))
    if any(rule.column in TIMES for rule in rules):
        refuse(pairs, base, new, across, what=("machine",))
    _refuse_idle(pairs, rules)

    same = same_machine(base, new)
    terms = Terms(
        same_machine=same,
        counts="versions" not in across,
        rules=tuple(rules),
        other_input=Verdict.UNFLAGGED,
        when_gone=WHEN_GONE,
    )
    judgements = tuple(judge(pair, terms, times=None) for pair in pairs)

    remarks = [*part_remarks(base, new), *left_over_remarks(base, new)]
    if not same:
        remarks.append("no advice on times: measured in another environment")
    remarks += changed_parameters(pairs)
    if not terms.counts:
        remarks.append("counts were not compared: --across versions")

    times = StoredTimes(max(base.drift(), new.drift()))
    by_time = (times(pair) for pair in pairs if same and both_measured(pair))
    return Judged(
        judgements,
        outcome(count_verdicts(judgements), sum(map(_is_informative, judgements))),
        tuple(remarks),
        tallies=tuple(_tallies(judgements)),
        advice=tuple(timed for timed in by_time if timed.verdict in BY_TIME),
    )


def _refuse_idle(pairs: Sequence[RowPair], rules: Sequence[Rule]) -> None:
    """Raise GateError for a user's limit that applies to no row, as it would always pass."""
    measured = [
        pair.base for pair in pairs if pair.base is not None and pair.base["status"] in MEASURED
    ]
    for rule in rules:
        applies = any(
            row[rule.column] is not None and rule.covers(row["method"]) for row in measured
        )
        if not rule.optional and not applies:
            why = why_idle(rule, (row["method"] for row in measured))
            raise GateError(f"{rule.text!r} limits nothing in the baseline: {why}")


def _is_informative(judgement: Judgement) -> bool:
    """Whether a judgement counts as a measured row: a number was compared, or the method failed.

    Without the failures, a run in which all methods fail would count as not measured.
    """
    return judgement.verdict is Verdict.BROKEN or any(
        name != "status" for name in judgement.compared
    )


def _tallies(judgements: Iterable[Judgement]) -> Iterable[Tally]:
    """Yield how many rows were compared and how many failed, for each column with a limit."""
    compared: Counter[str] = Counter()
    breached: Counter[str] = Counter()
    for judgement in judgements:
        compared.update(judgement.compared)
        breached.update(judgement.breached)

    always = ["status", *rows.ERRORS, *rows.COUNTS]
    added = sorted(compared.keys() - {*always})
    for name in (*always, *added):
        yield Tally(name, compared[name], breached[name])
