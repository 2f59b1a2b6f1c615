"""Which method is recommended, from tables made by hand, where the right answer is known."""

import math

import numpy as np
import pytest
import torch
from helpers.tables import frame, row

import mssbench
from mssbench import problems
from mssbench.analysis import advice, decision, kinds
from mssbench.analysis.decision import Board, Line, boards, choose, main_board
from mssbench.analysis.kinds import kind_of
from mssbench.analysis.naming import call_text, paper_name, short_names
from mssbench.analysis.trust import Trust, busy_now, mixture, trust
from mssbench.methods import registry

EASY, HARD, SINGULAR = "wishart(ratio=2)", "logspec(condition=1e6)", "convfeat"
CONDITION = {EASY: 40.0, HARD: 1e6, SINGULAR: None}
QUIET = Trust(0.3, 2, 0.0, "")


def method(forward, seconds, errors, *, status=None, noise="quiet", size=64, **more):
    """The step rows of one method, one for each problem of `errors`."""
    status = status or {}
    found = []
    for problem, error in errors.items():
        ended = status.get(problem, "ok")
        time = seconds[problem] if isinstance(seconds, dict) else seconds
        found.append(
            row(
                time,
                status=ended,
                phase="step",
                forward=forward,
                problem=problem,
                size=size,
                gradient=error,
                root=1e-6,
                condition=CONDITION[problem],
                noise=noise,
                backward=more.get("backward", "loewner"),
                **{k: v for k, v in more.items() if k != "backward"},
            )
        )
    return found


def only_board(*methods) -> Board:
    (board,) = boards(frame(*(each for rows in methods for each in rows)))
    return board


def by_name(board: Board) -> dict[str, Line]:
    return {line.name.split(" +")[0]: line for line in board.lines}


# Kinds


@pytest.mark.parametrize(
    ("problem", "condition", "precision", "kind"),
    [
        (EASY, 40.0, "float32", kinds.EASY),
        (EASY, 1000.0, "float32", kinds.EASY),
        (EASY, 1001.0, "float32", kinds.HARD),
        (SINGULAR, 600.0, "float32", kinds.EASY),  # convfeat at n = 16
        (SINGULAR, 2e4, "float32", kinds.HARD),  # at n = 32
        (SINGULAR, 1e11, "float32", kinds.SINGULAR),  # at n = 64
        (SINGULAR, 1e11, "float64", kinds.HARD),
        (EASY, math.nan, "float32", kinds.SINGULAR),
        (EASY, math.nan, "float64", kinds.SINGULAR),
        ("identity", 1.0, "float32", kinds.REPEATED),
        ("clusters(m=4)|scale(factor=10)", 100.0, "float32", kinds.REPEATED),
        ("of_no_plugin_here", 40.0, "float32", kinds.EASY),
    ],
)
def test_a_kind_is_what_was_measured_and_no_name(problem, condition, precision, kind):
    assert kind_of(problem, condition, precision) == kind


@pytest.mark.parametrize("name", sorted({*problems.generators()} - {"file"}))
def test_a_problem_declares_that_its_eigenvalues_repeat_if_and_only_if_they_do(name):
    """The declaration, against gaps between the eigenvalues of its matrices that are not null."""
    declared = problems.generators()[name].repeated
    sizes = [n for n in (16, 64, 30, 13) if problems.check_size(name, n) is None]
    w = np.linalg.eigvalsh(problems.make(name, sizes[0], 2, 0).master)
    live = w[:, :-1] > 1e-9 * w[:, -1:]
    gaps = np.diff(w, axis=1)[live] / w[:, 1:][live]
    assert bool(np.median(gaps) < 1e-5) is declared


# Time, ties and the choice


def test_time_is_the_geometric_mean_so_that_ratios_are_quotients_of_the_times_shown():
    board = only_board(
        method("eigh", {EASY: 1.0, HARD: 4.0}, {EASY: 1e-6, HARD: 1e-2}),
        method("svd", {EASY: 2.0, HARD: 32.0}, {EASY: 1e-6, HARD: 1e-2}),
    )
    lines = by_name(board)
    assert lines["eigh"].seconds == pytest.approx(2.0)
    assert lines["svd"].seconds == pytest.approx(8.0)
    assert decision.ratio(lines["svd"], lines["eigh"]) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("other", "noise", "drift", "found"),
    [
        ({EASY: 1.09, HARD: 1.09}, "quiet", 0.0, "tie"),
        ({EASY: 1.11, HARD: 1.11}, "quiet", 0.0, "slower"),
        ({EASY: 1.11, HARD: 1.11}, "quiet", 0.2, "tie"),  # the machine itself changed by more
        ({EASY: 1.25, HARD: 1.25}, "unstable", 0.0, "tie"),
        ({EASY: 1.35, HARD: 1.35}, "unstable", 0.0, "slower"),
        ({EASY: 1.5, HARD: 0.7}, "quiet", 0.0, "tie"),  # slower and faster, by about as much
        ({EASY: 2.0, HARD: 0.9}, "quiet", 0.0, "neither"),  # not slower on every problem
        ({EASY: 2.0, HARD: 1.02}, "quiet", 0.0, "neither"),
    ],
)
def test_a_tie_is_a_mean_within_the_limit_and_slower_means_on_every_problem(
    other, noise, drift, found
):
    board = only_board(
        method("eigh", 1.0, {EASY: 1e-6, HARD: 1e-2}),
        method("svd", other, {EASY: 1e-6, HARD: 1e-2}, noise=noise),
    )
    lines = by_name(board)
    pair = lines["eigh"], lines["svd"]
    assert decision.tied(*pair, drift) is (found == "tie")
    assert decision.tied(*reversed(pair), drift) is (found == "tie")
    assert decision.is_faster(*pair, drift) is (found == "slower")
    assert not decision.is_faster(*reversed(pair), drift)


def test_a_mean_that_is_much_longer_is_no_tie_although_the_method_is_faster_on_one_problem():
    """It would be recommended for its accuracy, as being as fast, at twice the time."""
    board = only_board(
        method("eigh", 1.0, {EASY: 1e-6, HARD: 2e-2}),
        method("svd", {EASY: 5.0, HARD: 0.9}, {EASY: 1e-6, HARD: 1e-4}),
    )
    best = choose(board, 0.0)
    assert best is by_name(board)["eigh"]
    use = next(iter(advice.sentences(board, best, QUIET))).text
    assert use.endswith(
        "the fastest by 2.1x on average, though svd + loewner is as fast on some matrices."
    )


def test_methods_without_a_common_problem_have_no_ratio_and_none_is_faster():
    board = only_board(
        method("eigh", 1.0, {HARD: 2e-2}),
        method("svd", 0.1, {EASY: 1e-6}),
        method("pade", 3.0, {EASY: 1e-6, HARD: 1e-2}),
    )
    lines = by_name(board)
    assert math.isnan(decision.ratio(lines["svd"], lines["eigh"]))
    assert not decision.is_faster(lines["svd"], lines["eigh"], 0.0)
    assert decision.easy_alternative(board, lines["eigh"], 0.0) is None


def test_the_fastest_that_is_right_on_every_kind_is_recommended():
    board = only_board(
        method("newton_schulz", 1.0, {EASY: 1e-6, HARD: 0.9}, status={HARD: "inaccurate"}),
        method("svd", 5.0, {EASY: 1e-6, HARD: 1e-2}),
        method("eigh", 2.0, {EASY: 1e-6, HARD: 2e-2}),
    )
    best = choose(board, 0.0)
    assert best is by_name(board)["eigh"]
    assert board.right(by_name(board)["newton_schulz"]) == (kinds.EASY,)


def test_the_call_of_a_root_from_features_is_one_that_can_be_pasted():
    (first, second) = (
        row(1.0, forward=forward, backward=backward, function="sqrt_x", phase="step")
        for forward, backward in (("from_features", "autodiff"), ("eigh", "loewner"))
    )
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    found = []
    for each in (first, second):
        names = {"mssbench": mssbench, "x": x}
        exec(call_text(each), names)
        found.append(names["y"])
    assert torch.allclose(*found)
    assert call_text(first) == "y = mssbench.sqrtm_of_features(x)"


def test_the_calls_of_other_functions_can_be_pasted():
    a = torch.eye(3, dtype=torch.float64) * 4
    for function, forward, backward, entry in (
        ("whiten", "cholesky", "autodiff", 0.5),
        ("whiten", "eigh", "loewner", 0.5),
        ("log", "log_eigh", "autodiff", np.log(4)),
    ):
        each = row(1.0, forward=forward, backward=backward, function=function, phase="step")
        names = {"mssbench": mssbench, "a": a}
        exec(call_text(each), names)
        made = names["w"] if forward == "cholesky" else names["y"]
        assert made[0, 0].item() == pytest.approx(entry)
    assert call_text(row(1.0, forward="log_eigh_autodiff", function="log")) == ""


@pytest.mark.parametrize("options", ["ridge=0.1", "rtol=1e-06"])
def test_the_root_of_a_changed_matrix_is_named_so_and_not_recommended(options):
    board = only_board(
        method("eigh", 1.0, {EASY: 1e-7, HARD: 1e-7}, options=options),
        method("eigh", 2.0, {EASY: 1e-6, HARD: 2e-2}),
    )
    best = choose(board, 0.0)
    assert best.row["options"] == ""
    assert {*by_name(board)} == {"eigh", f"eigh {options}"}


@pytest.mark.parametrize(("error", "chosen"), [(1e-4, "svd"), (3e-3, "eigh")])
def test_of_two_equally_fast_the_one_with_a_digit_more_is_recommended(error, chosen):
    board = only_board(
        method("eigh", 1.0, {EASY: 1e-6, HARD: 2e-2}),
        method("svd", 1.05, {EASY: 1e-6, HARD: error}),
    )
    assert choose(board, 0.0) is by_name(board)[chosen]


def test_a_method_that_was_not_measured_on_every_kind_is_not_recommended():
    board = only_board(
        method("minimax", 1.0, {EASY: 1e-6}),
        method("eigh", 2.0, {EASY: 1e-6, HARD: 2e-2}),
    )
    assert choose(board, 0.0) is by_name(board)["eigh"]


@pytest.mark.parametrize("how", ["crashed", "timeout", "oom"])
def test_a_method_that_broke_on_one_problem_is_not_recommended(how):
    broken = method("minimax", 1.0, {EASY: 1e-6})
    broken += [
        row(
            None,
            status=how,
            reason="it broke",
            phase="step",
            forward="minimax",
            backward="loewner",
            problem=HARD,
            size=64,
        )
    ]
    board = only_board(broken, method("eigh", 2.0, {EASY: 1e-6, HARD: 2e-2}))
    assert choose(board, 0.0) is by_name(board)["eigh"]
    assert by_name(board)["minimax"].marks[kinds.HARD].word == how


def test_arrays_of_another_library_do_not_compete():
    board = only_board(
        method("eigh", 1.0, {EASY: 1e-6}, library="numpy"), method("svd", 2.0, {EASY: 1e-6})
    )
    best = choose(board, 0.0)
    assert best is not None
    assert best.row["library"] == "torch"
    assert next(line.name for line in board.lines) == "numpy/eigh + loewner"


def test_an_error_beyond_the_bounds_is_not_right_but_shown():
    rows = frame(*method("eigh", 1e-3, {EASY: 1e-5}), *method("svd", 2e-3, {EASY: 1e-7}))
    (board,) = boards(rows, decision.ErrorBounds(gradient=1e-6))
    lines = by_name(board)
    assert lines["eigh"].marks["easy"] == decision.Mark(right=False, error=1e-5, word="")
    assert lines["svd"].marks["easy"] == decision.Mark(right=True, error=1e-7, word="")


def test_a_reference_that_is_itself_in_doubt_ranks_nobody_but_nan_stays_wrong():
    doubtful = {"reference_error": 0.3}
    board = only_board(
        method("svd", 1.0, {EASY: 1e-6}),
        method("eigh", 2.0, {EASY: 1e-6}),
        [
            row(
                1.0,
                status="nonfinite",
                phase="step",
                forward="svd",
                backward="loewner",
                size=64,
                problem=SINGULAR,
                noise="quiet",
                **doubtful,
            ),
            row(
                2.0,
                phase="step",
                forward="eigh",
                backward="loewner",
                size=64,
                problem=SINGULAR,
                gradient=0.5,
                noise="quiet",
                **doubtful,
            ),
        ],
    )
    assert board.deciding == [kinds.EASY]
    assert choose(board, 0.0) is by_name(board)["eigh"]
    told = [s.text for s in advice.sentences(board, choose(board, 0.0), QUIET)]
    assert any("may be off by 30 %" in text for text in told)


def test_a_nan_on_a_problem_that_is_left_out_is_wrong_all_the_same():
    def step(forward, problem, doubt, **more):
        return row(
            1.0,
            phase="step",
            forward=forward,
            backward="loewner",
            size=64,
            noise="quiet",
            problem=problem,
            reference_error=doubt,
            **more,
        )

    sure = [step(name, "wishart(ratio=0.5)", 1e-9, gradient=1e-3) for name in ("eigh", "svd")]
    doubted = [
        step("eigh", SINGULAR, 0.5, gradient=0.4),
        step("svd", SINGULAR, 0.5, status="nonfinite"),
    ]
    (board,) = boards(frame(*sure, *doubted))
    assert by_name(board)["svd"].marks[kinds.SINGULAR].word == "nan"
    assert not board.right_everywhere(by_name(board)["svd"])
    assert choose(board, 0.0) is by_name(board)["eigh"]


def test_a_kind_that_one_of_many_methods_reached_decides_nothing():
    """A run that was stopped: all but one method have no row of hard matrices."""
    late = {"status": "interrupted", "reason": "the time was over before this cell"}
    names = ("eigh", "svd", "minimax")
    board = only_board(
        method("newton_schulz", 1.0, {EASY: 1e-3, HARD: 0.9}, status={HARD: "inaccurate"}),
        *(method(name, 2.0 + i, {EASY: 1e-6}) for i, name in enumerate(names)),
        [
            row(None, phase="step", forward=name, backward="loewner", problem=HARD, size=64, **late)
            for name in names
        ],
    )
    assert board.deciding == [kinds.EASY]
    assert board.unreached == 3
    assert choose(board, 0.0) is None  # minimax is right on easy matrices, and nobody knows more


def test_where_no_method_is_right_on_every_kind_none_is_recommended():
    board = only_board(
        method("eigh", 1.0, {EASY: 0.5, HARD: 0.9}, status={EASY: "inaccurate", HARD: "diverged"}),
        method("svd", 2.0, {EASY: 1e-3, HARD: 0.9}, status={HARD: "inaccurate"}),
    )
    assert choose(board, 0.0) is None
    told = [s.text for s in advice.sentences(board, None, QUIET)]
    assert "No method is right on every kind of matrix" in told[0]


def test_one_method_leaves_nothing_to_decide():
    rows = frame(*method("eigh", 1.0, {EASY: 1e-6}))
    assert main_board(boards(rows)) is None


def test_the_first_table_is_the_step_with_most_methods():
    rows = [
        *method("eigh", 1.0, {EASY: 1e-6}),
        *method("svd", 2.0, {EASY: 1e-6}),
        *method("newton_schulz", 3.0, {EASY: 1e-6}),
        *method("eigh", 9.0, {EASY: 1e-6}, size=256),
        *method("svd", 9.0, {EASY: 1e-6}, size=256),
    ]
    board = main_board(boards(frame(*rows)))
    assert board is not None
    assert (board.place["size"], len(board.lines)) == (64, 3)


def test_a_training_step_comes_before_a_forward_with_more_methods():
    alone = [
        row(1.0 + i, forward=name, size=64, problem=EASY, condition=40.0, root=1e-6)
        for i, name in enumerate(("eigh", "svd", "pade", "taylor"))
    ]
    steps = [*method("eigh", 1.0, {EASY: 1e-6}), *method("svd", 2.0, {EASY: 1e-6})]
    board = main_board(boards(frame(*alone, *steps)))
    assert board is not None
    assert board.phase == "step"
    forward = main_board(boards(frame(*alone)))
    assert forward is not None
    assert forward.phase == "forward"


def test_one_problem_whose_reference_is_in_doubt_does_not_spoil_its_kind():
    def step(forward, problem, error, doubt):
        return row(
            1.0,
            phase="step",
            forward=forward,
            backward="loewner",
            size=64,
            noise="quiet",
            problem=problem,
            gradient=error,
            reference_error=doubt,
        )

    sure = [step(name, "wishart(ratio=0.5)", 1e-3, 1e-9) for name in ("eigh", "svd")]
    doubted = [step(name, SINGULAR, 0.9, 0.5) for name in ("eigh", "svd")]
    (board,) = boards(frame(*sure, *doubted))
    kind = board.kinds[kinds.SINGULAR]
    assert (kind.problems, kind.left_out) == (("wishart(ratio=0.5)",), (SINGULAR,))
    assert board.deciding == [kinds.SINGULAR]
    assert by_name(board)["eigh"].marks[kinds.SINGULAR].error == 1e-3
    told = [s.text for s in advice.sentences(board, None, QUIET)]
    assert f"{SINGULAR} (singular): left out, as the reference itself is in doubt there." in told


def test_a_method_for_easy_matrices_is_named_only_if_it_is_clearly_faster_and_accurate():
    def told(seconds, error):
        board = only_board(
            method("eigh", 1.0, {EASY: 1e-6, HARD: 2e-2}),
            method("minimax", seconds, {EASY: error, HARD: 0.9}, status={HARD: "inaccurate"}),
        )
        best = choose(board, 0.0)
        assert best is not None
        return decision.easy_alternative(board, best, 0.0)

    found = told(0.5, 1e-6)
    assert found is not None
    assert found.name == "minimax + loewner"
    assert told(0.95, 1e-6) is None
    assert told(0.5, 5e-2) is None


def test_the_front_of_another_place_goes_from_fast_to_accurate():
    board = only_board(
        method("taylor", 1.0, {EASY: 5e-2}),
        method("pade", 2.0, {EASY: 4e-2}),
        method("eigh", 3.0, {EASY: 1e-6}),
        method("svd", 4.0, {EASY: 1e-6}),
    )
    assert [line.name for line in decision.front(board)] == ["taylor + loewner", "eigh + loewner"]


# Names and calls


def test_names_are_as_short_as_keeps_methods_apart():
    plain = {"library": "torch", "iterations": None, "backward_iterations": None, "options": ""}
    rows = [
        {**plain, "forward": "eigh", "backward": "loewner"},
        {**plain, "forward": "newton_schulz", "backward": "autodiff", "iterations": 5},
        {
            **plain,
            "forward": "newton_schulz",
            "backward": "lyapunov_newton_schulz",
            "iterations": 12,
            "backward_iterations": 12,
        },
        {**plain, "forward": "pade", "backward": "none", "options": "degree=5"},
        {**plain, "forward": "pade", "backward": "none", "options": "degree=9 norm=trace"},
    ]
    assert short_names(rows) == [
        "eigh + loewner",
        "newton_schulz 5 + autodiff",
        "newton_schulz 12 + lyapunov",
        "pade degree=5",
        "pade degree=9 trace",
    ]


def test_only_the_papers_own_settings_have_the_papers_name():
    base = {"forward": "newton_schulz", "backward": "autodiff"}
    named = [
        paper_name(base | {"iterations": k, "options": f"norm={norm}"})
        for k, norm in ((5, "trace"), (10, "trace"), (5, "frobenius"))
    ]
    assert named == ["iSQRT-COV", "", ""]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "name",
    [
        "cpu-2core-quick",
        pytest.param("cpu-2core-standard", marks=pytest.mark.slow),
        "cpu-2core-paper_svd_2021",
    ],
)
def test_a_call_as_it_is_printed_computes_what_was_measured(name, pytestconfig):
    """Each distinct call is run; that it has the row's own parameters is a test of its own."""
    rows = mssbench.load(pytestconfig.rootpath / "results" / name)
    n = 64  # more than the eigenvalues that a truncation abandons
    a, x = torch.eye(n, dtype=torch.float64) + 0.1, torch.randn(n, 9, dtype=torch.float64)
    known = set()
    for board in boards(rows):
        for line in board.lines:
            known.add(call_text(line.row))
    assert len(known) > 3
    for text in known - {""}:
        scope = {"mssbench": mssbench, "a": a.clone(), "x": x}
        exec(text, scope)
        assert scope["y"].shape == (n, n)


def test_a_call_leaves_out_defaults_and_nothing_else():
    """The public function stops by itself where it is given no number, and a row has its number."""
    default = registry.lookup("forward", "newton_schulz").parameters["iterations"].default
    row_ = {
        "library": "torch",
        "function": "isqrt",
        "forward": "newton_schulz",
        "backward": "none",
        "backward_iterations": None,
        "options": "norm=trace",
    }
    by_itself = call_text(row_ | {"iterations": None, "options": "iterations=auto norm=trace"})
    assert by_itself == 'y = mssbench.isqrtm(a, forward="newton_schulz", norm="trace")'
    assert f"iterations={default}" in call_text(row_ | {"iterations": default})
    direct = row_ | {"forward": "qdwh", "options": "lower=0.0 norm=trace"}
    usual = registry.lookup("forward", "qdwh").parameters["iterations"].default
    assert call_text(direct | {"iterations": usual}) == (
        'y = mssbench.isqrtm(a, forward="qdwh", norm="trace")'
    )
    assert f"iterations={usual + 1}" in call_text(direct | {"iterations": usual + 1})
    assert call_text(row_ | {"library": "numpy", "iterations": 3}) == ""
    assert call_text(row_ | {"function": "isqrt_b", "iterations": 3}) == ""


# Whether times compare


def facts(load=0.3, drift=0.05):
    return {
        "runs": {"r" * 12: {"load_start": [load, 1.0, 1.0], "drift": drift, "suite": "quick"}},
        "environments": {"e" * 12: {"cores": {"granted": 2}}},
    }


@pytest.mark.parametrize(
    ("load", "drift", "flags", "why"),
    [
        (0.3, 0.05, [""] * 10, ""),
        (2.9, 0.4, ["loaded"] * 5 + [""] * 5, ""),
        (2.9, 0.4, ["queue_gap"] * 10, ""),  # the method's own doing
        (3.1, 0.05, [""] * 10, "was busy when the run began: load 3.1 on 2 cores"),
        (0.3, 0.6, [""] * 10, "changed its speed by 60 % during the run"),
        (0.3, 32.0, [""] * 10, "changed its speed by 3200 % during the run"),
        (
            0.3,
            0.0,
            ["loaded"] * 6 + [""] * 4,
            "was disturbed in 60 % of the measurements: more was "
            "running than the machine has cores",
        ),
        (
            0.3,
            0.0,
            ["shared_gpu x"] * 6 + [""] * 4,
            "was disturbed in 60 % of the measurements: another process computed on the GPU",
        ),
    ],
)
def test_a_busy_or_changing_machine_compares_no_times(load, drift, flags, why):
    rows = frame(*(row(1.0, flags=flag, batch=i + 1) for i, flag in enumerate(flags)))
    found = trust(rows, facts(load, drift))
    assert found.why_not == why
    assert found.comparable is (not why)
    assert (found.load, found.cores, found.drift) == (load, 2, drift)


def test_an_old_run_that_noted_nothing_of_its_machine_is_believed():
    rows = frame(row(1.0))
    found = trust(rows, {"environments": {}})
    assert (found.comparable, found.load, found.drift) == (True, None, 0.0)
    assert found.measured_drift is None


def test_a_cell_that_was_not_reached_is_no_failure_but_nothing_is_known_of_it():
    late = [
        row(
            None,
            status="interrupted",
            reason="the time was over before this cell",
            phase="step",
            forward="minimax",
            backward="loewner",
            problem=HARD,
            size=64,
        )
    ]
    board = only_board(
        method("minimax", 1.0, {EASY: 1e-6}) + late, method("eigh", 2.0, {EASY: 1e-6, HARD: 2e-2})
    )
    assert kinds.HARD not in by_name(board)["minimax"].marks
    assert board.unreached == 1
    assert decision.right_lines(board) == [by_name(board)["eigh"]]
    assert choose(board, 0.0) is None
    told = [s.text for s in advice.sentences(board, None, QUIET)]
    assert told[0].startswith("This run is not complete: 1 cell of this table")
    busy = [s.text for s in advice.sentences(board, None, QUIET._replace(why_not="was busy"))]
    assert busy[0] == "This run is not complete either: 1 cell of this table was not reached."
    assert not any("command resumes it" in text for text in busy), "one remedy, not two"
    assert not any("everywhere" in text for text in busy)
    other = only_board(*(method(name, 1.0, {EASY: 1e-6}, size=32) for name in ("eigh", "svd")))
    assert list(advice.elsewhere([board, other], other, 0.0)) == [
        "With gradient, n = 64, batch 64: 1 cell not reached"
    ]


def test_another_function_is_said_in_words():
    shown = only_board(*(method(name, 1.0, {EASY: 1e-6}) for name in ("eigh", "svd")))
    features = only_board(
        *(method(name, 1.0, {EASY: 1e-6}, function="sqrt_x") for name in ("eigh", "svd"))
    )
    (text,) = advice.elsewhere([shown, features], shown, 0.0)
    assert text.startswith("With gradient, n = 64, batch 64, from features (sqrt_x): ")


def test_of_several_runs_the_busiest_one_spoils_the_table():
    rows = frame(*(row(1.0, problem=p, noise="quiet") for p in (EASY, HARD)))
    rows["run_id"] = ["f" * 12, "r" * 12]
    known = facts(0.3)
    known["runs"]["f" * 12] = known["runs"]["r" * 12] | {"load_start": [9.0, 0, 0]}
    found = trust(rows, known)
    assert found.why_not == "was busy when one of its runs began: load 9.0 on 2 cores"
    assert len(found.runs) == 2


def on(environment, device="cuda", **given):
    identity = {"code_hash": "c0de", "environment": environment, "run_id": "r" * 12}
    return row(1.0, device=device, identity=identity, noise="quiet", **given)


def gpu_machines(*models, **more):
    """Facts of machines 0, 1, ... with these GPUs; no GPU for an empty name."""
    environments = {
        str(i): {"cpu": "Xeon", "gpus": [{"name": model}] * bool(model), "driver": 580} | more
        for i, model in enumerate(models)
    }
    return {"environments": environments, "runs": {}}


def test_rows_of_gpus_of_two_models_compare_no_times_and_the_models_are_named():
    rows = frame(on("0"), on("1", problem=HARD))
    found = trust(rows, gpu_machines("NVIDIA H100", "NVIDIA H200"))
    assert found.why_not == (
        "was not the same for all rows: some are of NVIDIA H100 (driver 580); Xeon, others of "
        "NVIDIA H200 (driver 580); Xeon"
    )
    assert (found.comparable, found.mixed) == (False, True)
    told = advice.warning(found, "--fresh")
    assert told.endswith("Measure all rows on one machine, or each machine in a run of its own.\n")
    assert "--fresh" not in told


def test_machines_that_differ_in_what_is_not_named_are_told_apart():
    known = gpu_machines("NVIDIA H200", "NVIDIA H200")
    known["environments"]["1"]["python"] = "3.13"
    assert mixture(frame(on("0"), on("1", problem=HARD)), known) == [
        "NVIDIA H200 (driver 580); Xeon (environment 0)",
        "NVIDIA H200 (driver 580); Xeon (environment 1)",
    ]


def test_one_machine_is_no_mixture_whatever_it_was_called_and_with_both_of_its_devices():
    both = frame(on("0"), on("1", device="cpu"))
    found = trust(both, gpu_machines("NVIDIA H200", ""))
    assert (found.comparable, found.mixed) == (True, False)
    older = gpu_machines("NVIDIA H200", "NVIDIA H200")  # hashed by the rules of another version
    assert mixture(frame(on("0"), on("1", problem=HARD)), older) == []


@pytest.mark.parametrize(("load", "busy"), [(0.2, False), (3.0, False), (3.1, True)])
def test_a_busy_machine_is_known_before_anything_is_measured(monkeypatch, load, busy):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 9.0, 9.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert busy_now() == (f"load {load} on 2 cores" if busy else "")


# Another precision


def test_what_computed_in_another_precision_is_shown_and_never_recommended():
    """Its errors stay to be seen, as they are right; only that it competes is denied."""
    errors = {EASY: 1e-6, HARD: 1e-6}
    wide = method("svd", 1e-6, {EASY: 1e-9, HARD: 1e-9}, computed_in="float64")
    board = only_board(wide, method("eigh", 1e-3, errors))
    found = by_name(board)
    assert found["svd"].computed_in == "float64"
    assert not found["svd"].competes
    assert {mark.error for mark in found["svd"].marks.values()} == {1e-9}
    assert all(mark.right for mark in found["svd"].marks.values())
    assert choose(board, 0.0) is found["eigh"]
