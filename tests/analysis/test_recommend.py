"""Answers from rows of exactly the place that was asked for, and what else is worth a try."""

import pytest
from helpers.tables import frame, row

from mssbench.analysis import decision
from mssbench.analysis.decision import ErrorBounds
from mssbench.analysis.recommend import Question, proof, relevant, shortlist
from mssbench.console.recommendation import answer
from mssbench.console.terminal import plain

EASY, HARDER, HARDEST = "wishart(ratio=2)", "logspec(condition=1e4)", "logspec(condition=1e6)"
SINGULAR = "wishart(ratio=0.766)"
CONDITION = {EASY: 40.0, HARDER: 1e4, HARDEST: 1e6, SINGULAR: None, "clusters(m=4)": 100.0}
ASKED = Question(64, 16, gradient=True)


class FakeRun:
    """A run in memory, as far as a recommendation reads one."""

    def __init__(self, rows, started="2026-01-01", load=0.1, drift=0.0, lost=()):
        self.frame = frame(*rows)
        self.left_over = {*self.frame.loc[self.frame["forward"].isin(lost), "cell_id"]}
        self.current = self.frame[~self.frame["cell_id"].isin(self.left_over)]
        self.path = f"results/{started}"
        self.name = started
        run = {"started": started, "load_start": [load], "drift": drift}
        self.facts = {
            "runs": {"r" * 12: run},
            "environments": {"e" * 12: {"cores": {"granted": 2}}},
        }


def rows(forward, seconds, gradient=1e-6, *, problems=(EASY, HARDEST), size=64, batch=16, **more):
    errors = gradient if isinstance(gradient, dict) else dict.fromkeys(problems, gradient)
    return [
        row(
            seconds,
            phase="step",
            forward=forward,
            backward="loewner",
            problem=problem,
            size=size,
            batch=batch,
            gradient=error,
            root=more.get("root", 1e-7),
            condition=CONDITION[problem],
            noise="quiet",
            **{k: v for k, v in more.items() if k != "root"},
        )
        for problem, error in errors.items()
    ]


def best(found):
    chosen = decision.choose(found.board, 0.0)
    return chosen.row["forward"] if chosen else None


def test_only_rows_of_exactly_this_place_are_an_answer():
    right = [*rows("eigh", 1.0), *rows("svd", 2.0)]
    found = proof([FakeRun(right)], ASKED)
    assert found is not None
    assert best(found) == "eigh"
    for other in (
        {"size": 65},
        {"batch": 17},
        {"precision": "float64"},
        {"device": "cuda"},
        {"function": "isqrt"},
        {"gradient": False},
    ):
        assert proof([FakeRun(right)], ASKED._replace(**other)) is None, other


def test_a_single_method_compares_nothing():
    assert proof([FakeRun(rows("eigh", 1.0))], ASKED) is None


def test_a_bound_on_the_error_decides_what_is_right():
    run = FakeRun([*rows("eigh", 2.0, 1e-6), *rows("minimax", 1.0, 1e-3, root=1e-2)])
    for bounds, chosen in (
        (ErrorBounds(), "minimax"),
        (ErrorBounds(gradient=1e-3), "minimax"),
        (ErrorBounds(gradient=9e-4), "eigh"),
        (ErrorBounds(root=9e-3), "eigh"),
        (ErrorBounds(gradient=1e-9), None),
    ):
        found = proof([run], ASKED._replace(bounds=bounds))
        assert found is not None
        assert best(found) == chosen, bounds


def test_of_several_runs_the_one_whose_times_compare_then_most_methods_then_the_latest():
    few, many = [*rows("eigh", 1.0), *rows("svd", 2.0)], rows("pade", 3.0)
    busy = FakeRun([*few, *many], "2026-09-09", load=9.0)
    old = FakeRun([*few, *many], "2026-01-01")
    late = FakeRun([*few, *many], "2026-02-02")
    small = FakeRun(few, "2026-05-05")
    found = proof([busy, old, late, small], ASKED)
    assert found is not None
    assert found.run is late
    only_busy = proof([busy], ASKED)
    assert only_busy is not None  # shown with its warning rather than not at all


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (10.0, {EASY}),
        (44.0, {EASY}),  # conditions of random matrices vary by a tenth
        (50.0, set()),  # the next harder one is 200 times as hard
        (5e2, {EASY, HARDER}),
        (1e4, {EASY, HARDER}),
        (2e4, set()),
        (5e4, {EASY, HARDER, HARDEST}),
        (1e6, {EASY, HARDER, HARDEST}),
        (2e6, set()),  # nothing as hard was measured
        (1e7, {SINGULAR}),  # beyond the precision of float32
    ],
)
def test_a_condition_is_covered_by_the_next_harder_problem_and_all_easier_ones(condition, wanted):
    problems = (EASY, HARDER, HARDEST, SINGULAR, "clusters(m=4)")
    made = frame(*rows("eigh", 1.0, problems=problems))
    found = relevant(made, ASKED._replace(condition=condition))
    assert (set(found["problem"]) if found is not None else set()) == wanted


def test_matrices_of_low_rank_are_answered_by_singular_ones_alone():
    made = frame(*rows("eigh", 1.0, problems=(EASY, HARDEST, SINGULAR)))
    low = relevant(made, ASKED._replace(rank=49))
    assert low is not None
    assert set(low["problem"]) == {SINGULAR}
    full = relevant(made, ASKED._replace(rank=64))
    assert full is not None
    assert len(full) == 3


def test_neighbours_give_what_is_right_and_near_the_fastest_and_no_answer():
    run = FakeRun(
        [
            *rows("eigh", 1.0, size=32),
            *rows("svd", 1.4, size=32),
            *rows("pade", 1.6, size=32),
            *rows("taylor", 0.5, 0.9, size=32, status="inaccurate"),
            *rows("jacobi", 1.0, size=128),
            *rows("eigh", 1.2, size=128),
            *rows("minimax", 0.1, size=256),
            *rows("eigh", 9.0, size=256),
        ]
    )
    assert proof([run], ASKED) is None
    found = {(c.line.row["forward"], c.size) for c in shortlist([run], ASKED)}
    assert found == {("eigh", 32), ("svd", 32), ("jacobi", 128)}


def test_neighbours_may_miss_the_bound_by_a_factor_of_three():
    run = FakeRun([*rows("eigh", 1.0, 2.9e-3, size=32), *rows("svd", 1.1, 3.1e-3, size=32)])
    asked = ASKED._replace(bounds=ErrorBounds(gradient=1e-3))
    assert [c.line.row["forward"] for c in shortlist([run], asked)] == ["eigh"]


def test_the_nearest_batch_stands_for_a_size():
    run = FakeRun(
        [
            *rows("eigh", 1.0, batch=8),
            *rows("svd", 2.0, batch=8),
            *rows("eigh", 2.0, batch=4096),
            *rows("svd", 1.0, batch=4096),
        ]
    )
    found = {(c.line.row["forward"], c.batch) for c in shortlist([run], ASKED)}
    assert found == {("eigh", 8)}


def test_neighbours_of_a_busy_machine_say_so_and_a_quiet_run_is_preferred():
    lines = [*rows("eigh", 1.0, size=32), *rows("svd", 1.4, size=32)]
    busy, quiet = FakeRun(lines, load=9.0), FakeRun(lines)
    assert {c.doubt[:22] for c in shortlist([busy], ASKED)} == {"was busy when the run "}
    for runs in ([busy, quiet], [quiet, busy]):
        assert {c.doubt for c in shortlist(runs, ASKED)} == {""}


def test_easy_matrices_alone_answer_nothing_where_nothing_is_known_of_them():
    """Nearly every method is right on them: pade would be recommended to everybody."""
    easy = FakeRun([*rows("pade", 1.0, problems=(EASY,)), *rows("eigh", 2.0, problems=(EASY,))])
    assert proof([easy], ASKED) is None
    assert shortlist([easy], ASKED._replace(size=65)) == []
    known = proof([easy], ASKED._replace(condition=30.0))
    assert known is not None
    assert best(known) == "pade"


def test_matrices_of_a_file_say_nothing_of_others():
    mine = "file(path=cov.npy, key=, kind=matrices, digest=0123456789abcdef)"
    own = FakeRun(
        [
            row(
                1.0,
                phase="step",
                forward=name,
                backward="loewner",
                problem=mine,
                size=64,
                batch=16,
                gradient=1e-6,
                root=1e-7,
                condition=40.0,
                noise="quiet",
            )
            for name in ("eigh", "svd")
        ]
    )
    assert proof([own], ASKED._replace(condition=30.0)) is None


def test_of_two_runs_the_one_on_more_kinds_of_matrix_answers():
    many = FakeRun([*rows("pade", 1.0), *rows("eigh", 2.0), *rows("svd", 3.0)], "2026-09-09")
    kinds = (EASY, HARDEST, SINGULAR)
    all_kinds = FakeRun([*rows("eigh", 1.0, problems=kinds), *rows("svd", 2.0, problems=kinds)])
    found = proof([many, all_kinds], ASKED)
    assert found is not None
    assert found.run is all_kinds


def forwards(found):
    return {line.row["forward"] for line in found.board.lines}


def test_rows_that_the_suite_no_longer_has_answer_only_where_no_others_do():
    measured = [*rows("eigh", 1.0), *rows("svd", 2.0), *rows("pade", 3.0)]
    without_svd = FakeRun(measured, lost=["svd"])
    assert forwards(proof([without_svd], ASKED)) == {"eigh", "pade"}
    assert not shortlist([FakeRun(measured, lost=["eigh", "svd", "pade"])], ASKED._replace(size=48))

    only_eigh = FakeRun(measured, lost=["svd", "pade"])
    found = proof([only_eigh], ASKED)
    assert forwards(found) == {"eigh", "svd", "pade"}
    assert "Some of these rows belong to cells that the suite" in plain(answer(found))
    assert proof([only_eigh], ASKED, also_left_over=False) is None

    everything = proof([FakeRun(measured)], ASKED)
    assert "no longer has" not in plain(answer(everything))
