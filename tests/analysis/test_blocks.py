"""Blocks, ranks, conclusions and their print, from tables made by hand."""

import io
import itertools

import pytest
from helpers.methods_of_tables import EIGH, NS, SMALL, SVD
from helpers.tables import CONTROL, frame, row
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mssbench.analysis import blocks as pivot
from mssbench.analysis import conclusions
from mssbench.analysis.blocks import SPLIT, blocks
from mssbench.console import blocks as console
from mssbench.console import epilogue
from mssbench.errors import TableError
from mssbench.records.schema import KEY
from mssbench.results import labels
from mssbench.results.labels import LABELS

LONG = {
    **NS,
    "iterations": 12,
    "options": "backward_norm=frobenius norm=min_ws_minc",
    "backward": "lyapunov_newton_schulz",
    "backward_iterations": 12,
}
FACTS = {
    "environments": {
        "e" * 12: {
            "cpu": "AMD EPYC",
            "cores": {"granted": 16, "logical": 16, "physical": 8},
            "gpus": [{"name": "NVIDIA H200"}] * 2,
            "driver": "580.1",
            "versions": {"torch": "2.13.0", "cupy": None, "numpy": "2.4.6"},
        }
    }
}


def printed(renderables, width=100, **options):
    out = io.StringIO()
    paper = Console(file=out, width=width, highlight=False, emoji=False, **options)
    for part in renderables:
        paper.print(part)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def shown(*rows, width=100, axes=(("method",), ("size",)), value="seconds_median"):
    return printed(console.result(frame(*rows), blocks(frame(*rows), *axes, value)), width)


def one(*rows, **options):
    (block,) = blocks(frame(*rows), **options)
    return block


def entry(block, row, column):
    return block.entries[row][column]


def test_a_block_is_printed_in_full():
    assert (
        shown(*SMALL)
        == """\
forward · sqrt · float32 · batch 64 · cpu · wall clock

  method                                   n = 16   root error                 n = 64   root error
 ──────────────────────────────────────────────────────────────────────────────────────────────────
  torch/eigh                      1.00 ms (1.00x)   1e-06             20.0 ms (1.00x)   2e-06
  torch/svd                       2.00 ms (2.00x)   2e-07             50.0 ms (2.50x)   5e-07
  torch/newton_schulz k=5 trace    500 us (0.50x)   2e-01                           -   oom
                                                    inaccurate

"""
    )


def test_the_epilogue_is_printed_in_full():
    assert (
        printed(epilogue.epilogue(frame(*SMALL), FACTS))
        == """\

forward, n = 64: fastest with a root error of at most 1e-06 is torch/svd, 50.0 ms (root error 5e-07,
on singular matrices). Nothing here is clearly more accurate. Faster: torch/eigh, 0.40x the time at
error 2e-06.
inaccurate: 1 cell: timed, but cannot win
oom: 1 cell: wanted 9 GiB
measured on 2 x NVIDIA H200 (driver 580.1); AMD EPYC, 16 cores; torch 2.13.0, numpy 2.4.6
"""
    )


def test_rows_of_several_environments_are_named_and_warned_of():
    other = {**SMALL[0], "environment": "f" * 12, "size": 99}
    text = printed(epilogue.epilogue(frame(*SMALL, other), FACTS))
    assert "These rows are of several environments: their times cannot be compared." in text
    assert "environment eeeeeeeeeeee: 2 x NVIDIA H200" in text
    assert "environment ffffffffffff: an unknown machine" in text


def test_a_cpu_and_a_gpu_of_one_run_are_two_machines_but_no_mixture():
    """The worker of the CPU sees no GPU. Conclusions are drawn on each device."""
    known = FACTS["environments"]["e" * 12]
    both = {"environments": {"e" * 12: known, "f" * 12: known | {"gpus": []}}}
    rows = [
        row(seconds, forward=forward, root=1e-6, device=device)
        | {"environment": name, "noise": "quiet"}
        for device, name in (("cuda", "e" * 12), ("cpu", "f" * 12))
        for forward, seconds in (("eigh", 1e-3), ("svd", 5e-3))
    ]
    text = printed(epilogue.epilogue(frame(*rows), both), width=200)
    assert "several environments" not in text
    assert "measured on 2 x NVIDIA H200 (driver 580.1); AMD EPYC, 16 cores" in text
    assert "measured on AMD EPYC, 16 cores" in text
    assert text.count("fastest with a root error") == 2


def test_a_row_of_several_methods_has_the_numbers_of_the_best_that_is_ok():
    ns = {"forward": "newton_schulz"}
    rows = [
        row(2e-3, iterations=5, status="inaccurate", root=0.5, **ns),
        row(4e-3, iterations=12, root=1e-6, **ns),
        row(9e-3, iterations=20, root=1e-7, **ns),
        row(5e-3, root=1e-8),
    ]
    (block,) = pivot.blocks(frame(*rows), rows=("backend",))
    entry = block.entries[("torch/newton_schulz",)][(16,)]
    assert (entry.value, entry.error, entry.ok, entry.best) == (4e-3, 1e-6, True, True)
    assert entry.method == "torch/newton_schulz k=12"
    text = printed(console.result(frame(*rows), blocks(frame(*rows), ("backend",))))
    assert "the best over iterations (4); --rows method takes them apart" in text


def test_nobody_wins_where_environments_are_mixed():
    other = {**SMALL[0], "environment": "f" * 12, "seed": 1}
    assert conclusions.conclusions(frame(*SMALL))
    assert conclusions.conclusions(frame(*SMALL, other)) == []


def test_facts_that_an_older_file_lacks_are_left_out():
    few = {"environments": {"e" * 12: {"cpu": "AMD EPYC"}}}
    assert conclusions.machines(frame(*SMALL), few) == ["measured on AMD EPYC"]


def test_rows_that_ran_nowhere_name_no_machine():
    nowhere = row(None, status="not_installed", identity={"environment": ""})
    assert conclusions.machines(frame(nowhere), FACTS) == []


def test_at_80_columns_names_fold_and_numbers_do_not():
    rows = [
        row(x, phase="step", root=1e-7, gradient=3e-4, size=n, **how)
        for n, x in ((16, 123e-6), (64, 4.56e-3), (256, 7.89e-1))
        for how in (LONG, {**EIGH, "backward": "loewner"})
    ]
    text = shown(*rows, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert CONTROL.search(text) is None
    for number in ("123 us (1.00x)", "4.56 ms (1.00x)", "789 ms (1.00x)"):
        assert text.count(number) == 2
    assert text.count("3e-04") == 6
    assert text.count("\n  lyapunov_newton_schulz k=12 frobenius") == 3
    assert text.count("grad error") == 3


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140, 200])
def test_no_width_cuts_a_number_or_a_word(width):
    rows = [
        row(x, root=0.5, status=status, size=2**n, problem="p" * 30, **how)
        for n in range(1, 9)
        for x, status, how in ((1e-3 * n, "ok", EIGH), (1e-3, "inaccurate", NS))
    ]
    text = shown(*rows, width=width, axes=(("problem", "method"), ("size",)))
    assert max(map(len, text.splitlines())) <= width
    for n in range(1, 9):
        assert f"{n}.00 ms (" in text
        assert f"n = {2**n}" in text
    assert text.count("inaccurate") == 8
    assert "…" not in text


def test_many_columns_stand_in_several_tables_each_with_the_title():
    rows = [row(1e-3, root=1e-7, size=2**n, **how) for n in range(1, 9) for how in (EIGH, SVD)]
    text = shown(*rows, width=80)
    assert text.count("forward · sqrt · float32") == 4
    assert [f"n = {2**n}" in text for n in range(1, 9)] == [True] * 8


def test_markup_and_emoji_in_a_text_are_printed_as_they_are():
    rows = [row(1e-3, problem="[red]x[/red] :smile:", root=1e-7, **how) for how in (EIGH, SVD)]
    assert "[red]x[/red] :smile:" in shown(*rows, axes=(("problem", "method"), ("size",)))


@pytest.mark.parametrize("name", SPLIT)
def test_what_differs_in_a_split_axis_shares_no_block(name):
    a, b = row(1e-3, root=1e-7), row(1e-9, root=1e-9, forward="svd")
    b[name] = {"batch": 7}.get(name, "other")
    found = blocks(frame(a, b))
    assert len(found) == 2
    assert all(e.ratio is None for b in found for r in b.entries.values() for e in r.values())


@pytest.mark.parametrize("where", ["rows", "columns"])
@pytest.mark.parametrize("name", [n for n in KEY if n not in LABELS["method"]])
def test_what_differs_in_more_than_its_method_is_never_ranked_together(name, where):
    """Also where the axis was asked for, as rows or columns of one block."""
    other = 7 if name in ("size", "batch", "seed") else "other"
    pair = [row(1e-3, root=1e-7, **EIGH), row(2e-3, root=1e-7, **SVD)]
    rows = [*pair, *({**r, name: other, "seconds_median": r["seconds_median"] / 100} for r in pair)]
    axes = {"rows": ["method"], "columns": ["size"] if name != "size" else ["seed"]}
    axes[where] = [name, *axes[where]] if where == "rows" else [name]
    if name == "size" and where == "rows":
        axes["columns"] = ["seed"]
    block = one(*rows, **axes)
    entries = [e for by in block.entries.values() for e in by.values()]
    assert sorted(e.ratio for e in entries) == [1, 1, 2, 2]
    assert sum(e.best for e in entries) == 2


@pytest.mark.parametrize("status", ["inaccurate", "diverged", "nonfinite"])
def test_a_wrong_answer_keeps_its_time_but_wins_nothing(status):
    block = one(
        row(1e-3, root=1e-7, **EIGH),
        row(1e-5, root=2.0, status=status, **SVD),
        row(3e-3, root=1e-7, **NS),
    )
    wrong = entry(block, ("torch/svd",), (16,))
    assert (wrong.value, wrong.best, wrong.words) == (1e-5, False, status)
    assert wrong.ratio == pytest.approx(0.01)
    assert entry(block, ("torch/eigh",), (16,)).best
    assert entry(block, ("torch/newton_schulz k=5 trace",), (16,)).ratio == pytest.approx(3)
    assert list(block.entries)[-1] == ("torch/svd",)


def test_without_a_right_answer_there_is_no_ratio():
    block = one(row(1e-3, root=2, status="inaccurate"), row(2e-3, status="nonfinite", **SVD))
    assert all(e.ratio is None and not e.best for r in block.entries.values() for e in r.values())


def test_a_method_alone_is_not_the_best_of_anything():
    assert entry(one(row(1e-3)), ("torch/eigh",), (16,)).ratio is None


def test_equal_times_are_both_best():
    block = one(row(1e-3, **EIGH), row(1e-3, **SVD))
    assert [e[(16,)].best for e in block.entries.values()] == [True, True]


def test_a_wrong_answer_in_the_best_time_is_not_best():
    block = one(row(1e-3, **EIGH), row(1e-3, status="inaccurate", **SVD))
    assert [e[(16,)].best for e in block.entries.values()] == [True, False]


def test_a_number_is_the_median_time_with_the_worst_error_and_says_over_what():
    rows = [
        row(x, root=e, problem=p, **how)
        for how in (EIGH, SVD)
        for x, e, p in ((1e-3, 1e-7, "a"), (2e-3, 1e-3, "b"), (9e-3, 1e-5, "c"))
    ]
    block = one(*rows)
    found = entry(block, ("torch/eigh",), (16,))
    assert (found.value, found.error, block.hidden) == (2e-3, 1e-3, {"problem": 3})
    over = "medians and worst errors over problem (3, singular); --columns size,problem takes them"
    assert over in shown(*rows)


@pytest.mark.parametrize("value", ["root_error", "peak_bytes"])
def test_of_errors_and_memory_the_worst_is_shown(value):
    rows = [row(1e-3, root=e, peak_bytes=e, problem=p) for e, p in ((1, "a"), (2, "b"), (9, "c"))]
    assert entry(one(*rows, value=value), ("torch/eigh",), (16,)).value == 9
    assert "worst values" in shown(*rows, value=value)


def test_failures_behind_a_number_are_counted_in_words():
    rows = [
        row(1e-3, root=1e-7, problem="a"),
        row(2e-3, root=0.5, status="inaccurate", problem="b"),
        row(None, status="timeout", problem="c"),
    ]
    found = entry(one(*rows), ("torch/eigh",), (16,))
    assert found.words == "inaccurate 1/3, timeout 1/3"
    assert not found.ok


def test_who_has_not_done_every_problem_does_not_win():
    """The median over the easy ones is no answer to the same question."""
    rows = [row(1e-3, problem=p, **EIGH) for p in "abc"] + [row(1e-6, problem="a", **SVD)]
    block = one(*rows)
    found = entry(block, ("torch/svd",), (16,))
    assert (found.words, found.best) == ("partial 1/3", False)
    assert entry(block, ("torch/eigh",), (16,)).best


def test_two_methods_with_nothing_in_common_are_not_compared():
    block = one(row(1e-3, problem="a", **EIGH), row(1e-6, problem="b", **SVD))
    assert [e[(16,)].words for e in block.entries.values()] == ["partial 1/2"] * 2
    assert all(e[(16,)].ratio is None for e in block.entries.values())


def test_phases_stand_in_the_order_of_a_program():
    rows = [
        row(1e-3, phase=p, backward="none" if p == "forward" else "loewner")
        for p in ("step", "backward", "forward")
    ]
    assert [b.common["phase"] for b in blocks(frame(*rows))] == ["forward", "backward", "step"]


def test_a_block_without_a_number_is_named_not_shown():
    rows = [row(1e-3, **EIGH), row(2e-3, **SVD)]
    rows += [
        row(None, library="cupy", device="cuda", clock=c, status="not_installed")
        for c in ("wall", "gpu")
    ]
    text = shown(*rows)
    assert "torch/eigh" in text
    assert "cupy" not in text
    assert text.splitlines()[-1] == "nothing was measured for cuda, gpu clock"


def test_a_table_without_any_number_shows_its_failures_as_words():
    text = shown(row(None, status="crashed", reason="no"), row(None, status="oom", **SVD))
    assert [line.split() for line in text.splitlines()[-3:-1]] == [
        ["torch/eigh", "-", "crashed"],
        ["torch/svd", "-", "oom"],
    ]


def test_missing_steps_are_a_column_too():
    block = one(row(1e-3, **EIGH), row(2e-3, **NS), rows=["forward"], columns=["iterations"])
    assert block.columns == [(None,), (5,)]
    assert labels.spoken("iterations", None) == "k = -"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": ["metod"]}, "--rows: Unknown column 'metod'. Did you mean 'method'? Known: "),
        ({"columns": ["sizes"]}, "--columns: Unknown column 'sizes'. Did you mean 'size'? Known: "),
        ({"value": "seconds"}, "--value: Unknown value 'seconds'. Did you mean 'seconds_"),
        ({"value": "size"}, "--value: the column 'size' holds no measured number."),
        ({"rows": []}, "--rows is empty: name a key column, such as method or size."),
        ({"columns": []}, "--columns is empty: name a key column, such as method or size."),
        ({"rows": ["size"]}, "'size' is named twice in --rows and --columns."),
    ],
    ids=lambda x: str(x)[:30],
)
def test_unfit_axes_are_refused(options, said):
    with pytest.raises(TableError) as caught:
        blocks(frame(row(1e-3)), **options)
    assert str(caught.value).startswith(said)


def concluded(*rows):
    return conclusions.conclusions(frame(*rows))


def test_the_fastest_at_a_stated_error_and_the_other_ends_of_the_trade():
    rows = [row(1e-3, root=3e-5, **EIGH), row(5e-3, root=1e-7, **SVD), row(1e-4, root=3e-2, **NS)]
    assert concluded(*rows) == [
        "forward, n = 16: fastest with a root error of at most 1e-04 is torch/eigh, 1.00 ms (root "
        "error 3e-05, on singular matrices). More accurate: torch/svd, error 1e-07 at 5.00x the "
        "time. Faster: "
        "torch/newton_schulz k=5 trace, 0.10x the time at error 3e-02."
    ]


def test_equal_times_are_called_a_tie():
    rows = [row(1e-3, root=1e-7, **EIGH), row(1e-3, root=1e-7, **SVD)]
    assert concluded(*rows) == [
        "forward, n = 16: fastest with a root error of at most 1e-06 is torch/eigh (tied with "
        "torch/svd), 1.00 ms (root error 1e-07, on singular matrices). "
        "Nothing here is clearly more accurate."
    ]


def test_overlapping_intervals_are_a_tie_and_separate_ones_are_not():
    def said(spread):
        (text,) = concluded(
            row(1.00e-3, root=1e-7, spread=spread, **EIGH),
            row(1.04e-3, root=1e-7, spread=spread, **SVD),
        )
        return "tied with" in text

    assert said(0.05)
    assert not said(0.001)


def test_one_method_only_is_not_called_fastest():
    assert concluded(row(1e-3, root=1e-7)) == [
        "forward, n = 16: torch/eigh takes 1.00 ms (root error 1e-07, on singular matrices); "
        "no other method was measured."
    ]


def test_one_right_method_among_wrong_ones():
    rows = [row(1e-3, root=1e-7), row(1e-5, root=2, status="diverged", **SVD)]
    assert concluded(*rows) == [
        "forward, n = 16: only torch/eigh is ok: 1.00 ms (root error 1e-07, on singular matrices)."
    ]


def test_no_right_method():
    rows = [row(1e-3, root=2, status="inaccurate"), row(1e-5, status="nonfinite", **SVD)]
    assert concluded(*rows) == ["forward, n = 16: no method is ok."]


def test_nothing_measured_concludes_nothing():
    assert concluded(row(None, status="oom"), row(None, status="timeout", **SVD)) == []


def test_a_singular_problem_has_no_gradient_error_and_no_limit_is_claimed():
    rows = [
        row(1e-3, phase="step", backward="loewner", root=1e-7, **EIGH),
        row(2e-3, phase="step", backward="loewner", root=1e-7, **SVD),
    ]
    assert concluded(*rows) == [
        "step, n = 16: fastest is torch/eigh + loewner, 1.00 ms (gradient error unknown)."
    ]


def test_a_large_allowed_error_is_not_rounded_down_to_a_limit():
    rows = [row(1e-3, root=0.4, **EIGH), row(2e-3, root=0.5, **SVD)]
    assert concluded(*rows)[0].startswith("forward, n = 16: fastest is torch/eigh, 1.00 ms")


def test_each_block_is_concluded_at_its_own_largest_size_and_told_apart():
    rows = [
        row(n * 1e-3, root=1e-7, size=s, precision=p, **how)
        for n, how in ((1, EIGH), (9, SVD))
        for s, p in ((16, "float32"), (64, "float32"), (8, "float64"))
    ]
    assert [c.partition(":")[0] for c in concluded(*rows)] == [
        "forward, float32, n = 64",
        "forward, float64, n = 8",
    ]


methods = st.sampled_from([EIGH, SVD, NS])
statuses = st.sampled_from(["ok", "inaccurate", "nonfinite", "timeout"])


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            methods,
            st.sampled_from("ab"),
            st.sampled_from([4, 8]),
            statuses,
            st.floats(1e-6, 1),
            st.floats(1e-9, 1),
        ),
        min_size=1,
        unique_by=lambda t: (t[0]["forward"], *t[1:3]),
    )
)
def test_what_is_best_is_ok_and_no_ok_rival_is_faster(points):
    rows = [
        row(x if s != "timeout" else None, root=e, status=s, problem=p, size=n, **how)
        for how, p, n, s, x, e in points
    ]
    for block in blocks(frame(*rows)):
        for column in block.columns:
            here = [r[column] for r in block.entries.values() if column in r]
            for a, b in itertools.permutations(here, 2):
                assert not (a.best and not a.ok)
                assert not (a.best and b.ok and b.value < a.value)
            assert sum(e.rows for e in here) == sum(n == column[0] for _, _, n, *_ in points)
    conclusions.conclusions(frame(*rows))


def test_what_is_not_told_apart_from_the_best_is_best_too():
    def marked(value, *rows):
        (block,) = blocks(frame(*rows), value=value)
        return [e.best for row in sorted(block.entries) for e in block.entries[row].values()]

    near = [row(1.0, spread=0.06, **EIGH), row(1.1, spread=0.06, **SVD), row(1.3, **NS)]
    assert sum(marked("seconds_median", *near)) == 2
    far = [row(1.0, spread=0.04, **EIGH), row(1.1, spread=0.04, **SVD), row(1.3, **NS)]
    assert sum(marked("seconds_median", *far)) == 1
    wrong = [row(1.0, **EIGH), row(1.0, status="inaccurate", **SVD), row(1.3, **NS)]
    assert sum(marked("seconds_median", *wrong)) == 1
    assert sum(marked("seconds_min", *near)) == 1  # whose interval is not known


def test_failures_are_counted_by_cell_with_every_reason():
    rows = [
        row(None, status="crashed", reason=f"error {min(n, 3)}", seed=n, phase=p)
        for n in range(9)
        for p in ("backward", "step")
    ]
    rows += [row(1.0, status="inaccurate", root=0.5, reason="0.5 > 0.1", **SVD)]
    crashed, wrong = conclusions.failures(frame(*rows))
    assert (crashed.cells, crashed.methods) == (9, 1)
    assert crashed.reasons == (("error 3", 6), ("error 0", 1), ("error 1", 1), ("error 2", 1))
    assert wrong == ("inaccurate", 1, 1, ())
    text = printed(list(epilogue.epilogue(frame(*rows), FACTS)))
    assert "crashed: 9 cells\n  6 x error 3\n  1 x error 0\n  1 x error 1\n" in text
    assert "  1 x for 1 other reason (--json has all)" in text
