"""`mssbench.load`: the table with a name for each method, which the file does not have."""

import pandas as pd
import pytest
from helpers.root import ROOT
from helpers.tables import row, write
from hypothesis import given, settings
from hypothesis import strategies as st

import mssbench
from mssbench.records.cell import format_options
from mssbench.records.schema import COLUMNS
from mssbench.results import table
from mssbench.results.labels import METHOD, with_labels


def names(tmp_path, *rows):
    return list(mssbench.load(write(tmp_path / "run", *rows))["method"])


def test_a_method_has_the_name_that_tables_print(tmp_path):
    assert names(
        tmp_path,
        row(1.0, forward="eigh", backward="loewner"),
        row(1.0, forward="eigh", backward="loewner", size=32),
        row(1.0, library="numpy", forward="svd"),
        row(1.0, forward="newton_schulz", backward="lyapunov_fused", iterations=5),
    ) == ["eigh + loewner", "eigh + loewner", "numpy/svd", "newton_schulz + lyapunov"]


def test_parameters_are_named_where_they_tell_methods_apart(tmp_path):
    assert names(
        tmp_path,
        row(1.0, forward="pade", iterations=5),
        row(1.0, forward="pade", iterations=7),
        row(1.0, forward="svd", options="driver=default"),
        row(1.0, forward="svd", options="driver=gesvd"),
        row(1.0, forward="svd"),
    ) == ["pade 5", "pade 7", "torch/svd + none driver=default", "svd gesvd", "torch/svd + none"]


def test_a_name_in_full_is_none_that_another_method_has_already(tmp_path):
    options = ("x=1", "x=1 y=default", "backward_x=1")
    mine = [row(1.0, library="numpy", backward="loewner", options=each) for each in options]
    assert names(tmp_path, *mine) == [f"numpy/eigh + loewner {each}" for each in options]


def test_the_other_columns_are_those_of_the_file_in_their_order(tmp_path):
    run = write(tmp_path / "run", row(1.0), row(None, status="oom", size=32))
    found = mssbench.load(run)
    assert list(found) == [*COLUMNS, "method"]
    assert found["method"].dtype == "str"
    pd.testing.assert_frame_equal(found[list(COLUMNS)], table.load(run), check_exact=True)


def test_a_table_without_rows_has_the_column_too(tmp_path):
    found = mssbench.load(write(tmp_path / "run"))
    assert (len(found), list(found)[-1]) == (0, "method")


words = st.sampled_from(["default", "a", "b", "1", "x=1", 1, 2.5, True])
options = st.dictionaries(st.sampled_from(["x", "y", "backward_x", "backward_y"]), words)
steps = st.none() | st.integers(1, 2)
methods = st.fixed_dictionaries(
    {
        "library": st.sampled_from(["torch", "numpy"]),
        "forward": st.sampled_from(["f", "g"]),
        "backward": st.sampled_from(["none", "lyapunov", "lyapunov_f"]),
        "iterations": steps,
        "backward_iterations": steps,
        "options": options.map(format_options),
    }
)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(methods, max_size=12))
def test_two_methods_never_have_one_name_and_what_is_read_is_written_again(
    tmp_path_factory, methods
):
    rows = [row(1.0, seed=i, **method) for i, method in enumerate(methods)]
    path = write(tmp_path_factory.mktemp("t") / "run", *rows)
    before = (path / "table.csv").read_bytes()
    found = mssbench.load(path)
    kinds = found.drop_duplicates([*METHOD, "method"])
    assert len(kinds) == len(found[list(METHOD)].drop_duplicates()) == kinds["method"].nunique()
    write(path, *table.records(found))
    assert (path / "table.csv").read_bytes() == before


@pytest.mark.parametrize("name", sorted(p.parent.name for p in ROOT.glob("results/*/table.csv")))
def test_of_every_run_that_is_kept_each_method_has_a_name_of_its_own(name):
    found = mssbench.load(ROOT / "results" / name)
    assert found["method"].nunique() == len(found[list(METHOD)].drop_duplicates())
    assert (found["method"] != "").all()
    labelled = with_labels(found)  # what tables are grouped by is not mixed up with it
    assert set(labelled["method"]) == set(
        with_labels(table.load(ROOT / "results" / name))["method"]
    )
