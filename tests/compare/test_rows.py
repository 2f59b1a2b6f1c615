"""What has no noise: rules that people write, and the gates that stand whatever they write."""

import re
from collections import Counter

import pytest
from helpers.tables import row

from mssbench.compare import rows
from mssbench.compare.judge import Terms, judge
from mssbench.compare.judgement import RowPair
from mssbench.compare.verdict import Outcome, Verdict, last_line, outcome
from mssbench.errors import GateError
from mssbench.records.measurement import ABSENT, MEASURED, Status
from mssbench.suite import thresholds

BASE = row(
    1e-3,
    root=1e-6,
    residual=1e-6,
    products=11.0,
    operators=30,
    nonfinite=0,
    condition=1e4,
    saved_bytes=1024,
)


def broken(new, base=BASE, same_machine=True, fail_on=(), method="torch/eigh"):
    written = [thresholds.parse(text) for text in fail_on]
    found = rows.breaches(base, new, method, written, same_machine=same_machine)
    return [b.column for b in found]


def test_the_same_row_breaches_nothing():
    assert broken(dict(BASE)) == []
    assert broken(dict(BASE), same_machine=False) == []


@pytest.mark.parametrize("column", rows.COUNTS)
def test_one_more_of_anything_counted_is_a_breach_and_one_less_is_not(column):
    base = BASE | {column: 12}
    assert broken(base | {column: 13}, base) == [column]
    assert broken(base | {column: 11}, base) == []
    assert broken(base | {column: None}, base) == [column]  # not counted any more
    elsewhere = broken(base | {column: None}, base, same_machine=False)
    assert elsewhere == (
        [] if column == "launches" else [column]
    )  # which no profiler may see there


@pytest.mark.parametrize("column", rows.ERRORS)
def test_an_error_may_double_and_no_more(column):
    base = BASE | {column: 1e-6}
    assert broken(base | {column: 1.9e-6}, base) == []
    assert broken(base | {column: 3e-6}, base) == [column]
    assert broken(base | {column: None}, base) == [column]
    assert broken(base | {column: float("nan")}, base) == [column]
    nothing = BASE | {column: 0.0}
    assert broken(nothing | {column: 5e-8}, nothing) == []  # one rounding of float32
    assert broken(nothing | {column: 1e-7}, nothing) == [column]


def test_on_another_machine_an_error_may_be_what_a_stable_method_has():
    """4 u κ^p: p = 1/2 for the root of A, 1 for an inverse root and for a gradient."""
    u = 2.0**-24
    for function, column, power in (
        ("sqrt", "root_error", 0.5),
        ("isqrt", "root_error", 1.0),
        ("sqrt", "gradient_error", 1.0),
    ):
        base = BASE | {"function": function, "root_error": 1e-9, "gradient_error": 1e-9}
        most = 4 * u * 1e4**power
        assert broken(base | {column: 0.99 * most}, base, same_machine=False) == []
        assert broken(base | {column: 1.01 * most}, base, same_machine=False) == [column]
        assert broken(base | {column: 0.99 * most}, base) == [column]  # here rounding is the same
    unknown = BASE | {"condition": None, "root_error": 1e-9, "schema": 3}
    assert broken(unknown | {"root_error": 5 * u}, unknown, same_machine=False) == ["root_error"]
    singular = BASE | {"condition": 1e30, "root_error": 1e-9}
    assert broken(singular | {"root_error": 0.5}, singular, same_machine=False) == ["root_error"]


def test_how_far_astray_a_method_is_is_not_compared():
    base = BASE | {"status": "diverged", "root_error": 1e20, "nonfinite": 1}
    assert broken(base | {"root_error": 1e25, "nonfinite": 2}, base) == []
    assert broken(base | {"operators": 31}, base) == ["operators"]


def test_a_rule_takes_the_place_of_a_limit_for_the_methods_it_names():
    worse = BASE | {"root_error": 2.9e-6}
    assert broken(worse) == ["root_error"]
    assert broken(worse, fail_on=["root_error:3x"]) == []
    assert broken(worse, fail_on=["torch/eigh*:root_error:3x"]) == []
    assert broken(worse, fail_on=["torch/svd*:root_error:3x"]) == ["root_error"]
    assert broken(worse, fail_on=["root_error:3x", "root_error:1.1x"]) == ["root_error"]  # the last
    assert broken(BASE | {"root_error": 1.2e-6}, fail_on=["root_error:1.1x"]) == ["root_error"]


def test_time_fails_only_where_a_rule_asks_for_it():
    slow = BASE | {"seconds_q1": 1.6e-3}
    assert broken(slow) == []
    assert broken(slow, fail_on=["seconds:50%"]) == ["seconds_q1"]
    assert broken(slow, fail_on=["seconds:70%"]) == []
    assert broken(slow | {"seconds_q1": None}, fail_on=["seconds:70%"]) == ["seconds_q1"]


def test_a_breach_says_what_was_what_is_and_what_may_be():
    (found,) = rows.breaches(BASE, BASE | {"root_error": 9e-6}, "m", (), same_machine=True)
    assert found.sentence == "root_error 1.00e-06 -> 9.00e-06, allowed 2.00e-06"
    rule = thresholds.parse("seconds:50%")
    (found,) = rows.breaches(BASE, BASE | {"seconds_q1": 2e-3}, "m", [rule], same_machine=True)
    assert found.sentence == "seconds_q1 1.00 ms -> 2.00 ms, allowed 1.50 ms by seconds:50%"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seconds", "'' is no limit. Write seconds:50% or seconds:3x."),
        ("second:50%", "Unknown column 'second'. Did you mean 'seconds'?"),
        ("seconds:50", "'50' is no limit"),
        ("seconds:-5%", "'-5%' is no limit"),
        ("seconds:0.9x", "with a limit below 1x a row that has not changed would fail"),
        ("seconds:1e3%", "no limit"),
        ("checked:3x", "Unknown column 'checked'"),
        ("", "Unknown"),
    ],
)
def test_a_rule_that_cannot_be_read_says_why(text, why):
    with pytest.raises(GateError, match=re.escape(why)):
        thresholds.parse(text)


def test_rules_of_a_suite_are_read_and_refused():
    found = thresholds.of_suite({"check": {"fail_on": ["seconds:50%", "torch/*:products:0%"]}})
    assert [(r.column, r.factor, r.methods) for r in found] == [
        ("seconds_q1", 1.5, "*"),
        ("products", 1.0, "torch/*"),
    ]
    assert thresholds.of_suite({}) == []
    for wrong in (
        {"check": 3},
        {"check": {"fail": []}},
        {"check": {"fail_on": [3]}},
        {"check": {"fail_on": ["x"]}},
    ):
        with pytest.raises(GateError, match=r"^\[check\]"):
            thresholds.of_suite(wrong)


def test_of_a_singular_matrix_rounding_may_take_half_of_the_digits():
    """On another machine; a table from before conditions were kept says nothing of its own."""
    base = BASE | {"condition": None, "root_error": 1e-6, "schema": 4}
    assert broken(base | {"root_error": 5e-4}, base, same_machine=False) == []
    assert broken(base | {"root_error": 5e-3}, base, same_machine=False) == ["root_error"]
    old = base | {"schema": 3}
    assert broken(old | {"root_error": 5e-4}, old, same_machine=False) == ["root_error"]


def by_status(was, now):
    found = rows.by_status(BASE | {"status": was}, BASE | {"status": now})
    return found and found[0]


def test_statuses_decide_before_numbers_do():
    for status in Status:
        if status is not Status.OK:
            assert by_status("ok", status) is Verdict.BROKEN, status
            fixed = Verdict.ADDED if status in ABSENT else Verdict.FIXED
            assert by_status(status, "ok") is fixed, status
        same = by_status(status, status)
        assert same is (None if status in MEASURED else Verdict.UNFLAGGED)
    assert by_status("inaccurate", "crashed") is Verdict.BROKEN
    assert by_status("inaccurate", "diverged") is Verdict.WORSE
    assert by_status("diverged", "inaccurate") is Verdict.UNFLAGGED
    assert by_status("nonfinite", "implausible") is Verdict.UNFLAGGED
    assert by_status("not_installed", "inaccurate") is Verdict.ADDED
    assert by_status("not_installed", "crashed") is Verdict.BROKEN
    assert by_status("not_installed", "unsupported") is Verdict.UNFLAGGED
    assert by_status("not_installed", "interrupted") is Verdict.UNFLAGGED
    assert by_status("crashed", "timeout") is Verdict.UNFLAGGED


@pytest.mark.parametrize("status", Status)
def test_a_row_that_is_new_is_added_unless_it_was_tried_and_failed(status):
    new = BASE | {"status": status, "method": "torch/eigh"}
    verdict = judge(RowPair(None, new), Terms(same_machine=True, counts=True), None).verdict
    tried = {"crashed", "timeout", "oom"}
    assert (verdict is Verdict.BROKEN) is (status in tried), status


@pytest.mark.parametrize(
    ("verdicts", "measured", "doubtful", "code"),
    [
        ({"unflagged": 9}, 9, False, 0),
        ({"same": 9, "faster": 1, "unclear": 1}, 9, False, 0),
        ({"slower": 1}, 9, False, 1),
        ({"worse": 1}, 9, True, 1),
        ({"unflagged": 9}, 9, True, 3),
        ({"broken": 1, "slower": 5}, 9, False, 4),
        ({"gone": 1}, 9, False, 4),
        ({"incomparable": 1, "broken": 1}, 0, False, 5),
        ({"unflagged": 9}, 0, False, 6),
        ({"gone": 9}, 0, False, 6),
        ({}, 0, False, 6),
    ],
)
def test_the_exit_code_is_that_of_the_reason_that_makes_others_doubtful(
    verdicts, measured, doubtful, code
):
    assert outcome(verdicts, measured, doubtful=doubtful).exit_code == code


def test_every_outcome_has_a_code_of_its_own_and_none_is_a_count():
    codes = [o.exit_code for o in Outcome]
    assert len({*codes}) == len(codes)
    assert {*codes} == {0, 1, 3, 4, 5, 6, 130}
    many = Counter({"slower": 256})
    assert outcome(many, 256).exit_code == 1
    assert last_line(Outcome.REGRESSION, many, 256) == (
        "mssbench: verdict=regression slower=256 worse=0 broken=0 gone=0 unclear=0 rows=256"
    )


def test_one_step_down_among_measured_statuses_is_worse_and_no_step_up_is():
    from_bad_to_worse = ["inaccurate", "implausible", "diverged", "nonfinite"]
    assert {*from_bad_to_worse, "ok"} == {str(s) for s in MEASURED}
    for i, was in enumerate(from_bad_to_worse):
        for j, now in enumerate(from_bad_to_worse):
            expected = None if i == j else Verdict.WORSE if j > i else Verdict.UNFLAGGED
            assert by_status(was, now) is expected, (was, now)


def test_on_one_machine_an_error_of_one_rounding_is_none_and_a_larger_one_is():
    for precision, u in (("float64", 2.0**-53), ("float32", 2.0**-24), ("tf32", 2.0**-11)):
        base = BASE | {"precision": precision, "root_error": 0.0}
        assert broken(base | {"root_error": 0.99 * u}, base) == [], precision
        assert broken(base | {"root_error": 1.01 * u}, base) == ["root_error"], precision


@pytest.mark.parametrize("of_new", [None, 1.0, 1e4, 1e30])
def test_attack_a_run_that_tells_another_condition_does_not_move_its_own_limit(of_new):
    """Both rows are of one input, and base says what rounding may do to it."""
    base = BASE | {"root_error": 1e-9, "condition": 1e4}
    most = 4 * 2.0**-24 * 1e4**0.5
    new = base | {"condition": of_new}
    assert broken(new | {"root_error": 0.99 * most}, base, same_machine=False) == []
    assert broken(new | {"root_error": 1.01 * most}, base, same_machine=False) == ["root_error"]


def test_new_says_the_condition_where_the_table_of_base_is_older_than_the_column():
    base = BASE | {"root_error": 1e-9, "condition": None, "schema": 3}
    most = 4 * 2.0**-24 * 1e4**0.5
    new = base | {"condition": 1e4, "schema": 4}
    assert broken(new | {"root_error": 0.99 * most}, base, same_machine=False) == []
    assert broken(new | {"root_error": 1.01 * most}, base, same_machine=False) == ["root_error"]


def test_rounding_takes_all_digits_at_most():
    """Beyond κ = 1/u, 4 u √κ would grow on; it ends at 4 √u."""
    base = BASE | {"root_error": 1e-9, "condition": 1e30}
    most = 4 * 2.0**-12
    assert broken(base | {"root_error": 0.99 * most}, base, same_machine=False) == []
    assert broken(base | {"root_error": 1.01 * most}, base, same_machine=False) == ["root_error"]


def test_a_count_is_exact_also_where_it_is_no_whole_number():
    base = BASE | {"products": 11.0}
    assert broken(base | {"products": 11.0 + 1 / 3}, base) == ["products"]
    assert broken(base | {"products": 11.0}, base) == []


def test_a_limit_in_percent_or_as_a_factor_is_met_to_the_last_digit():
    for text in ("products:50%", "products:1.5x", "products: 50 %"):
        assert broken(BASE | {"products": 16.5}, fail_on=[text]) == []
        assert broken(BASE | {"products": 16.51}, fail_on=[text]) == ["products"]
    assert thresholds.parse("products:1x").factor == thresholds.parse("products:0%").factor == 1.0
    with pytest.raises(GateError, match="below 1x"):
        thresholds.parse("products:0.999x")
