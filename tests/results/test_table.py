"""The table on disk: what is written is what is read; what is selected, merged and refused."""

import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from helpers.tables import IDENTITY, called, frame, row, write
from hypothesis import given, settings
from hypothesis import strategies as st

from mssbench.errors import TableError
from mssbench.records.schema import COLUMNS, SCHEMA, SCHEMA_VERSION
from mssbench.results import merge, table
from mssbench.results.conditions import select, why_empty
from mssbench.results.folder import RunFolder
from mssbench.results.rows import TABLE, read_rows, refuse_newer
from mssbench.results.table import load

KINDS = {"str": "str", "int": "Int64", "float": "float64", "bool": "boolean"}
ODD = ['a, "b"\nc', "π ≤ ∛", "", "NA", "None", "nan", "=1+1", "'", "x" * 400, "\ttab", "\r\n"]
EXTREME = [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0, 1e-300, math.inf, 1 / 3]


def read(tmp_path, *rows):
    return table.load(write(tmp_path / "run", *rows))


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_a_text_is_read_as_it_was_written(tmp_path, text):
    """The writer puts a text on one line; nothing else about it changes."""
    found = read(tmp_path, {**row(1.0), "reason": text}).loc[0, "reason"]
    assert found == (" ".join(text.split()) if set(text) & set("\r\n") else text)


def test_a_line_break_inside_quotes_is_read(tmp_path):
    """Not ours: someone edited the table with a spreadsheet. Megabytes are read in blocks."""
    reason = 'two\nlines, "quoted"' * 60
    with (tmp_path / "table.csv").open("w", newline="") as file:
        lines = csv.DictWriter(file, COLUMNS)
        lines.writeheader()
        lines.writerows({**row(1.0, seed=i), "reason": reason} for i in range(2000))
    assert set(table.load(tmp_path)["reason"]) == {reason}


@pytest.mark.parametrize("x", EXTREME, ids=str)
def test_a_float_is_read_to_the_last_bit(tmp_path, x):
    back = read(tmp_path, {**row(1.0), "root_error": x}).loc[0, "root_error"]
    assert back.hex() == x.hex()


numbers = st.none() | st.floats(allow_nan=False)
characters = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
texts = st.text(characters, max_size=30)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.tuples(numbers, numbers, st.none() | st.integers(0, 2**53), texts), min_size=1))
def test_load_of_write_is_identity(tmp_path_factory, values):
    rows = [
        {**row(None, seed=i), "root_error": a, "peak_bytes": b, "samples": n, "reason": text}
        for i, (a, b, n, text) in enumerate(values)
    ]
    path = write(tmp_path_factory.mktemp("t") / "run", *rows)
    first = table.load(path)
    assert table.records(first) == rows
    write(path, *table.records(first))
    pd.testing.assert_frame_equal(table.load(path), first, check_exact=True)


def test_dtypes_are_those_of_the_schema_even_when_nothing_was_measured(tmp_path):
    for rows in ([row(1e-3, root=1e-7, iterations=5)], [row(None, status="oom")]):
        found = read(tmp_path, *rows)
        assert list(found) == list(COLUMNS)
        assert {c: str(t) for c, t in found.dtypes.items()} == {
            c.name: KINDS[c.kind] for c in SCHEMA
        }


def test_a_missing_number_is_na_and_never_zero(tmp_path):
    found = read(tmp_path, row(None, status="timeout"))
    assert found.loc[0, ["seconds_median", "iterations", "samples", "nonfinite"]].isna().all()
    assert table.records(found)[0]["seconds_median"] is None


def test_an_empty_table_has_every_column(tmp_path):
    assert list(read(tmp_path)) == list(COLUMNS)


def test_an_older_table_without_newer_columns_still_reads(tmp_path):
    run = write(tmp_path / "run", row(1e-3, iterations=5))
    old = pd.read_csv(run / "table.csv", dtype=str).drop(
        columns=["gemms", "saved_bytes", "nonfinite", "code_hash", "schema"]
    )
    old.to_csv(run / "table.csv", index=False)
    found = table.load(run)
    assert list(found) == list(COLUMNS)
    assert found.loc[0, "seconds_median"] == 1e-3
    assert found.loc[0, "code_hash"] == ""
    assert found.loc[0, ["gemms", "nonfinite", "schema"]].isna().all()


def test_a_table_of_schema_1_reads_with_no_mean_absolute_error(tmp_path):
    run = write(tmp_path / "run", row(1e-3, root=1e-7) | {"root_mae": 3e-8, "schema": 1})
    old = pd.read_csv(run / "table.csv", dtype=str).drop(columns="root_mae")
    old.to_csv(run / "table.csv", index=False)
    found = table.load(run)
    assert found.loc[0, ["root_error", "schema"]].tolist() == [1e-7, 1]
    assert found["root_mae"].dtype == "float64"
    assert found["root_mae"].isna().all()


def test_a_torn_last_row_is_left_out_while_the_journal_has_it(tmp_path):
    whole, last = row(1e-3), row(2e-3, status="crashed", reason='broke, "badly"', seed=1)
    with RunFolder(tmp_path / "run") as folder:
        folder.append([whole], [[1e-3]])
        folder.append([last], [[2e-3]])
    file = tmp_path / "run" / "table.csv"
    data = file.read_bytes()
    for cut in range(1, 120, 7):  # also inside the quotes
        file.write_bytes(data[:-cut])
        assert table.records(table.load(tmp_path / "run")) == [whole, last]


def test_a_row_measured_again_is_read_from_the_journal(tmp_path):
    write(tmp_path / "run", row(1e-3), row(5e-3, seed=1))
    with RunFolder(tmp_path / "run") as folder:
        folder.append([row(2e-3)], [[2e-3]])
    found = table.load(tmp_path / "run")
    assert sorted(found["seconds_median"]) == [2e-3, 5e-3]


def test_a_missing_folder_of_runs_is_answered_with_the_run_that_is_meant(tmp_path):
    write(tmp_path / "results" / "quick", row(1.0))
    write(tmp_path / "results" / "paper", row(1.0))
    meant = tmp_path / "results" / "quick"
    assert refuse(tmp_path / "result" / "quick") == (
        f"there is no run in {tmp_path}/result/quick. Did you mean '{meant}'? There is no folder "
        f"{tmp_path}/result."
    )
    assert "Make one with" in refuse(tmp_path / "results" / "zzz")


@pytest.mark.parametrize("name", ["seconds_median", "status"])
def test_a_table_without_a_column_that_all_versions_have_is_refused(tmp_path, capsys, name):
    """`check` passed without a remark, as if no row of the run had been timed."""
    base, new = (write(tmp_path / x, row(1.0, root=1e-6)) for x in ("base", "new"))
    file = new / "table.csv"
    file.write_text(file.read_text().replace(name, "renamed", 1))
    for words in (("check", new, "--baseline", base), ("compare", base, new), ("show", new)):
        code, out, err = called(capsys, *words)
        assert (code, out) == (2, "")
        assert err == f"mssbench: {file} is not a result table: it has no column {name}.\n"


def test_a_damaged_header_is_refused_in_plain_words(tmp_path):
    run = write(tmp_path / "quick", row(1.0))
    (run / "table.csv").write_bytes(b"\x80\xff" + (run / "table.csv").read_bytes())
    said = refuse(run)
    assert said == f"{run / 'table.csv'} is not a result table: its first line is not UTF-8."


def refuse(path):
    with pytest.raises(TableError) as caught:
        table.load(path)
    return str(caught.value)


def test_a_missing_run_names_those_beside_it(tmp_path):
    for name in ("quick", "paper"):
        write(tmp_path / name, row(1.0))
    there = tmp_path / "quik"
    assert refuse(there) == (
        f"there is no run in {there}. Did you mean '{tmp_path}/quick'? Runs beside it: paper, "
        f"quick. Make one with `mssbench run quick --out {there}`."
    )


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path):
    run = write(tmp_path / "run", {**row(1.0), "schema": 7})
    assert refuse(run) == (
        f"{run}/table.csv has schema 7; this mssbench reads up to 5. "
        "Upgrade: pip install -U mssbench."
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it has no column library, forward, backward ..."),
        (b"a,b\n1,2\n", "it has no column library, forward, backward ..."),
        (
            b"\x89PNG\r\n\x1a\n\xff\xfe",
            "its first line is not UTF-8.",
        ),
    ],
    ids=["empty", "another table", "a picture"],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, data, said):
    file = tmp_path / "table.csv"
    file.write_bytes(data)
    assert refuse(file) == f"{file} is not a result table: {said}"


def test_a_number_that_is_none_is_refused_with_its_column(tmp_path):
    run = write(tmp_path / "run", {**row(1.0), "size": "many"})
    said = refuse(run)
    assert said.startswith(f"{run}/table.csv is damaged: line 2: size is 'many', which is not a ")


def test_a_broken_row_in_the_middle_is_not_passed_over(tmp_path):
    run = write(tmp_path / "run", row(1.0), row(2.0, seed=1))
    lines = (run / "table.csv").read_text().splitlines()
    (run / "table.csv").write_text("\n".join([*lines[:2], "<<<<<<< ours", lines[2], ""]))
    assert "line 3: it has 1 of " in refuse(run)


ROWS = [
    row(1e-3, root=1e-6),
    row(2e-3, root=1e-3, size=64, forward="newton_schulz", iterations=5, options="norm=trace"),
    row(None, status="not_installed", library="cupy", problem="logspec(condition=1000000.0)"),
]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("size > 32", [1]),
        ("16 <= size < 64", [0, 2]),
        ("size == 64 or library == 'cupy'", [1, 2]),
        ("not iterations > 3", [0, 2]),
        ("iterations == None", [0, 2]),
        ("iterations != None and iterations != 4", [1]),
        ("iterations != 4", [0, 1, 2]),
        ("seconds_median == None", [2]),
        ("size in [64, 128]", [1]),
        ("library not in ('cupy', 'numpy')", [0, 1]),
        ("'logspec' in problem", [2]),
        ("'log(' not in problem", [0, 1, 2]),
        ("seconds_median * 1000 + -1 > size / 64 - 1", [0, 1]),
        ("  size > 32 ", [1]),
        ("options == None", [0, 2]),
    ],
)
def test_an_expression_selects_rows(expression, kept):
    assert list(select(frame(*ROWS), expression).index) == kept


HINT = "is not allowed. Write comparisons of columns, joined by and, or, not."
QUOTE = "cannot be compared: quote texts, as in 'cpu', and write numbers without quotes."


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("__import__('os').system('true')", f"`__import__('os').system('true')` {HINT}"),
        ("(lambda: 1) == size", f"`lambda: 1` {HINT}"),
        ("size.__class__ == 1", f"`size.__class__` {HINT}"),
        ("size[0] == 1", f"`size[0]` {HINT}"),
        ("size @ size > 1", f"`size @ size` {HINT}"),
        ("size ** 99999999 > 1", f"`size ** 99999999` {HINT}"),
        ("f'{size}' == library", f"`f'{{size}}'` {HINT}"),
        ("[x for x in size] == 1", f"`[x for x in size]` {HINT}"),
        ("(size := 3) > 1", f"`(size := 3)` {HINT}"),
        ("size > 1 if library else 2", f"`size > 1 if library else 2` {HINT}"),
        ("{1: 2} == size", f"`{{1: 2}}` {HINT}"),
        ("size > 1j", f"`1j` {HINT}"),
        ("library == b'torch'", f"`b'torch'` {HINT}"),
        ("size is 3", "`is` is not allowed. Write == or !=."),
        ("size", "column 'size' (a number) is no condition: compare it with something."),
        ("True", "True is no condition: compare it with something."),
        ("size == 'many'", f"column 'size' (a number) and 'many' {QUOTE}"),
        ("library > 3", f"column 'library' (a text) and 3 {QUOTE}"),
        ("size in [1, 'x']", f"column 'size' (a number) and 'x' {QUOTE}"),
        ("size in 3", "write COLUMN in [VALUE, VALUE], or 'part' in COLUMN."),
        (
            "size > None",
            "column 'size' (a number) and None cannot be compared: compare with None by == or != "
            "only.",
        ),
        ("-library == 3", "column 'library' (a text) is not a number."),
        ("library * 3 == 'x'", "column 'library' (a text) is not a number."),
        ("3 > 2", "a comparison needs a column on one side."),
        ("1 / 0 > size", "it divides by zero."),
    ],
)
def test_an_expression_can_only_compare(expression, said):
    with pytest.raises(TableError) as caught:
        select(frame(*ROWS), expression)
    assert str(caught.value) == f"{expression!r}: {said}"


@pytest.mark.parametrize("expression", ["size >", "@size > 1", "size > 1; import os", "", "`a`"])
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(TableError, match=r"is not an expression: .+\.$"):
        select(frame(*ROWS), expression)


@pytest.mark.parametrize("expression", ["(" * 5000 + "size" + ")" * 5000, "-" * 90000 + "1 < size"])
def test_an_endless_expression_is_refused(expression):
    with pytest.raises(TableError):
        select(frame(*ROWS), expression)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(
        TableError, match=r"Unknown column 'siz'\. Did you mean 'size'\? Nearest of "
    ):
        select(frame(*ROWS), "siz > 3")


def test_a_word_that_no_row_has_is_pointed_out():
    hint = why_empty(frame(*ROWS), "size > 3 and forward == 'eig'")
    assert hint == " Unknown forward 'eig'. Did you mean 'eigh'? Known: eigh, newton_schulz."


def statuses(merged):
    return list(zip(merged["seed"], merged["status"], merged["seconds_median"], strict=True))


def test_of_a_row_measured_twice_the_first_run_stands():
    merged = merge.merge_frames(
        [frame(row(1.0), row(2.0, seed=1)), frame(row(9.0), row(3.0, seed=2))]
    )
    assert statuses(merged) == [(0, "ok", 1.0), (1, "ok", 2.0), (2, "ok", 3.0)]


def test_a_measured_row_stands_before_a_missing_one_and_that_before_an_interrupted_one():
    first = frame(row(None, status="interrupted"), row(None, status="not_installed", seed=1))
    second = frame(row(None, status="unavailable"), row(2.0, status="inaccurate", seed=1))
    merged = merge.merge_frames([first, second])
    assert [s for _, s, _ in statuses(merged)] == ["unavailable", "inaccurate"]


def test_environments_are_not_mixed_unless_asked_for():
    other = frame(row(9.0, seed=1, identity=IDENTITY | {"environment": "f" * 12}))
    with pytest.raises(TableError) as caught:
        merge.merge_frames([frame(row(1.0)), other])
    assert str(caught.value) == (
        "these runs were measured in 2 environments (the facts of one are not known): their times "
        "cannot be compared. --mixed joins them anyway."
    )
    machines = {"e" * 12: {"cpu": "Alpha"}, "f" * 12: {"cpu": "Beta"}}
    with pytest.raises(TableError, match=r"2 environments \(cpu: Alpha then, Beta now\)"):
        merge.merge_frames([frame(row(1.0)), other], machines=machines)
    assert len(merge.merge_frames([frame(row(1.0)), other], mixed=True)) == 2


def test_records_are_plain_values():
    (one,) = table.records(frame(row(1e-3, iterations=5)))
    assert json.loads(json.dumps(one)) == one
    assert type(one["iterations"]) is int


def test_the_file_is_plain_csv_with_the_columns_of_the_schema(tmp_path):
    run = write(tmp_path / "run", row(1e-3))
    with (run / "table.csv").open() as lines:
        assert next(csv.reader(lines)) == list(COLUMNS)


def test_the_next_schema_is_refused_already(tmp_path):
    refuse_newer(tmp_path, [1, SCHEMA_VERSION])
    refuse_newer(tmp_path, [])
    with pytest.raises(TableError, match=f"has schema {SCHEMA_VERSION + 1}"):
        refuse_newer(tmp_path, [SCHEMA_VERSION + 1, 1])


@pytest.mark.parametrize(("cpu", "joined"), [("here", True), ("there", False)])
def test_runs_of_one_machine_are_joined_under_one_name(tmp_path, capsys, cpu, joined):
    """Two releases may call one machine by two hashes; its facts tell that it is one."""
    names = {"a" * 12: "here", "b" * 12: cpu}
    for size, (name, what) in zip((16, 32), names.items(), strict=True):
        run = write(tmp_path / name, row(1.0, size=size, identity=IDENTITY | {"environment": name}))
        facts = {"environments": {name: {"cpu": what, "load": size}}, "runs": {}}
        (run / "environment.json").write_text(json.dumps(facts))
    code, _, err = called(
        capsys, "merge", *(tmp_path / name for name in names), "--out", tmp_path / "out"
    )
    assert (code == 0) is joined
    assert ("2 environments" in err) is not joined
    if joined:
        assert set(table.load(tmp_path / "out")["environment"]) == {"a" * 12}


@pytest.mark.parametrize("place", ["first", "last", "quoted"])
def test_a_missing_value_of_r_is_read_wherever_its_column_stands(
    tmp_path: Path, place: str
) -> None:
    """`load`, which uses Arrow, and `read_rows` agree."""
    run = write(tmp_path / "run", row(1e-3), row(2e-3, seed=1))
    with (run / TABLE).open(newline="") as file:
        names, *lines = csv.reader(file)
    options = names.index("options")
    order = [i for i in range(len(names)) if i != options]
    order = [options, *order] if place == "first" else [*order, options]
    missing = '"NA"' if place == "quoted" else "NA"
    text = "".join(
        ",".join(words[i] or (missing if i == options else "") for i in order) + "\n"
        for words in (names, *lines)
    )
    (run / TABLE).write_text(text)
    assert list(load(run)["options"]) == ["", ""]
    assert [r["options"] for r in read_rows(run / TABLE)] == ["", ""]
