"""`conditions.chosen`: the rows that an option leaves, and what a user is told otherwise."""

import pytest
from helpers.tables import called, frame, row, write

from mssbench.errors import SuiteError, TableError
from mssbench.results import conditions
from mssbench.results.labels import with_labels
from mssbench.suite import select

ROWS = with_labels(frame(row(1e-3), row(2e-3, size=32), row(3e-3, size=32, forward="svd")))


def test_chosen_keeps_the_rows_with_their_index():
    assert conditions.chosen(ROWS, "size == 32", "--where").index.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("size = 3", "--where 'size = 3' is not an expression: "),
        ("siz == 3", "--where 'siz == 3': Unknown column 'siz'. Did you mean 'size'?"),
        ("size == 3", "--where 'size == 3' leaves none of the 3 rows."),
        (
            "forward == 'eig'",
            "--where \"forward == 'eig'\" leaves none of the 3 rows. Unknown forward 'eig'. "
            "Did you mean 'eigh'? Known: eigh, svd.",
        ),
    ],
)
def test_messages_begin_with_the_option(expression, message):
    with pytest.raises(TableError) as caught:
        conditions.chosen(ROWS, expression, "--where")
    assert str(caught.value).startswith(message)


def test_a_reader_says_what_an_empty_selection_leaves():
    with pytest.raises(TableError) as caught:
        conditions.chosen(ROWS, "size == 3", "--only", none="no row of here")
    assert (
        str(caught.value)
        == "--only 'size == 3' leaves no row of here. Present values of size: 16, 32."
    )


def test_a_hint_names_no_value_that_a_row_has():
    with pytest.raises(TableError) as caught:
        conditions.chosen(ROWS, "forward == 'svd' and size == 16", "--where")
    assert str(caught.value).endswith("leaves none of the 3 rows.")


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("status == 'crashed'", "No row has the status 'crashed'. Present: ok."),
        ("status == 'crash'", "Unknown status 'crash'."),
        ("precision in ['float64', 'tf32']", "No row has the precision 'float64'. Present: float"),
        ("size > 10000", "Present values of size: 16, 32."),
        ("size < 64 and batch > 64", "Present values of batch: 64."),
        ("seconds_median > 1", "Present values of seconds_median: 0.001, 0.002, 0.003."),
        ("iterations > 1", "No row has iterations."),
    ],
)
def test_an_empty_selection_says_which_values_there_are(expression: str, hint: str) -> None:
    with pytest.raises(TableError) as caught:
        conditions.chosen(ROWS, expression, "--where")
    assert f"leaves none of the 3 rows. {hint}" in str(caught.value)


def test_of_many_values_the_ends_are_named() -> None:
    many = [{"size": n} for n in range(1, 20)]
    assert conditions.why_empty(many, "size > 99") == " Present values of size: 1 to 19."


def test_select_may_leave_nothing_and_names_no_source_by_itself():
    assert conditions.select(ROWS, "size == 3").empty
    with pytest.raises(TableError, match=r"^'size' is no condition|^'size': column"):
        conditions.select(ROWS, "size")


def test_every_reader_tells_it_in_its_words(tmp_path, capsys):
    run = write(tmp_path / "run", row(1e-3))
    shown = called(capsys, "show", run, "--where", "size == 3")
    says = "mssbench: --where 'size == 3' leaves none of the 1 rows. Present values of size: 16.\n"
    assert shown == (2, "", says)
    exported = called(capsys, "export", run, "--to", "csv", "--only", "size == 3")
    says = f"mssbench: --only 'size == 3' leaves no row of {run}. Present values of size: 16.\n"
    assert exported == (2, "", says)
    with pytest.raises(SuiteError, match=r"^--only 'size == 99' leaves none of the \d+ cells\."):
        select.choose("smoke", [], "size == 99", None, "cpu", [])


def test_none_in_a_list_stands_for_a_missing_value() -> None:
    rows = frame(row(1.0, iterations=5), row(1.0, iterations=7), row(1.0))
    found = conditions.select(rows, "iterations in [None, 5]")
    assert found["iterations"].fillna(0).tolist() == [5, 0]
    assert len(conditions.select(rows, "iterations in [5]")) == 1
    assert len(conditions.select(rows, "options in [None, 'x']")) == 3
