"""Tables in the spelling of mssbench are read and written quickly, and exactly like all others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tables import row, write

from mssbench.errors import MssbenchError
from mssbench.records.schema import COLUMNS, SCHEMA_VERSION
from mssbench.results import as_written, parsing, rows
from mssbench.results.folder import RunFolder


@pytest.fixture
def table(tmp_path: Path) -> bytes:
    """A table of rows with and without times, with all kinds of values."""
    run = write(
        tmp_path / "run",
        row(1e-3, seed=1, host_sync=True, root=1e-6),
        row(2e-3, seed=2, iterations=5),
        row(status="crashed", reason="é is not e", seed=3, host_sync=False),
    )
    return (run / "table.csv").read_bytes()


def put(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_bytes(data)
    return tmp_path / "other"


def test_a_table_of_mssbench_is_read_without_the_other_reader(table: bytes) -> None:
    found = as_written.rows_of(table)
    assert found == parsing.rows_of(Path("table.csv"), table)
    assert [list(each) for each in found] == [list(COLUMNS)] * 3


def test_a_table_without_rows_has_none(tmp_path: Path) -> None:
    assert as_written.rows_of(rows.header()) == []
    assert as_written.read(tmp_path) == []
    assert as_written.read(put(tmp_path, b"")) == []


def edit(old: str, new: str, count: int = -1) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = data.replace(old.encode(), new.encode(), count)
        assert changed != data
        return changed

    return change


def last_line_twice(data: bytes) -> bytes:
    return data + data.splitlines(keepends=True)[-1]


# How other programs spell a table, and damage. The one reader leaves all of it to the other.
OTHERWISE: dict[str, Callable[[bytes], bytes]] = {
    "line ends of Windows": edit("\n", "\r\n"),
    "old line ends": edit("\n", "\r"),
    "byte-order mark": lambda data: b"\xef\xbb\xbf" + data,
    "quotes": edit(",ok,", ',"ok",'),
    "a comma in quotes": edit("é is not e", '"é, not e"'),
    "a line break in quotes": edit("é is not e", '"é\nnot e"'),
    "12.0": edit(",16,64,", ",16.0,64,"),
    "a sign": edit(",16,64,", ",+16,64,"),
    "other digits": edit(",16,64,", ",\u0661\u0666,64,"),
    "too large": edit(",16,64,", f",{2**63},64,"),
    "no number": edit(",16,64,", ",x,64,"),
    "TRUE": edit("True", "TRUE"),
    "NA for a missing number": edit(",,,,", ",,NA,,", 1),
    "NA at the end of a line": edit(f",{SCHEMA_VERSION}\n", ",NA\n"),
    "NA as a reason": edit("é is not e", "NA"),
    "NA of every column": lambda data: data + b",".join([b"NA"] * len(COLUMNS)) + b"\n",
    "blanks around a number": edit(",0.001,", ", 0.001 ,"),
    "an underscore": edit(",0.001,", ",0.0_01,"),
    "below zero": edit(",0.001,", ",-0.001,"),
    "no number among the times": edit(",0.001,", ",fast,"),
    "a time is missing": edit(",0.001,", ",,", 1),
    "an unknown status": edit(",ok,", ",fine,"),
    "no status": edit(",ok,", ",,"),
    "no phase": edit(",forward,", ",,"),
    "a field too few": edit(",16,64,", ",16,"),
    "a field too many": edit(",16,64,", ",16,64,64,"),
    "columns in another order": edit("library,forward", "forward,library"),
    "a column of row numbers": edit("\n", "\n1,"),
    "a torn last line": lambda data: data[:-30],
    "no last line break": lambda data: data[:-1],
    "an empty line": edit("\n", "\n\n"),
    "a NUL": edit("é is not e", "\0"),
    "not UTF-8": lambda data: data.replace("é".encode(), b"\xe9"),
    "a row twice": last_line_twice,
    "a newer version": edit(f",{SCHEMA_VERSION}\n", f",{SCHEMA_VERSION + 1}\n"),
    "a version that is no number": edit(f",{SCHEMA_VERSION}\n", ",new\n"),
    "a pointer of Git LFS": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
    "something else": lambda _: b"a,b\n1,2\n",
    "a huge field": lambda data: data.replace("é".encode(), b"e" * 200_000),
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_whatever_is_spelled_otherwise_is_left_to_the_other_reader(
    tmp_path: Path, table: bytes, change: Callable[[bytes], bytes]
) -> None:
    data = change(table)
    assert as_written.rows_of(data) is None

    def outcome(read: Callable[[Path], object]) -> object:
        try:
            return read(folder)
        except MssbenchError as error:
            return type(error), str(error)

    folder = put(tmp_path, data)
    assert outcome(as_written.read) == outcome(rows.peek)


def test_the_rows_of_a_journal_take_part(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.finish([row(1e-3, seed=1)])
        folder.append([row(2e-3, seed=2)], [[2e-3]])
        assert [each["seed"] for each in folder.rows()] == ["1", "2"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"reason": 'a comma, a "quote"'},
        {"reason": "two\nlines\u2028or three\0"},
        {"reason": "\ud800"},
        {"iterations": 5, "host_sync": None, "root_error": 1e-300},
        {"seconds_median": None},
    ],
)
def test_rows_are_written_as_the_csv_module_writes_them(
    table: bytes, change: dict[str, object]
) -> None:
    read = as_written.rows_of(table)
    assert read is not None
    changed = [*read, read[0] | change, *read]
    assert as_written.to_csv(changed) == rows.as_csv(changed)


def test_rows_of_an_older_table_are_written_with_all_columns(table: bytes) -> None:
    read = as_written.rows_of(table)
    assert read is not None
    older = [{k: v for k, v in each.items() if k != "condition"} for each in read]
    assert as_written.to_csv(older) == rows.as_csv(older)


def test_many_rows_are_written_in_their_order(
    table: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_written, "_BLOCK", 2)
    read = as_written.rows_of(table)
    assert rows.header() + as_written.to_csv(read or []) == table
    assert as_written.to_csv([]) == b""
