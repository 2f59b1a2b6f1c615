"""What a column and a row mean is said once: writers, directions, `usable` and `error`."""

import subprocess
import sys
from math import inf, isnan, nan

import pytest
from helpers.tables import called, frame, row, write

from mssbench.analysis.blocks import blocks
from mssbench.cli import run as run_
from mssbench.console.terminal import plain
from mssbench.records.cell import format_options
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED
from mssbench.records.schema import BY_NAME, SCHEMA, error_column
from mssbench.results.labels import counted, counts_as_ok, label, with_labels, with_outcomes
from mssbench.results.table import typed
from mssbench.suite.thresholds import LIMITED, SECONDS

DOUBTED = f"loaded {ABOVE_CEILING}"


@pytest.mark.parametrize(
    ("name", "x", "text", "figure"),
    [
        ("seconds_median", 4.22e-6, "4.22 us", "4.22 us"),
        ("peak_bytes", 1.5 * 2**20, "1.50 MiB", "1.50 MiB"),
        ("gradient_error", 3.14e-7, "3e-07", "3.14e-07"),
        ("residual", 0.0123, "1e-02", "0.0123"),
        ("products", 12.0, "12.0", "12.0"),
        ("nonfinite", 3, "3.00", "3.00"),  # a count, though it belongs to the errors
        ("limit_fraction", 0.5, "0.500", "0.500"),
        ("seconds_median", None, "-", "-"),
        ("root_error", inf, "-", "-"),
    ],
)
def test_a_column_knows_how_it_is_written(name, x, text, figure):
    assert (BY_NAME[name].text(x), BY_NAME[name].figure(x)) == (text, figure)


def test_every_column_has_a_direction_or_none():
    ranked = {c.name: c.better for c in SCHEMA if c.better}
    assert {*ranked.values()} == {"smaller", "larger"}
    assert [name for name, better in ranked.items() if better == "larger"] == ["problem_fraction"]
    assert all(BY_NAME[name].kind in ("int", "float") for name in ranked)
    unranked = {c.name for c in SCHEMA if c.kind in ("int", "float") and not c.better}
    described = {"samples", "calls", "passes", "spread", "checked", "nonfinite", "reference_error"}
    assert described | {"limit_seconds", "limit_fraction"} <= unranked


def test_what_a_limit_is_set_on_is_better_where_it_is_smaller():
    columns = {SECONDS.get(name, name) for name in LIMITED}
    # any matrix that is not finite has a status of its own, so that nobody is ranked by it
    assert {name for name in columns if BY_NAME[name].better != "smaller"} == {"nonfinite"}


def test_times_and_work_are_pooled_by_their_median_and_the_rest_by_the_worst():
    groups = {"time": "median", "work": "median", "memory": "worst", "error": "worst"}
    assert {c.name: c.pooled for c in SCHEMA} == {c.name: groups.get(c.group, "") for c in SCHEMA}


@pytest.mark.parametrize(("value", "shown"), [("seconds_median", 2e-3), ("peak_bytes", 3.0)])
def test_blocks_pool_a_column_as_it_says(value, shown):
    seeds = [row(1e-3 * k, seed=k, root=1e-6, peak_bytes=float(k)) for k in (1, 2, 3)]
    (entry,) = blocks(frame(*seeds), value=value)[0].entries.values()
    assert entry[(16,)].value == pytest.approx(shown)


@pytest.mark.parametrize(("value", "ranked"), [("products", True), ("problem_fraction", False)])
def test_blocks_rank_by_the_direction_of_a_column(value, ranked):
    rows = [row(1e-3, **{value: 1.0}), row(1e-3, forward="svd", **{value: 2.0})]
    entries = [e[(16,)] for e in blocks(frame(*rows), value=value)[0].entries.values()]
    assert [e.best for e in entries] == [ranked, False]


def test_the_error_of_a_row_is_that_of_what_its_phase_computes():
    assert [error_column(phase) for phase in ("forward", "backward", "step")] == [
        "root_error",
        "gradient_error",
        "gradient_error",
    ]
    both = {"root": 1.0, "gradient": 2.0}
    rows = [row(1e-3, phase=phase, **both) for phase in ("forward", "backward", "step")]
    assert with_outcomes(frame(*rows))["error"].tolist() == [1.0, 2.0, 2.0]
    assert isnan(with_outcomes(frame(row(1e-3)))["error"].item())


@pytest.mark.parametrize(
    ("status", "flags", "ended", "usable"),
    [
        ("ok", "", "ok", True),
        ("ok", "loaded", "ok", True),
        ("ok", DOUBTED, ABOVE_CEILING, False),
        ("inaccurate", "", "inaccurate", False),
        ("inaccurate", DOUBTED, ABOVE_CEILING, False),
        ("oom", "", "oom", False),
        ("ok", UNVERIFIED, UNVERIFIED, False),
        ("ok", f"loaded {UNVERIFIED}", UNVERIFIED, False),
        ("inaccurate", UNVERIFIED, "inaccurate", False),
        ("ok", f"{DOUBTED} {UNVERIFIED}", ABOVE_CEILING, False),
    ],
)
def test_usable_is_what_is_ok_and_not_above_its_ceiling(status, flags, ended, usable):
    (found,) = with_outcomes(frame(row(1e-3, status=status, flags=flags))).to_dict("records")
    assert (found["ended"], found["usable"]) == (ended, usable)
    assert counts_as_ok(row(1e-3, status=status, flags=flags)) is usable


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e10, "1e10"), (1234567.5, "1234567.5"), (0.5, "0.5"), (5.0, "5.0"), (10**10, "10000000000")],
)
def test_a_number_with_many_zeros_is_a_power_of_ten(value, text):
    made = row(1.0, backward="svd_trunc", options=format_options({"backward_limit": value}))
    assert label(made).endswith(f" limit={text}")


@pytest.mark.parametrize(
    ("status", "flags", "ended"),
    [
        ("ok", "", OTHER_PRECISION),
        ("inaccurate", "", "inaccurate"),
        ("ok", UNVERIFIED, UNVERIFIED),
        ("ok", DOUBTED, ABOVE_CEILING),
    ],
)
def test_what_was_computed_in_another_precision_may_not_win(status, flags, ended):
    made = row(1e-3, status=status, flags=flags, computed_in="float64")
    (found,) = with_outcomes(frame(made)).to_dict("records")
    assert (found["ended"], found["usable"]) == (ended, False)
    assert not counts_as_ok(made)
    (block,) = blocks(frame(made, row(2e-3, forward="svd", root=1e-7)))
    assert [name for (name,), e in block.entries.items() if e[(16,)].best] == ["torch/svd"]


def test_a_table_from_before_the_column_reads_as_it_did():
    old = frame(row(1e-3)).drop(columns="computed_in")
    (found,) = with_outcomes(typed(old)).to_dict("records")
    assert (found["computed_in"], found["ended"], found["usable"]) == ("", "ok", True)


def test_outcomes_stand_beside_labels_and_leave_the_table_as_it_was():
    table = with_labels(frame(row(1e-3, flags=DOUBTED)))
    before = table.copy()
    added = with_outcomes(table).columns.difference(table.columns)
    assert set(added) == {"ended", "usable", "error"}
    assert counted(table).tolist() == [ABOVE_CEILING]
    blocks(table)
    assert table.equals(before)


def test_labels_add_no_outcome_that_a_condition_could_name(tmp_path, capsys):
    run = write(tmp_path / "run", row(1e-3))
    code, out, err = called(capsys, "show", run, "--where", "error > 1")
    assert (code, out) == (2, "")
    assert "Unknown column 'error'. Did you mean 'root_error'?" in err


def test_show_lists_what_is_above_its_ceiling_among_the_failures(tmp_path, capsys):
    rows = [row(1e-3, root=1e-7), row(1e-4, forward="svd", flags=DOUBTED, root=1e-7)]
    run = write(tmp_path / "run", *rows)
    assert f"\n{ABOVE_CEILING}: 1 cell\n" in called(capsys, "show", run)[1]
    assert '"status": "above_ceiling"' in called(capsys, "show", run, "--json")[1]
    assert f"\n{ABOVE_CEILING}: 1 cell\n" not in plain(run_.tables(run))


def test_a_claim_counts_no_time_above_its_ceiling():
    from mssbench.analysis.claims import ClaimVerdict, judge_claims

    claim = {
        "claim": "svd is faster",
        "source": "here",
        "value": "seconds_median",
        "left": "forward == 'svd'",
        "relation": "<",
        "right": "forward == 'eigh'",
    }
    slow, fast = row(1e-3, root=1e-7), {"forward": "svd", "root": 1e-7}
    (holds,) = judge_claims([claim], frame(slow, row(1e-5, **fast)))
    assert holds.verdict is ClaimVerdict.HOLDS
    (doubted,) = judge_claims([claim], frame(slow, row(1e-5, flags=DOUBTED, **fast)))
    assert doubted.verdict is ClaimVerdict.UNMEASURED


@pytest.mark.parametrize(("value", "error"), [("seconds_median", 1e-6), ("residual", None)])
def test_no_error_stands_beside_an_error(value, error):
    (block,) = blocks(frame(row(1e-3, root=1e-6, residual=1e-5)), value=value)
    (entry,) = block.entries.values()
    assert (entry[(16,)].error, block.error) == (error, error and "root_error")


def test_the_schema_loads_no_pandas():
    code = "import sys, mssbench.records.schema; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nan_is_written_as_a_dash():
    assert BY_NAME["seconds_median"].text(nan) == "-"
