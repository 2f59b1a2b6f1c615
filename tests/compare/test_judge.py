"""The order in which a row is judged, and that `compare`, `check` and `ab` judge it alike."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import pytest
from helpers.tables import CELL, frame, row

from mssbench.ab.duel import ArmSamples, Contest
from mssbench.ab.effects import BASE, NEW
from mssbench.ab.verdicts import INTERRUPTED, Notes, conclude
from mssbench.compare.check import check
from mssbench.compare.describe import compare
from mssbench.compare.judge import Terms, judge
from mssbench.compare.judgement import Judged, Judgement, RowPair, judgement_data
from mssbench.compare.tables import StoredRun
from mssbench.compare.verdict import Outcome, Verdict, outcome
from mssbench.records.cell import Cell
from mssbench.suite import thresholds

# A row with a number for every step of the ladder.
OK = row(1.0, root=1e-6, products=3.0, fingerprint=1.0, noise="quiet", passes=2) | {
    "method": "torch/eigh"
}
TERMS = Terms(same_machine=True, counts=True, other_input=Verdict.UNFLAGGED)
LIMIT = tuple(thresholds.of_words(["seconds:50%"]))


def slower(pair: RowPair) -> Judgement:
    """Times by which every row is slower."""
    return Judgement(pair, Verdict.SLOWER, "slower", "do it again", 2.0, 1.9, 2.1, 0.05, (2.0,))


def never(pair: RowPair) -> Judgement:
    raise AssertionError(f"times were asked for {pair}")


def judged(
    base: dict[str, Any] | None,
    new: dict[str, Any] | None,
    terms: Terms = TERMS,
    times: Callable[[RowPair], Judgement] | None = slower,
) -> Judgement:
    return judge(RowPair(base, new), terms, times)


# The steps of the ladder, each against the next one that could decide otherwise.


def test_a_missing_row_comes_before_a_failure_of_base() -> None:
    failed = replace(TERMS, base_failed="it died", when_gone="measure it")
    gone = judged(OK, None, failed, never)
    assert (gone.verdict, gone.reason, gone.advice) == (Verdict.GONE, "not in new", "measure it")
    assert judged(None, OK, failed, never).verdict is Verdict.ADDED
    assert judged(None, OK | {"status": "crashed"}, failed, never).verdict is Verdict.BROKEN


def test_a_failure_of_base_comes_before_the_status() -> None:
    """New would be `fixed` otherwise, however slow it was before."""
    failed = replace(TERMS, base_failed="it died")
    judgement = judged(OK | {"status": "crashed"}, OK, failed, never)
    assert judgement.verdict is Verdict.UNCLEAR
    assert judgement.reason == "base failed in a later pair: it died"


@pytest.mark.parametrize("other_input", [None, Verdict.UNFLAGGED, Verdict.INCOMPARABLE])
def test_the_status_comes_before_the_input(other_input: Verdict | None) -> None:
    terms = replace(TERMS, other_input=other_input)
    other = OK | {"fingerprint": 2.0}
    inaccurate = judged(OK, other | {"status": "inaccurate"}, terms, never)
    assert inaccurate.verdict is Verdict.BROKEN  # of another input no time compares
    assert judged(OK | {"status": "inaccurate"}, other, terms, never).verdict is Verdict.FIXED


def test_the_status_comes_before_errors_and_times() -> None:
    base = OK | {"status": "inaccurate"}
    larger = OK | {"root_error": 1.0}
    assert judged(base, larger, times=never).verdict is Verdict.FIXED
    worse = judged(base, larger | {"status": "diverged"})
    assert (worse.verdict, worse.breached) == (Verdict.WORSE, ("status",))
    assert worse.also == (Verdict.SLOWER,)  # both is told
    crashed = OK | {"status": "crashed"}
    assert judged(crashed, crashed, times=never).verdict is Verdict.UNFLAGGED


def test_the_input_comes_before_errors_and_times() -> None:
    other = OK | {"fingerprint": 2.0, "root_error": 1.0}
    assert judged(OK, other, TERMS, never).verdict is Verdict.UNFLAGGED
    incomparable = replace(TERMS, other_input=Verdict.INCOMPARABLE)
    assert judged(OK, other, incomparable, never).verdict is Verdict.INCOMPARABLE
    assert judged(OK, other, TERMS, never).compared == ("status",)
    # `compare --across problem` compares the numbers all the same
    assert judged(OK, other, replace(TERMS, other_input=None)).verdict is Verdict.WORSE


@pytest.mark.parametrize("larger", [{"root_error": 1e-5}, {"products": 4.0}])
def test_errors_and_counts_come_before_times_which_are_told_all_the_same(
    larger: dict[str, float],
) -> None:
    judgement = judged(OK, OK | larger)
    assert judgement.verdict is Verdict.WORSE
    assert judgement.reason.startswith(next(iter(larger)))
    assert judgement.advice == ""
    assert (judgement.ratio, judgement.low, judgement.pairs) == (2.0, 1.9, (2.0,))
    assert judgement.also == (Verdict.SLOWER,)
    assert judgement.breached == tuple(larger)


def test_times_decide_where_nothing_else_does() -> None:
    judgement = judged(OK, dict(OK))
    assert (judgement.verdict, judgement.reason) == (Verdict.SLOWER, "slower")
    assert judgement.compared == ("status", "root_error", "products")
    assert judgement.breached == ()


def test_without_times_a_row_is_unflagged_and_only_a_limit_makes_it_slower() -> None:
    slow = OK | {"seconds_q1": 2.0, "seconds_median": 2.0}
    plain = judged(OK, slow, times=None)
    assert (plain.verdict, plain.reason, plain.ratio) == (Verdict.UNFLAGGED, "", None)

    limited = replace(TERMS, rules=LIMIT)
    judgement = judged(OK, slow, limited, None)
    assert (judgement.verdict, judgement.ratio) == (Verdict.SLOWER, 2.0)
    # an error beside it is what the row is known for
    both = judged(OK, slow | {"root_error": 1.0}, limited, None)
    assert (both.verdict, both.breached) == (Verdict.WORSE, ("root_error", "seconds_q1"))


# The terms.


def test_another_method_does_other_work_with_other_rounding() -> None:
    svd = {"forward": "svd", "method": "torch/svd"}
    other = OK | svd | {"products": 9.0, "root_error": 1e-6}
    assert judged(OK, other).verdict is Verdict.SLOWER
    assert "products" not in judged(OK, other).compared
    assert judged(OK, OK | {"products": 9.0}, replace(TERMS, counts=False)).breached == ()
    # of a stable method: a condition is known, and the error is below 4 u κ^p
    base = OK | {"condition": 1e4, "root_error": 1e-9}
    rounded = base | {"root_error": 1e-5}
    assert judged(base, rounded).verdict is Verdict.WORSE
    assert judged(base, rounded | svd).verdict is Verdict.SLOWER
    assert judged(base, rounded, replace(TERMS, same_machine=False)).verdict is Verdict.SLOWER


def test_a_doubt_voids_what_times_say_and_nothing_else() -> None:
    doubted = replace(TERMS, doubt="it is noisy", beyond=log(1.95))
    judgement = judged(OK, OK, doubted)
    assert judgement.verdict is Verdict.UNCLEAR
    assert judgement.reason == "slower, but it is noisy"
    assert judged(OK, OK, replace(doubted, beyond=log(1.85))).verdict is Verdict.SLOWER
    assert judged(OK, OK | {"root_error": 1.0}, doubted).verdict is Verdict.WORSE

    def same(pair: RowPair) -> Judgement:
        return replace(slower(pair), verdict=Verdict.SAME, reason="the same")

    weakened = judged(OK, OK, doubted, same)
    assert (weakened.verdict, weakened.reason) == (Verdict.UNFLAGGED, "the same, but it is noisy")


def test_json_has_the_grounds_of_a_judgement_and_not_its_book_keeping() -> None:
    data = judgement_data(judged(OK, OK))
    assert list(data)[-11:] == [
        "verdict",
        "base_seconds",
        "new_seconds",
        "reason",
        "advice",
        "ratio",
        "low",
        "high",
        "detectable",
        "pairs",
        "also",
    ]


# One ladder: the three commands on the same rows.

FACTS = {"environments": {"e" * 12: {"cpu": "here", "versions": {"torch": "2.13.0"}}}, "runs": {}}
ARM = {"versions": {"torch": "2.13.0"}, "blas": "mkl", "python": "3"}


def by_compare(base: dict[str, Any] | None, new: dict[str, Any] | None) -> Judged:
    return compare(stored(base), stored(new), ("problem",))


def by_check(base: dict[str, Any] | None, new: dict[str, Any] | None) -> Judged:
    return check(stored(base), stored(new), (), ("problem",))


def stored(judged_row: dict[str, Any] | None) -> StoredRun:
    """A run with the row, and with one that is alike on both sides: something must be common."""
    rows = [judged_row] if judged_row is not None else []
    return StoredRun(frame(*rows, row(1.0, root=1e-6, size=99)), FACTS)


def by_ab(base: dict[str, Any] | None, new: dict[str, Any] | None, ended: str = "") -> Judged:
    arms = {name: each for name, each in ((BASE, base), (NEW, new)) if each is not None}
    cells = dict.fromkeys(arms, Cell(**CELL))
    taken = {}
    for name, each in arms.items():
        times = (1.0,) * 5 if each["seconds_median"] else ()
        taken[name] = ArmSamples(each, times, times, calls=1)
    notes = Notes(Contest("0", cells), screen=[taken] * 3)
    return conclude({"0": notes}, {BASE: ARM, NEW: ARM}, ended)


COMMANDS = (by_compare, by_check, by_ab)
PLAIN = {k: v for k, v in OK.items() if k != "method"}
DIED = row(status="crashed", reason="it died")
ABSENT = row(status="not_installed", reason="no such package")
INACCURATE = PLAIN | {"status": "inaccurate", "reason": "too far off"}
DIVERGED = PLAIN | {"status": "diverged", "root_error": 50.0}


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("base", "new", "verdict"),
    [
        (PLAIN, None, Verdict.GONE),
        (None, PLAIN, Verdict.ADDED),
        (None, DIED, Verdict.BROKEN),
        (None, ABSENT, Verdict.ADDED),
        (PLAIN, DIED, Verdict.BROKEN),
        (PLAIN, INACCURATE, Verdict.BROKEN),
        (PLAIN, INACCURATE | {"fingerprint": 2.0}, Verdict.BROKEN),
        (DIED, PLAIN, Verdict.FIXED),
        (ABSENT, PLAIN, Verdict.ADDED),
        (ABSENT, DIED, Verdict.BROKEN),
        (DIED, DIED, Verdict.UNFLAGGED),
        (INACCURATE, DIVERGED, Verdict.WORSE),
        (DIVERGED, INACCURATE, Verdict.UNFLAGGED),
        (PLAIN, PLAIN | {"root_error": 1e-5}, Verdict.WORSE),
        (PLAIN, PLAIN | {"root_error": None}, Verdict.WORSE),
        (PLAIN, PLAIN | {"products": 4.0}, Verdict.WORSE),
        (PLAIN, PLAIN | {"products": 4.0, "root_error": 1e-5}, Verdict.WORSE),
        (INACCURATE, INACCURATE | {"root_error": 1e-5}, Verdict.WORSE),
    ],
)
def test_three_commands_judge_status_errors_and_counts_alike(
    base: dict[str, Any] | None, new: dict[str, Any] | None, verdict: Verdict
) -> None:
    judgements = [
        next(each for each in command(base, new).judgements if each.pair.row["size"] != 99)
        for command in COMMANDS
    ]
    assert [each.verdict for each in judgements] == [verdict] * 3
    assert len({each.reason for each in judgements}) == 1
    assert len({each.compared for each in judgements}) == 1
    assert len({each.breached for each in judgements}) == 1


def test_a_row_that_is_ok_in_both_arms_and_gave_no_time_is_no_pass() -> None:
    """Its process died when it was asked for samples, and the row was taken before."""
    found = by_ab(PLAIN, PLAIN | {"seconds_median": None})
    (judgement,) = found.judgements
    assert (judgement.verdict, judgement.ratio) == (Verdict.BROKEN, None)
    assert judgement.reason == "a pair of processes has no time"
    assert found.outcome is Outcome.BROKEN


def test_three_commands_have_their_own_terms_for_another_input() -> None:
    other = PLAIN | {"fingerprint": 2.0, "root_error": 1e-5}
    verdicts = [command(PLAIN, other).judgements[0].verdict for command in COMMANDS]
    assert verdicts == [Verdict.WORSE, Verdict.UNFLAGGED, Verdict.INCOMPARABLE]


def test_only_compare_passes_whatever_it_finds() -> None:
    larger = PLAIN | {"root_error": 1e-5}
    outcomes = [command(PLAIN, larger).outcome for command in COMMANDS]
    assert outcomes == [Outcome.PASS, Outcome.REGRESSION, Outcome.REGRESSION]


# What all rows come to.


def test_a_comparison_that_ended_early_is_no_pass() -> None:
    assert by_ab(PLAIN, PLAIN, "it fell").outcome is Outcome.BROKEN
    assert by_ab(PLAIN, PLAIN, INTERRUPTED).outcome is Outcome.INTERRUPTED
    assert outcome({"worse": 1}, 1, doubtful=True, incomplete=True) is Outcome.REGRESSION
    assert outcome({}, 0, doubtful=True, incomplete=True) is Outcome.NOTHING_MEASURED
    assert outcome({"broken": 1}, 1, incomplete=True, interrupted=True) is Outcome.INTERRUPTED


@pytest.mark.parametrize("each", Outcome)
def test_only_an_unclear_outcome_can_be_accepted(each: Outcome) -> None:
    accepted = each.code(unclear_passes=True)
    assert accepted == (0 if each is Outcome.UNCLEAR else each.exit_code)
    assert each.code(unclear_passes=False) == each.exit_code
