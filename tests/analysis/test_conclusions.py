"""What a run's sentences may say: nothing that was not measured, or that no time can carry.

The tables are made by hand, so that what is true of them is known.
"""

import pandas as pd
import pytest
from helpers.tables import called, frame, row, write

from mssbench.analysis import conclusions
from mssbench.analysis.blocks import blocks
from mssbench.records.noise import UNVERIFIED

EIGH = {"forward": "eigh"}
SVD = {"forward": "svd"}
ENDS = "no matrices of size 96: it ends at n = 64"
RUN = "r" * 12


def said(*rows, drift=None) -> list[str]:
    return conclusions.conclusions(frame(*rows), {"runs": {RUN: {"drift": drift}}})


def untried(status: str, reason: str = ENDS, **where) -> list[dict]:
    return [row(status=status, reason=reason, flags="", **how, **where) for how in (EIGH, SVD)]


def tried(**where) -> list[dict]:
    return [
        row(1e-3, root=1e-6, flags="", **EIGH, **where),
        row(5e-3, root=1e-6, flags="", **SVD, **where),
    ]


def best(table: pd.DataFrame, size: int) -> set[str]:
    (block,) = blocks(table)
    return {key[0] for key, entries in block.entries.items() if entries[(size,)].best}


UNTRIED = ["unsupported", "not_installed", "unavailable", "interrupted"]


@pytest.mark.parametrize("status", UNTRIED)
def test_a_size_that_was_never_tried_is_not_concluded_about(status: str) -> None:
    (sentence,) = said(*tried(size=64), *untried(status, size=96))
    assert sentence.startswith("forward, n = 64: fastest with a root error of at most 1e-06 is ")
    assert "torch/eigh, 1.00 ms" in sentence


@pytest.mark.parametrize("status", UNTRIED)
def test_a_problem_that_has_no_matrices_there_makes_no_method_bad(status: str) -> None:
    """Any `quick` above n = 64 said `no method is ok`, as one of its three problems ends there."""
    rows = [
        *tried(size=96, problem="wishart(ratio=2)"),
        *tried(size=96, problem="logspec(condition=10)"),
        *untried(status, size=96, problem="convfeat(positions=49)"),
    ]
    (sentence,) = said(*rows)
    assert "torch/eigh, 1.00 ms (largest root error 1e-06, over singular matrices)" in sentence
    assert best(frame(*rows), 96) == {"torch/eigh"}
    (block,) = blocks(frame(*rows))
    assert block.omissions() == [f"left out at n = 96: convfeat(positions=49) ({status})"]


def test_what_one_method_alone_lacks_still_counts_against_it() -> None:
    """SVD alone is missing on one problem: it is that method's fault, and it cannot win."""
    rows = [
        *tried(problem="wishart(ratio=2)"),
        row(9e-3, root=1e-6, problem="logspec(condition=10)", flags="", **EIGH),
        row(status="unsupported", reason="no such", problem="logspec(condition=10)", **SVD),
    ]
    (sentence,) = said(*rows)
    assert "only torch/eigh is ok everywhere" in sentence
    assert blocks(frame(*rows))[0].omissions() == []


@pytest.mark.parametrize("status", ["crashed", "timeout", "oom"])
def test_a_problem_on_which_all_methods_failed_is_not_left_out(status: str) -> None:
    rows = [*tried(problem="wishart(ratio=2)"), *untried(status, problem="logspec(condition=10)")]
    assert said(*rows) == ["forward, n = 16: no method is ok everywhere."]


def test_a_size_at_which_every_method_failed_is_concluded_about() -> None:
    rows = [*tried(size=16), *untried("timeout", size=64)]
    assert said(*rows) == ["forward, n = 64: no method is ok."]


def unsure(problem: str) -> list[dict]:
    """The second method is much the faster where nobody knows what is right."""
    return [
        row(1e-3, root=0.9, flags=UNVERIFIED, problem=problem, **EIGH),
        row(1e-6, root=0.9, flags=UNVERIFIED, problem=problem, **SVD),
    ]


def test_no_method_is_ranked_where_the_reference_itself_is_not_known() -> None:
    alone = unsure("convfeat(positions=49)")
    assert said(*alone) == [
        "forward, n = 16: no method is ranked: the error of the reference itself exceeds the limit "
        "of errors."
    ]
    assert best(frame(*alone), 16) == set()

    (sentence,) = said(*tried(problem="wishart(ratio=2)"), *alone)
    assert "is torch/eigh, 1.00 ms (root error 1e-06, on singular matrices)" in sentence
    assert sentence.endswith(
        "On convfeat(positions=49) (singular) no method is ranked: the error of the reference "
        "itself exceeds the limit of errors."
    )


def test_what_computed_in_float64_does_not_compete_as_float32() -> None:
    wide = row(1e-6, root=1e-9, library="numpy", computed_in="float64", flags="")
    (sentence,) = said(*tried(), wide)
    assert "numpy" not in sentence
    assert said(wide) == [
        "forward, n = 16: no method is ranked: the library computed in a precision other than "
        "the row's, see the column computed_in."
    ]


def test_one_library_of_another_precision_is_not_why_the_others_are_wrong() -> None:
    wide = row(1e-6, root=1e-9, library="numpy", computed_in="float64", flags="")
    wrong = row(1e-3, root=0.5, status="inaccurate", flags="", **EIGH)
    assert said(wide, wrong) == ["forward, n = 16: no method is ok."]


def test_it_is_so_though_one_of_the_methods_failed_there() -> None:
    failed = row(1e-9, root=3.0, status="diverged", flags=UNVERIFIED, problem="p", forward="taylor")
    (sentence,) = said(
        *tried(problem="wishart(ratio=2)"),
        row(2e-3, root=1e-6, problem="wishart(ratio=2)", flags="", forward="taylor"),
        *unsure("p"),
        failed,
    )
    assert "On p (singular) no method is ranked" in sentence


@pytest.mark.parametrize(("drift", "named"), [(None, True), (0.49, True), (31.97, False)])
def test_nobody_is_fastest_on_a_machine_that_was_another_at_the_end(
    drift: float | None, named: bool
) -> None:
    sentences = said(*tried(), drift=drift)
    assert ("fastest with" in " ".join(sentences)) is named
    if not named:
        assert sentences == [
            "forward, n = 16: 2 methods are ok, and not ranked: the machine changed its speed "
            "by 3197 % during the run.",
            "No method is called fastest, as the times were disturbed: stop the other processes "
            "that `top` shows, and measure again with --fresh.",
        ]


@pytest.mark.parametrize(("flagged", "named"), [(0, True), (1, True), (2, False)])
@pytest.mark.parametrize("flag", ["loaded", "shared_gpu"])
def test_nobody_is_fastest_beside_other_work(flag: str, flagged: int, named: bool) -> None:
    rows = tried()
    for each in rows[:flagged]:
        each["flags"] = f"remeasured {flag}"
    sentences = said(*rows)
    assert ("fastest with" in " ".join(sentences)) is named
    assert named or "the machine was disturbed in 100 % of the measurements" in sentences[0]
    for each in rows:
        each["flags"] = "queue_gap"  # that is no other work
    assert len(said(*rows)) == 1


@pytest.mark.parametrize(
    ("seconds", "called_"),
    [
        (1.05e-3, "torch/eigh (tied with torch/svd)"),
        (1.2e-3, "torch/eigh (tied with torch/svd)"),
        (7.23e-3, "torch/eigh (not told apart from torch/svd at 7.23x, as intervals overlap)"),
    ],
)
def test_a_time_several_times_as_long_is_not_called_tied(seconds: float, called_: str) -> None:
    """`show` called 7.23x a tie, because the wide intervals of two unstable rows overlapped."""
    wide = {"noise": "unstable", "spread": 0.9, "root": 1e-6, "flags": ""}
    rows = [row(1e-3, **EIGH, **wide), row(seconds, **SVD, **wide)]
    (sentence,) = said(*rows)
    assert f"is {called_}, 1.00 ms" in sentence
    assert "Faster" not in sentence
    names = {"torch/eigh", "torch/svd"} if seconds < 1.3e-3 else {"torch/eigh"}
    assert best(frame(*rows), 16) == names


def test_the_remedy_names_the_tables_that_it_is_about() -> None:
    calm = [{**each, "noise": "quiet"} for each in tried()]
    step = {"phase": "step", "backward": "loewner", "flags": "loaded", "noise": "quiet"}
    busy = [row(1e-3, gradient=1e-6, **EIGH, **step), row(5e-3, gradient=1e-6, **SVD, **step)]
    *_, remedy = said(*calm, *busy)
    assert remedy.startswith(
        "No method is called fastest for step, n = 16, as the times there were disturbed: stop"
    )


def test_every_way_out_hears_of_the_drift(tmp_path, capsys) -> None:
    run = write(tmp_path / "run", *tried())
    (run / "environment.json").write_text(
        f'{{"environments": {{}}, "runs": {{"{RUN}": {{"drift": 31.97}}}}}}'
    )
    for arguments in (
        ("show", run),
        ("show", run, "--json"),
        ("export", run, "--to", "markdown"),
    ):
        code, out, _ = called(capsys, *arguments)
        assert code == 0
        words = " ".join(out.replace("\\", "").split())
        assert "fastest with" not in words, arguments
        assert "not ranked: the machine changed its speed by 3197 %" in words, arguments


def test_every_way_out_says_what_is_left_out(tmp_path, capsys) -> None:
    rows = [*tried(size=96), *untried("unsupported", size=96, problem="convfeat(positions=49)")]
    run = write(tmp_path / "run", *rows)
    for arguments in (("show", run), ("show", run, "--json")):
        _, out, _ = called(capsys, *arguments)
        assert "left out at n = 96: convfeat(positions=49) (unsupported)" in out, arguments
