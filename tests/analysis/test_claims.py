"""Claims: what holds, what does not, what nobody measured; and every way they are malformed."""

import json
import re
import tomllib
from collections import Counter
from math import inf

import pytest
from helpers.tables import called, frame, row, write

from mssbench.analysis import claims
from mssbench.analysis.claims import ClaimVerdict
from mssbench.measure.verification import CHECKED
from mssbench.suite import claims as statements
from mssbench.suite import shipped, suite
from mssbench.suite.claims import POINT

HOLDS, FAILS, UNMEASURED = ClaimVerdict
SVD, NS = {"forward": "svd"}, {"forward": "newton_schulz", "iterations": 5}
FASTER = {
    "claim": "It is faster.",
    "source": "someone, 2018",
    "value": "seconds_median",
    "left": "forward == 'newton_schulz'",
    "relation": "<",
    "right": "forward == 'svd'",
}
FINER = FASTER | {"value": "root_error"}
SERIES = {
    "claim": "It errs so much.",
    "source": "a poster, 2022",
    "value": "root_mae",
    "where": "forward == 'pade'",
    "published": {"size": [16, 32], "figure": [0.041, 0.053]},
    "within": 0.03,
}


def judged(table, *rows):
    (found,) = claims.judge_claims([table], frame(*rows))
    return found


def verdict(table, *rows):
    return judged(table, *rows).verdict


def sides(left, right, **given):
    return row(left, **NS | given), row(right, **SVD | given)


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("relation", "factor", "left", "right", "expected"),
    [
        ("<", 1, 1.0, 2.0, HOLDS),
        ("<", 1, 2.0, 1.0, FAILS),
        ("<", 1, 2.0, 2.0, FAILS),
        ("<=", 1, 2.0, 2.0, HOLDS),
        ("<=", 1, 2.1, 2.0, FAILS),
        ("<=", 1, 1.9, 2.0, HOLDS),
        (">", 1, 2.0, 1.0, HOLDS),
        (">", 1, 1.0, 2.0, FAILS),
        (">", 1, 2.0, 2.0, FAILS),
        (">=", 1, 2.0, 2.0, HOLDS),
        (">=", 1, 1.9, 2.0, FAILS),
        (">=", 1, 2.1, 2.0, HOLDS),
        ("<", 3, 1.0, 3.1, HOLDS),
        ("<", 3, 1.0, 3.0, FAILS),
        ("<=", 4, 1.0, 4.0, HOLDS),
        ("<", 3, 1.0, 2.9, FAILS),
        ("<", 0.5, 1.9, 1.0, HOLDS),
        ("<", 0.5, 2.1, 1.0, FAILS),
        (">", 3, 3.1, 1.0, HOLDS),
        (">", 3, 3.0, 1.0, FAILS),
        (">=", 4, 4.0, 1.0, HOLDS),
        (">", 3, 2.9, 1.0, FAILS),
    ],
)
def test_a_relation_with_its_factor_and_its_ties(relation, factor, left, right, expected):
    table = FASTER | {"relation": relation, "factor": factor}
    found = judged(table, *sides(left, right))
    assert found.verdict is expected
    (point,) = found.points
    assert point.holds == (expected is HOLDS)
    assert point.ratio == left / right
    constant = table | {"right": right}
    assert verdict(constant, row(left, **NS), row(99.0, **SVD)) is expected


@pytest.mark.parametrize(
    ("left", "right", "spread", "factor", "expected"),
    [
        (1.0, 1.2, 0.05, 1.0, True),
        (1.0, 1.2, 0.10, 1.0, False),  # 0.9 to 1.1 and 1.08 to 1.32
        (1.0, 1.2, 0.0, 1.1, True),
        (1.0, 1.2, 0.05, 1.1, False),  # 1.1 times 1.05 is more than 1.2 times 0.95
    ],
)
def test_times_that_are_not_told_apart_are_a_tie(left, right, spread, factor, expected):
    rows = sides(left, right, spread=spread)
    found = judged(FASTER | {"relation": "<", "factor": factor}, *rows)
    assert (found.verdict is HOLDS) == expected
    assert found.points[0].tied != expected
    # a tie is not slower, and the same holds for who is the slower
    assert verdict(FASTER | {"relation": "<=", "factor": factor}, *rows) is HOLDS
    mirrored = FASTER | {"relation": ">", "factor": factor}
    assert (verdict(mirrored, *sides(right, left, spread=spread)) is HOLDS) == expected


@pytest.mark.parametrize(
    ("left", "right", "spread", "factor", "expected"),
    [
        (1.2, 1.0, 0.05, 1.0, False),
        (1.2, 1.0, 0.10, 1.0, True),  # 1.08 to 1.32 and 0.9 to 1.1
        (1.2, 1.0, 0.0, 1 / 1.25, True),
        (1.3, 1.0, 0.0, 1 / 1.25, False),
        (1.3, 1.0, 0.05, 1 / 1.25, True),  # 1.3 times 0.95 is less than 1.25 times 1.05
        (1.5, 1.0, 0.05, 1 / 1.25, False),
    ],
)
def test_a_time_that_is_not_told_apart_from_its_limit_does_not_exceed_it(
    left, right, spread, factor, expected
):
    found = judged(
        FASTER | {"relation": "<=", "factor": factor}, *sides(left, right, spread=spread)
    )
    assert (found.verdict is HOLDS) == expected
    assert found.points[0].tied == (expected and left * factor > right)
    mirrored = FASTER | {"relation": ">=", "factor": factor}
    assert (verdict(mirrored, *sides(right, left, spread=spread)) is HOLDS) == expected


def test_no_tie_saves_a_method_that_failed():
    for relation in ("<=", "<"):
        failed = row(1.0, **NS, status="timeout"), row(1.0, **SVD, spread=0.5)
        found = judged(FASTER | {"relation": relation}, *failed)
        assert (found.verdict, found.points[0].tied) == (FAILS, False)


def test_a_diverged_row_counts_where_the_claim_accepts_it():
    rows = row(1.0, root=2.0, status="diverged", **NS), row(2.0, root=1e-6, **SVD)
    assert verdict(FASTER, *rows) is FAILS
    found = judged(FASTER | {"accept": ["diverged"]}, *rows)
    assert found.verdict is HOLDS
    assert found.points[0].left == ("torch/newton_schulz k=5", 1.0, 2.0, "")
    slower = FASTER | {"accept": "diverged", "relation": ">"}
    assert verdict(slower, *rows) is FAILS
    # on the side that a claim would beat, and as an error, which is then a number
    assert verdict(slower | {"left": "forward == 'svd'", "right": FASTER["left"]}, *rows) is HOLDS
    above = FINER | {"accept": ["diverged"], "relation": ">", "right": 1.9}
    assert verdict(above, *rows) is HOLDS
    assert verdict(above | {"right": 2.1}, *rows) is FAILS
    assert verdict(above | {"right": 2.1, "accept": []}, *rows) is HOLDS  # infinite
    for status in ("nonfinite", "timeout", "crashed", "oom"):
        broken = row(1.0, root=2.0, status=status, **NS)
        assert verdict(FASTER | {"accept": ["diverged"]}, broken, rows[1]) is FAILS


def test_a_claim_about_a_gpu_says_so_where_there_is_none():
    table = FASTER | {"left": FASTER["left"] + " and device == 'cuda'"}
    found = judged(table, *sides(1.0, 2.0))
    assert (found.verdict, found.why) == (
        UNMEASURED,
        "left is about cuda, and this run is of cpu",
    )
    elsewhere = judged(table, *sides(1.0, 2.0, device="cuda"))
    assert elsewhere.verdict is HOLDS
    other = FASTER | {"left": "forward == 'pade' and device == 'cuda'"}
    assert judged(other, *sides(1.0, 2.0)).why == "left has no figure (no row)"
    unless = FASTER | {"left": "forward == 'pade' and device != 'cuda'"}
    assert judged(unless, *sides(1.0, 2.0)).why == "left has no figure (no row)"


def test_every_point_decides_and_the_worst_stands_first():
    rows = [*sides(1.0, 2.0, size=16), *sides(3.0, 2.0, size=32), *sides(2.0, 2.0, size=64)]
    found = judged(FASTER, *rows)
    assert found.verdict is FAILS
    assert [(p.at["size"], p.ratio, p.holds) for p in found.points] == [
        (32, 1.5, False),
        (64, 1.0, False),
        (16, 0.5, True),
    ]
    assert found.points[0].left == ("torch/newton_schulz k=5", 3.0, None, "")
    assert found.points[0].right == ("torch/svd", 2.0, None, "")
    assert set(found.points[0].at) == set(POINT)
    assert verdict(FASTER, *rows[:2]) is HOLDS
    larger = judged(FASTER | {"relation": ">"}, *rows)
    assert [p.at["size"] for p in larger.points] == [16, 64, 32]


def test_the_median_decides_where_the_claim_says_so():
    rows = [*sides(1.0, 2.0, size=16), *sides(9.0, 2.0, size=32), *sides(1.9, 2.0, size=64)]
    median = FASTER | {"over": "median"}
    assert verdict(FASTER, *rows) is FAILS
    found = judged(median, *rows)
    assert (found.verdict, found.median) == (HOLDS, 0.95)
    assert [p.holds for p in found.points] == [False, True, True]
    assert verdict(median, *rows[:4]) is FAILS
    assert verdict(median | {"factor": 1.1}, *rows) is FAILS


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", POINT)
def test_only_the_same_point_compares(name):
    other = {
        "function": "isqrt",
        "problem": "identity",
        "size": 32,
        "batch": 2,
        "device": "cuda",
        "precision": "float64",
        "phase": "step",
        "clock": "gpu",
        "cache": "cold",
    }[name]
    found = judged(FASTER, row(1.0, **NS), row(2.0, **SVD | {name: other}))
    assert (found.verdict, found.points) == (UNMEASURED, ())
    assert found.why == "no point has both sides"
    apart = judged(FASTER | {"apart": [name]}, row(1.0, **NS), row(2.0, **SVD | {name: other}))
    assert apart.verdict is HOLDS
    (point,) = apart.points
    assert name not in point.at
    assert point.left.method != "torch/newton_schulz k=5"  # it says which is which
    assert point.right.method.startswith("torch/svd ")
    alone = judged(FASTER, *sides(1.0, 2.0), row(9.0, **NS | {name: other}))
    assert (alone.verdict, len(alone.points)) == (HOLDS, 1)


def test_every_row_of_a_side_meets_every_row_of_the_other():
    rows = [
        row(1.0, **NS),
        row(2.0, **NS | {"iterations": 7}),
        row(3.0, **SVD),
        row(1.5, **SVD, options="driver=gesvd"),
    ]
    found = judged(FASTER, *rows)
    assert found.verdict is FAILS
    assert [p.ratio for p in found.points] == [2 / 1.5, 1 / 1.5, 2 / 3, 1 / 3]


def test_seeds_repeat_a_point_and_the_mean_counts():
    rows = [*sides(1.0, 2.0, seed=0), *sides(4.0, 2.0, seed=1), row(8.0, **SVD | {"seed": 2})]
    found = judged(FASTER, *rows)
    assert found.verdict is HOLDS
    (point,) = found.points
    assert (point.left.figure, point.right.figure) == (2.5, 4.0)


NOTHING = ["unsupported", "not_installed", "unavailable", "interrupted"]
FAILURES = ["nonfinite", "diverged", "oom", "timeout", "crashed"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("status", NOTHING)
@pytest.mark.parametrize("relation", ["<", ">"])
def test_a_side_without_a_measured_row_is_not_measured(relation, status):
    table = FASTER | {"relation": relation}
    gone = row(None, **SVD, status=status)
    found = judged(table, row(1.0, **NS), gone)
    assert (found.verdict, found.why) == (UNMEASURED, f"right has no figure (1 {status})")
    found = judged(table, row(1.0, **SVD))
    assert (found.verdict, found.why) == (UNMEASURED, "left has no figure (no row)")
    whole = judged(table, *sides(1.0, 2.0), row(None, **SVD, size=99, status=status))
    assert (whole.verdict, len(whole.points)) == (HOLDS if relation == "<" else FAILS, 1)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("status", FAILURES)
def test_a_failed_row_cannot_win(status):
    for table in (FASTER, FINER):
        failed = row(1e-9, root=1e-9, status=status, **NS)
        found = judged(table, failed, row(1.0, root=1.0, **SVD))
        assert found.verdict is FAILS
        assert (found.points[0].left.figure, found.points[0].left.failed) == (inf, status)
        swapped = table | {"relation": ">=", "left": table["right"], "right": table["left"]}
        assert verdict(swapped, failed, row(1.0, root=1.0, **SVD)) is FAILS
        both = row(1.0, root=1.0, status=status, **SVD)
        assert verdict(table | {"relation": "<="}, failed, both) is not HOLDS


@pytest.mark.parametrize("status", FAILURES)
def test_nobody_is_faster_than_a_method_that_failed(status):
    failed = row(1.0, root=1.0, status=status, **SVD)
    assert verdict(FASTER, row(1e-3, root=1e-3, **NS), failed) is UNMEASURED


@pytest.mark.parametrize("status", FAILURES)
def test_an_error_is_smaller_than_that_of_no_root_but_needs_one_that_was_measured(status):
    failed = row(1.0, root=None, status=status, **SVD)
    expected = HOLDS if status in ("nonfinite", "diverged") else UNMEASURED
    assert verdict(FINER, row(1e-3, root=0.5, **NS), failed) is expected


def test_an_inaccurate_row_counts_with_its_error_beside_it():
    found = judged(FASTER, row(1.0, root=0.5, status="inaccurate", **NS), row(2.0, **SVD))
    assert found.verdict is HOLDS
    assert found.points[0].left.error == 0.5


def test_the_error_beside_a_time_is_that_of_its_phase():
    step = FASTER | {"left": FASTER["left"] + " and phase == 'step'"}
    found = judged(
        step,
        *(
            row(1.0, root=1e-5, gradient=1e-2, phase="step", backward="loewner", **m)
            for m in (NS, SVD)
        ),
    )
    assert found.points[0].left.error == 1e-2


def test_what_is_no_number_is_no_figure():
    for table in (FINER, FINER | {"relation": ">="}):
        for left, right in ((None, 1.0), (1.0, None), (float("nan"), 1.0)):
            rows = [row(1.0, root=left, **NS), row(1.0, root=right, **SVD)]
            assert verdict(table, *rows) is UNMEASURED
    seeds = [row(1.0, root=None, **NS), row(1.0, root=0.5, **NS, seed=1), row(1.0, root=0.6, **SVD)]
    assert verdict(FINER, *seeds) is HOLDS


def test_an_error_of_zero_ties_with_zero_and_beats_the_rest():
    def rows(left, right):
        return row(1.0, root=left, **NS), row(1.0, root=right, **SVD)

    assert verdict(FINER, *rows(0.0, 0.0)) is FAILS
    assert verdict(FINER | {"relation": "<="}, *rows(0.0, 0.0)) is HOLDS
    assert verdict(FINER, *rows(0.0, 1e-9)) is HOLDS
    assert verdict(FINER, *rows(1e-9, 0.0)) is FAILS
    assert verdict(FINER | {"relation": ">"}, *rows(1e-9, 0.0)) is HOLDS


EQUAL = FASTER | {"at_error": 1e-3}


def steps(*pairs):
    """Newton–Schulz at growing k: (seconds, error)."""
    return [
        row(t, root=e, **NS | {"iterations": 5 + k}, status="ok" if e < 0.1 else "inaccurate")
        for k, (t, e) in enumerate(pairs)
    ]


def test_at_equal_accuracy_each_side_has_its_fastest_accurate_row():
    exact = [row(3.0, root=1e-6, **SVD), row(9.0, root=1e-7, **SVD, options="driver=gesvd")]
    found = judged(EQUAL, *steps((1.0, 0.5), (2.0, 1e-3), (8.0, 1e-6)), *exact)
    assert found.verdict is HOLDS
    (point,) = found.points
    assert (point.left.method, point.left.figure, point.left.error) == (
        "torch/newton_schulz k=6",
        2.0,
        1e-3,
    )
    assert point.right.figure == 3.0
    assert verdict(EQUAL, *steps((1.0, 0.5), (4.0, 1e-3)), *exact) is FAILS
    assert verdict(EQUAL | {"at_error": 9e-4}, *steps((2.0, 1e-3), (8.0, 1e-6)), *exact) is FAILS


def test_a_side_that_never_is_accurate_cannot_win_and_cannot_be_beaten():
    exact = row(3.0, root=1e-6, **SVD)
    found = judged(EQUAL, *steps((1.0, 0.5), (2.0, 1e-2)), exact)
    assert found.verdict is FAILS
    (point,) = found.points
    assert (point.left.figure, point.left.failed) == (inf, "inaccurate")
    assert verdict(EQUAL, *steps((1.0, 1e-6)), row(3.0, root=1e-2, **SVD)) is UNMEASURED
    assert verdict(EQUAL | {"relation": ">"}, *steps((9.0, 1e-2)), exact) is UNMEASURED


def test_at_equal_accuracy_the_worst_seed_must_be_accurate():
    rows = [row(1.0, root=e, **NS, seed=i) for i, e in enumerate((1e-6, 1e-2))]
    assert verdict(EQUAL, *rows, row(3.0, root=1e-6, **SVD)) is FAILS


def test_at_equal_accuracy_a_gradient_that_does_not_exist_decides_nothing():
    both = [
        row(t, root=1e-6, gradient=None, phase="step", backward="loewner", **m)
        for t, m in ((1.0, NS), (2.0, SVD))
    ]
    assert verdict(EQUAL, *both) is UNMEASURED
    assert verdict(FASTER, *both) is HOLDS
    known = row(2.0, root=1e-6, gradient=1e-6, phase="step", backward="loewner", **SVD)
    assert verdict(EQUAL, both[0], known) is UNMEASURED
    broken = row(1.0, root=1e-6, phase="step", backward="loewner", status="nonfinite", **NS)
    assert verdict(EQUAL, broken, known) is FAILS


def pade(mae, **given):
    return row(1.0, **{"forward": "pade", "options": "degree=5", "root_mae": mae} | given)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.041, 0.053, HOLDS),
        (0.0422, 0.0515, HOLDS),
        (0.0398, 0.0545, HOLDS),
        (0.0423, 0.053, FAILS),
        (0.0397, 0.053, FAILS),
        (0.041, 0.0547, FAILS),
        (0.041, 0.0513, FAILS),
    ],
)
def test_a_published_series_holds_within_its_distance_to_both_sides(first, second, expected):
    found = judged(SERIES, pade(first, size=16), pade(second, size=32), pade(9.0, size=64))
    assert found.verdict is expected
    assert len(found.points) == 2
    worst = max((first, 0.041), (second, 0.053), key=lambda pair: abs(pair[0] / pair[1] - 1))
    assert (found.points[0].left.figure, found.points[0].right.figure) == worst
    assert [(p.at, p.figure, p.here) for p in found.published] == [
        ({"size": 16}, 0.041, first),
        ({"size": 32}, 0.053, second),
    ]


def test_a_published_series_is_met_by_the_mean_over_seeds():
    rows = [pade(m, size=16, seed=i) for i, m in enumerate((0.03, 0.052))]
    assert verdict(SERIES, *rows, pade(0.053, size=32)) is HOLDS


def test_a_series_that_is_not_all_there_does_not_hold():
    found = judged(SERIES, pade(0.041, size=16))
    assert (found.verdict, found.why) == (UNMEASURED, "1 of 2 figures have no row")
    assert verdict(SERIES, pade(0.05, size=16)) is FAILS
    found = judged(SERIES, pade(0.041, size=64))
    assert (found.verdict, found.why) == (UNMEASURED, "no published figure has a row")
    assert [p.here for p in found.published] == [None, None]
    found = judged(SERIES, row(1.0, **SVD))
    assert (found.verdict, found.why) == (UNMEASURED, "where has no figure (no row)")


@pytest.mark.parametrize("status", FAILURES)
def test_a_failed_row_is_far_from_any_published_figure(status):
    rows = pade(0.041, size=16, status=status), pade(0.053, size=32)
    assert verdict(SERIES, *rows) is FAILS


def test_one_published_figure_is_met_by_every_row():
    single = SERIES | {"published": {"figure": 0.05}}
    assert verdict(single, pade(0.0501, size=16), pade(0.0499, size=32)) is HOLDS
    assert verdict(single, pade(0.0501, size=16), pade(0.06, size=32)) is FAILS


def test_of_a_comparison_the_published_figure_is_the_ratio_and_decides_nothing():
    table = FASTER | {"published": {"size": [16, 32, 64], "figure": [0.1, 0.9, 0.5]}}
    found = judged(table, *sides(1.0, 2.0, size=16), *sides(1.0, 4.0, size=32))
    assert found.verdict is HOLDS
    assert [(p.at["size"], p.figure, p.here) for p in found.published] == [
        (16, 0.1, 0.5),
        (32, 0.9, 0.25),
        (64, 0.5, None),
    ]
    several = [row(t, **NS | {"iterations": k}) for k, t in ((3, 0.2), (5, 0.5), (7, 1.8))]
    found = judged(table, *several, row(2.0, **SVD))
    assert found.published[0].here == 0.25  # the median of 0.1, 0.25 and 0.9


# The command


SUITE = """\
name = "mine"
description = "Of claims."
[axes]
size = [16, 32]
batch = 64
[[method]]
forward = ["torch/eigh", "torch/newton_schulz", "torch/svd", "torch/pade"]
backward = ["none", "loewner"]
"""
HEAD = 'claim = "It is so."\nsource = "someone, 2018"\n'


def tables(*bodies):
    return SUITE + "".join(f"[[claim]]\n{body}\n" for body in bodies)


PAIR = f"""{HEAD}
value = "seconds_median"
left = "forward == 'newton_schulz' and backward == 'none'"
relation = "<"
right = "forward == 'svd' and phase == 'forward'"
"""
FIGURE = f"""{HEAD}
value = "root_mae"
where = "forward == 'pade'"
published = {{ size = [16, 32], figure = [0.041, 0.053] }}
within = 0.03
"""


@pytest.fixture
def run(tmp_path):
    """A run with one claim of every kind and verdict."""
    text = tables(
        PAIR.replace("is so.", "is faster.") + "published = { size = 16, figure = 0.1 }",
        PAIR.replace("is so.", "is faster at equal accuracy.") + "at_error = 1e-3\nover = 'median'",
        FIGURE.replace("is so.", "is as published."),
        PAIR.replace("is so.", "is faster than eigh.").replace("svd", "eigh"),
        PAIR.replace("is so.", "is small.")
        .replace("seconds_median", "root_error")
        .replace("\"forward == 'svd' and phase == 'forward'\"", "0.5"),
    )
    rows = [
        row(0.5, root=0.2, status="inaccurate", options="norm=trace", **NS),
        row(2.0, root=1e-6, **SVD),
        row(3.0, root=0.3, status="inaccurate", options="norm=trace", size=32, **NS),
        row(4.0, root=1e-6, size=32, **SVD),
        pade(0.0412, size=16),
        pade(0.06, size=32),
        row(None, status="not_installed", reason="no"),
    ]
    path = write(tmp_path / "run", *rows)
    (path / "suite.toml").write_text(text)
    return path


REPORT = """\
 holds               It is faster.
                     someone, 2018
                     seconds_median: left < right in 2 of 2 comparisons, 0.50x in the median
                     everywhere: sqrt · wishart(ratio=2) · batch 64 · float32 · cpu · forward ·
                     wall clock · hot cache
                       n = 32: 0.75x, torch/newton_schulz k=5 trace 3.00 s (error 3e-01)
                     against torch/svd 4.00 s (error 1e-06)
                       n = 16: 0.25x, torch/newton_schulz k=5 trace 500 ms (error 2e-01)
                     against torch/svd 2.00 s (error 1e-06)
                       n = 16: published 0.10x; here 0.25x, 2.50x as much

 does not hold here  It is faster at equal accuracy.
                     someone, 2018
                     seconds_median: left < right, - in the median; in 0 of 2 comparisons
                     everywhere: sqrt · wishart(ratio=2) · batch 64 · float32 · cpu · forward ·
                     wall clock · hot cache
                       n = 16: torch/newton_schulz k=5 trace inaccurate (error 2e-01) against
                     torch/svd 2.00 s (error 1e-06)
                       n = 32: torch/newton_schulz k=5 trace inaccurate (error 3e-01) against
                     torch/svd 4.00 s (error 1e-06)

 does not hold here  It is as published.
                     someone, 2018
                     root_mae: within 3 % of the published figure in 1 of 2 comparisons
                     everywhere: sqrt · wishart(ratio=2) · batch 64 · float32 · cpu · forward ·
                     wall clock · hot cache
                       n = 32: +13.2 %, torch/pade degree=5 0.0600 against the published 0.0530
                       n = 16: +0.5 %, torch/pade degree=5 0.0412 against the published 0.0410

 not measured        It is faster than eigh.
                     someone, 2018
                     right has no figure (1 not_installed).

 holds               It is small.
                     someone, 2018
                     root_error: left < 0.500 in 2 of 2 comparisons, 0.50x in the median
                     everywhere: sqrt · wishart(ratio=2) · batch 64 · float32 · cpu · forward ·
                     wall clock · hot cache
                       n = 32: torch/newton_schulz k=5 trace 0.300
                       n = 16: torch/newton_schulz k=5 trace 0.200

measured on an unknown machine (eeeeeeeeeeee)
"""


@pytest.mark.parametrize("name", ["", "table.csv"])
def test_claims_are_printed_in_full(run, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "96")
    assert called(capsys, "claims", run / name) == (0, REPORT, "")


def test_of_many_points_the_worst_are_printed_and_the_rest_counted(tmp_path, capsys):
    rows = [r for i in range(5) for r in sides(1.0 + i, 10.0, size=16 + i)]
    path = write(tmp_path / "run", *rows)
    (path / "suite.toml").write_text(tables(PAIR))
    _, text, _ = called(capsys, "claims", path)
    assert [line.partition(": ")[2][:6] for line in text.splitlines() if "0x, " in line] == [
        "0.50x,",
        "0.40x,",
        "0.30x,",
    ]
    assert "  and 2 more comparisons (--json has all)\n" in text


def test_ratios_are_written_so_that_they_can_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    sizes = {16: (1.0, 1e-9), 17: (1e-9, 1.0), 18: (1.0, 2.0), 19: (None, 1.0), 20: (0.0, 1.0)}
    pair = PAIR.replace("seconds_median", "root_error")
    wanted = {
        (16, 18, 19): [
            "n = 19: torch/newton_schulz k=5 nonfinite against torch/svd 1.00",
            "n = 16: 1e+09x, torch/newton_schulz k=5 1.00 against torch/svd 1.00e-09",
            "n = 18: 0.50x, torch/newton_schulz k=5 1.00 against torch/svd 2.00",
            "n = 19: published 0.50x; here -, - as much",
        ],
        (17, 20): [
            "n = 17: 1e-09x, torch/newton_schulz k=5 1.00e-09 against torch/svd 1.00",
            "n = 20: -, torch/newton_schulz k=5 0 against torch/svd 1.00",
            "n = 19: published 0.50x; not measured here",
        ],
    }
    for i, (chosen, lines) in enumerate(wanted.items()):
        rows = [
            row(1.0, root=e, size=n, status="ok" if e is not None else "nonfinite", **m)
            for n in chosen
            for m, e in zip((NS, SVD), sizes[n], strict=True)
        ]
        path = write(tmp_path / str(i), *rows)
        (path / "suite.toml").write_text(tables(pair + "published = { size = 19, figure = 0.5 }"))
        _, text, _ = called(capsys, "claims", path)
        assert [line.strip() for line in text.splitlines() if " n = " in line] == lines


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ("", "left < right in 1 of 1 comparison, 0.25x in the median"),
        ("factor = 3", "3 x left < right in 1 of 1 comparison, 0.25x in the median"),
        ("over = 'median'", "left < right, 0.25x in the median; in 1 of 1 comparison"),
        (
            "relation = '>'\nfactor = 0.2",
            "left > 0.2 x right in 1 of 1 comparison, 0.25x in the median",
        ),
    ],
)
def test_the_rule_is_printed_as_it_was_written(tmp_path, capsys, monkeypatch, keys, rule):
    monkeypatch.setenv("COLUMNS", "200")
    path = write(tmp_path / "run", *sides(1.0, 4.0))
    claim = PAIR.replace('relation = "<"\n', "") if "relation" in keys else PAIR
    (path / "suite.toml").write_text(tables(claim + keys))
    _, text, _ = called(capsys, "claims", path)
    assert f" seconds_median: {rule}\n" in text


def test_a_claim_that_accepts_diverged_rows_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    diverged = row(1.0, root=2.0, status="diverged", **NS)
    path = write(tmp_path / "run", diverged, row(4.0, root=1e-6, **SVD))
    (path / "suite.toml").write_text(tables(PAIR + "accept = ['diverged']", PAIR.replace("<", ">")))
    _, text, _ = called(capsys, "claims", path)
    rule = "left < right in 1 of 1 comparison, diverged rows included, 0.25x in the median"
    assert f" seconds_median: {rule}\n" in text
    assert text.count("included") == 1


def test_json_has_every_point_of_every_claim(run, capsys):
    code, text, err = called(capsys, "claims", run, "--json")
    found = json.loads(text)["rows"]
    assert (code, err) == (0, "")
    assert [f["verdict"] for f in found] == [HOLDS, FAILS, FAILS, UNMEASURED, HOLDS]
    first, second, third, fourth, _ = found
    assert {k: v for k, v in first.items() if k != "deciding"} == {
        "claim": "It is faster.",
        "source": "someone, 2018",
        "verdict": "holds",
        "why": "",
        "value": "seconds_median",
        "over": "every",
        "comparisons": 2,
        "holds_in": 2,
        "median_ratio": 0.5,
        "published": [{"size": 16, "figure": 0.1, "here": 0.25}],
    }
    assert first["deciding"][0] == {
        "function": "sqrt",
        "problem": "wishart(ratio=2)",
        "size": 32,
        "batch": 64,
        "precision": "float32",
        "device": "cpu",
        "phase": "forward",
        "clock": "wall",
        "cache": "hot",
        "ratio": 0.75,
        "holds": True,
        "condition": {"least": None, "largest": None, "singular": True, "repeated": False},
        "left": {
            "method": "torch/newton_schulz k=5 trace",
            "figure": 3.0,
            "error": 0.3,
            "failed": "",
        },
        "right": {"method": "torch/svd", "figure": 4.0, "error": 1e-6, "failed": ""},
    }
    assert second["over"] == "median"
    assert second["deciding"][0]["left"]["figure"] is None  # infinite
    assert third["holds_in"] == 1
    assert (fourth["why"], fourth["deciding"]) == ("right has no figure (1 not_installed)", [])


def test_a_run_without_claims_says_how_to_get_one(tmp_path, capsys):
    path = write(tmp_path / "run", row(1.0))
    (path / "suite.toml").write_text(SUITE)
    said = (
        f"mssbench: {path} has no claims. Run a suite that has some, such as `mssbench run "
        f"paper_isqrt_2018`, or write a [[claim]] into {path}/suite.toml.\n"
    )
    assert called(capsys, "claims", path) == (2, "", said)
    (path / "suite.toml").unlink()
    code, _, err = called(capsys, "claims", path)
    assert code == 2
    assert err.startswith(f"mssbench: {path}/suite.toml cannot be read: ")
    assert called(capsys, "claims", tmp_path / "rum")[2].startswith("mssbench: there is no run in ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claim = 3\n", "'claim' is a list of tables: write [[claim]]."),
        ("claim = [3]\n", "[[claim]] 1: it is not a table: write [[claim]]."),
        (tables(PAIR, PAIR.replace("left", "lefd")), "[[claim]] 2: Unknown key 'lefd'."),
        (tables(PAIR, PAIR.replace("forward ==", "forwart ==")), '[[claim]] 2: left "forwart == '),
        ("claim", "cannot be read: "),
    ],
)
def test_a_claim_edited_by_hand_is_refused_with_the_file(run, capsys, text, said):
    (run / "suite.toml").write_text(text)
    for flags in ([], ["--json"]):
        code, out, err = called(capsys, "claims", run, *flags)
        assert (code, out) == (2, "")
        assert err.startswith(f"mssbench: {run}/suite.toml")
        assert said in err
        assert err.count("\n") == 1


# In a suite


KEYS = (
    "Known: accept, apart, at_error, claim, factor, left, over, published, relation, right, "
    "source, value, where, within."
)
SHAPES = (
    "A claim has claim, source, value, and either left, relation, right or where, published, "
    "within."
)
SELECTABLE = (
    "Known: backend, backward, backward_iterations, batch, cache, clock, device, "
    "forward, function, iterations, library, method, options, pair, phase, precision, "
    "problem, seed, size."
)
POINTS = "batch, cache, clock, device, function, phase, precision, problem, size."
REFUSED = {
    "key": (PAIR + "sorce = 3", f"Unknown key 'sorce'. Did you mean 'source'? {KEYS}"),
    "no source": (PAIR.replace("source", "#"), f"no 'source'. {SHAPES}"),
    "no relation": (PAIR.replace("relation", "#"), f"no 'relation'. {SHAPES}"),
    "no within": (FIGURE.replace("within", "#"), f"no 'within'. {SHAPES}"),
    "neither": (HEAD + 'value = "root_error"', f"no 'left'. {SHAPES}"),
    "both": (FIGURE + 'left = "size == 16"', "'left' does not go with 'where'."),
    "factor of figures": (FIGURE + "factor = 3", "'factor' does not go with 'where'."),
    "within of a pair": (PAIR + "within = 3", "'within' does not go with 'left'."),
    "empty sentence": (PAIR.replace("It is so.", " "), "claim = ' ' is not a text."),
    "source that is a number": (PAIR.replace('"someone, 2018"', "3"), "source = 3 is not a text."),
    "empty condition": (FIGURE.replace("forward == 'pade'", ""), "where = '' is not a text."),
    "empty right": (PAIR.partition("right")[0] + "right = ''", "right = '' is not a text."),
    "right as a list": (
        PAIR.partition("right")[0] + "right = [1]",
        "right = [1] is not a condition or a number above 0.",
    ),
    "right of zero": (
        PAIR.partition("right")[0] + "right = 0",
        "right = 0 is not a condition or a number above 0.",
    ),
    "value": (
        PAIR.replace("seconds_median", "second_median"),
        "Unknown value 'second_median'. Did you mean 'seconds_median'? Known: "
        + ", ".join(sorted(statements.VALUES))
        + ".",
    ),
    "value that is a key": (PAIR.replace("seconds_median", "size"), "Unknown value 'size'."),
    "relation": (
        PAIR.replace('"<"', '"=="'),
        "Unknown relation '=='. Did you mean '>='? Known: <, <=, >, >=.",
    ),
    "over": (
        PAIR + 'over = "medain"',
        "Unknown over 'medain'. Did you mean 'median'? Known: every, median.",
    ),
    **{
        f"factor {x}": (PAIR + f"factor = {x}", f"factor = {said} is not a number above 0.")
        for x, said in {
            "0": "0",
            "-1": "-1",
            "nan": "nan",
            "inf": "inf",
            "true": "True",
            '"2"': "'2'",
            "[2]": "[2]",
        }.items()
    },
    "at_error": (PAIR + "at_error = -1", "at_error = -1 is not a number above 0."),
    "at_error of an error": (
        PAIR.replace("seconds_median", "residual") + "at_error = 1e-3",
        "at_error limits the error of rows whose time or size is compared; 'residual' is itself "
        "an error.",
    ),
    "within": (FIGURE.replace("0.03", "0"), "within = 0 is not a number above 0."),
    "accept": (
        PAIR + 'accept = "divergd"',
        "accept: Unknown status 'divergd'. Did you mean 'diverged'? Known: diverged.",
    ),
    "accept of what has no figure": (
        PAIR + 'accept = "nonfinite"',
        "accept: Unknown status 'nonfinite'.",
    ),
    "apart": (
        PAIR + 'apart = "precison"',
        f"apart: Unknown column 'precison'. Did you mean 'precision'? Known: {POINTS}",
    ),
    "published as a number": (
        PAIR + "published = 3",
        "published is a table with 'figure': {size = [16, 32], figure = [1, 2]}.",
    ),
    "published without figure": (
        PAIR + "published = { size = 16 }",
        "published is a table with 'figure': {size = [16, 32], figure = [1, 2]}.",
    ),
    "published column": (
        PAIR + "published = { siz = 16, figure = 1 }",
        "published: Unknown column 'siz'. Did you mean 'size'? Known: "
        + POINTS.replace("device, ", "device, figure, "),
    ),
    "published figure": (
        PAIR + "published = { size = [16, 32], figure = [1, 0] }",
        "published figure = 0 is not a number above 0.",
    ),
    "published lengths": (
        PAIR + "published = { size = [16, 32], figure = 1 }",
        "published: 1 of figure, but 2 of size.",
    ),
    "published nothing": (
        PAIR + "published = { figure = [] }",
        "published: 0 of figure, but 0 of figure.",
    ),
    "published size": (
        PAIR + "published = { size = 2.5, figure = 1 }",
        "size = 2.5 is not a whole number of 1 or more.",
    ),
    "no expression": (
        PAIR.replace("forward == 'svd' and", "and"),
        "right \"and phase == 'forward'\" is not an expression: invalid syntax.",
    ),
    "code": (
        FIGURE.replace("forward == 'pade'", "print(1)"),
        "where 'print(1)': `print(1)` is not allowed. Write comparisons of columns, joined by and, "
        "or, not.",
    ),
    "column": (
        PAIR.replace("phase ==", "phas =="),
        f"right \"forward == 'svd' and phas == 'forward'\": Unknown column 'phas'. Did you mean "
        f"'phase'? {SELECTABLE}",
    ),
    "measured column": (
        FIGURE.replace("forward == 'pade'", "status == 'ok'"),
        f"where \"status == 'ok'\": Unknown column 'status'. Did you mean 'iterations'? "
        f"{SELECTABLE}",
    ),
    "method": (
        FIGURE.replace("pade", "pad"),
        "Unknown forward 'pad'. Did you mean 'pade'? Known: eigh, newton_schulz, pade, svd.",
    ),
    "method that is not": (FIGURE.replace("== 'pade'", "!= 'pad'"), "Unknown forward 'pad'."),
    "method not in a list": (
        FIGURE.replace("== 'pade'", "not in ['svd', 'pad']"),
        "Unknown forward 'pad'.",
    ),
    "method in a list": (
        FIGURE.replace("== 'pade'", "in ['svd', 'pad']"),
        "Unknown forward 'pad'. Did you mean 'pade'? Known: eigh, newton_schulz, pade, svd.",
    ),
    "method of other suites": (
        FIGURE.replace("pade", "taylor"),
        "Unknown forward 'taylor'. Known: eigh, newton_schulz, pade, svd.",
    ),
    "pair": (
        PAIR.replace("forward == 'svd'", "pair == 'torch/svd + autodiff'"),
        "Unknown pair 'torch/svd + autodiff'. Did you mean 'torch/svd + loewner'? Known: ",
    ),
    "phase": (
        PAIR.replace("== 'forward'", "== 'backwards'"),
        "Unknown phase 'backwards'. Did you mean 'backward'? Known: backward, forward, step.",
    ),
    "clock": (
        PAIR.replace("phase == 'forward'", "clock == 'cpu'"),
        "Unknown clock 'cpu'. Did you mean 'gpu'? Known: gpu, graph, wall.",
    ),
    "device": (
        PAIR.replace("phase == 'forward'", "device == 'auto'"),
        "Unknown device 'auto'. Known: cpu, cuda.",
    ),
    "precision": (
        PAIR.replace("phase == 'forward'", "precision == 'float23'"),
        "Unknown precision 'float23'. Did you mean 'float32'?",
    ),
    "problem": (
        PAIR.replace("phase == 'forward'", "problem == 'wishrt(ratio=2)'"),
        "Unknown problem 'wishrt'. Did you mean 'wishart'?",
    ),
    "problem's spelling": (
        PAIR.replace("phase == 'forward'", "problem == 'wishart'"),
        "problem 'wishart' is 'wishart(ratio=2)' in a table.",
    ),
    "seed": (
        PAIR.replace("phase == 'forward'", "seed == 0.5"),
        "seed = 0.5 is not a whole number of 0 or more.",
    ),
    "size": (
        PAIR.replace("phase == 'forward'", "size in [16, 0]"),
        "size = 0 is not a whole number of 1 or more.",
    ),
    "no shared point": (
        PAIR.replace("phase == 'forward'", "phase == 'step'"),
        "left and right share no point. Name the columns in which they differ: apart = [...].",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_claim_is_refused_with_file_table_key_and_the_nearest_word(tmp_path, capsys, case):
    body, said = REFUSED[case]
    path = tmp_path / "mine.toml"
    path.write_text(tables(PAIR, body))
    code, out, err = called(capsys, "run", path, "--out", tmp_path / "run", "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith(f"mssbench: {path}: [[claim]] 2: {said}")
    assert err.count("\n") == 1


def test_what_another_machine_or_a_part_of_the_suite_lacks_is_no_mistake(tmp_path):
    path = tmp_path / "mine.toml"
    claim = PAIR.replace("phase ==", "device == 'cuda' and phase ==")
    path.write_text(
        tables(
            claim.replace("backward ==", "size == 32 and clock == 'gpu' and pair !=").replace(
                "'none'", "'torch/svd'"
            )
        )
    )
    again = tmp_path / "again.toml"
    for auto in ("cpu", "cuda"):
        narrow = suite.load(path, auto=auto, device="cpu", overrides=["size=16"])
        again.write_text(suite.dump(narrow.document))
        assert suite.load(again, auto=auto).document["claim"] == narrow.document["claim"] != []


def test_libraries_of_different_devices_may_meet_on_another_machine(tmp_path):
    """Here torch is on the CPU and cupy is nowhere; where there is a GPU both are on it."""
    path = tmp_path / "mine.toml"
    claim = PAIR.replace("forward == 'newton_schulz' and", "backend == 'cupy/svd' and")
    text = SUITE.replace('"torch/svd"', '"torch/svd", "cupy/svd"')
    claim = claim.replace('right = "', "right = \"library == 'torch' and ")
    path.write_text(f"{text}[[claim]]\n{claim}")
    assert suite.load(path, auto="cpu").document["claim"]


def test_a_claim_is_written_and_read_as_it_was(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(tables(PAIR + "apart = ['batch']\nfactor = 2.5", FIGURE))
    document = suite.load(path, auto="cpu").document
    again = tomllib.loads(suite.dump(document))
    assert again == document
    assert statements.read(again["claim"]) == statements.read(
        tomllib.loads(path.read_text())["claim"]
    )


PAPERS = {
    "paper_batched_eig_2022",
    "paper_fast_root_2022",
    "paper_isqrt_2018",
    "paper_lin_maji_2017",
    "paper_seb_2022",
    "paper_svd_2021",
}


def test_every_paper_has_its_suite():
    assert {name for name in shipped.of_runs() if name.startswith("paper_")} == PAPERS


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_paper_s_claims_are_sentences_and_none_is_believed_unasked(name):
    table = suite.load(suite.find(name), auto="cpu").document["claim"]
    for claim in statements.read(table):
        assert re.fullmatch(r"[A-Z].*\.", claim.claim)
    assert len({t["claim"] for t in table}) == len(table) >= 3
    assert any(t["source"].startswith("this project") for t in table)


def test_of_the_posters_matrices_every_one_is_checked():
    cells = suite.load(suite.find("paper_fast_root_2022"), auto="cpu").cells
    errors = [c for c in cells if c.problem == "gram"]
    assert {c.size for c in errors} == {16, 32, 64, 96, 128}
    for cell in errors:
        assert cell.batch <= next(most for largest, most in CHECKED if cell.size <= largest)
    draws = Counter()
    for cell in {(c.size, c.batch, c.seed) for c in errors}:
        draws[cell[0]] += cell[1]
    assert draws == {16: 400, 32: 64, 64: 32, 96: 16, 128: 16}


@pytest.mark.slow
def test_a_new_claim_is_judged_on_old_rows(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    small = SUITE.replace("[16, 32]", "4").replace("64", "2").replace('"torch/eigh", ', "")
    run = tmp_path / "run"
    arguments = ["run", path, "--out", run, "--effort", "smoke", "--only", "forward == 'svd'"]
    claim = HEAD + 'value = "root_error"\nleft = "forward == \'svd\'"\nrelation = "<"\n'
    verdicts = []
    for limit in ("1e-30", "0.1"):
        path.write_text(f"{small}[[claim]]\n{claim}right = {limit}\n")
        assert called(capsys, *arguments)[0] == 0
        verdicts += [
            f["verdict"] for f in json.loads(called(capsys, "claims", run, "--json")[1])["rows"]
        ]
    assert verdicts == [FAILS, HOLDS]
