"""A run's folder: one writer, rows on disk as they are made, none lost, none twice."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers.runs import due_samples, sample_counts

from mssbench.errors import RunError, TableError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Row, Status
from mssbench.records.schema import COLUMNS
from mssbench.records.timing import Timing
from mssbench.results import files, locks, merge, samples
from mssbench.results import folder as folder_
from mssbench.results.folder import LOG, RunFolder, is_going_on
from mssbench.results.rows import (
    ENVIRONMENT,
    JOURNAL,
    SAMPLES,
    SUITE,
    TABLE,
    peek,
    read_journal,
    read_rows,
)


def cell(seed: int = 0) -> Cell:
    return Cell(
        "numpy",
        "eigh",
        "none",
        "sqrt",
        "wishart(ratio=4)",
        4,
        2,
        None,
        None,
        "",
        "float64",
        "cpu",
        seed,
    )


def row(seed: int = 0, **columns: Any) -> Row:
    timing = Timing((0.1 + 0.2, 1e-300, 1 / 3), 1, 5e-324)
    made = Measurement(cell(seed), "forward", "wall", "hot", Status.OK, timing=timing).row()
    return made | {"run_id": "r"} | columns


def append(run: RunFolder, *rows: Row, values: tuple[float, ...] = (1.0, 2.0)) -> None:
    for each in rows:
        run.append([each], [values if each["status"] == "ok" else ()])


def as_text(of: Row) -> Row:
    return {k: "" if v is None else str(v) for k, v in of.items()}


def seeds(rows: list[Row]) -> list[str]:
    return [r["seed"] for r in rows]


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        append(run, row(1))
        assert peek(run.path) == [as_text(row(1))]
        assert read_rows(run.path / TABLE) == [as_text(row(1))]
        append(run, row(2))
        assert [seeds(e["rows"]) for e in read_journal(run.path / JOURNAL)] == [[1], [2]]


def test_a_run_that_is_abandoned_keeps_its_rows_and_the_next_settles_them(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(2), row(1))
    assert not (tmp_path / SAMPLES).exists()
    with RunFolder(tmp_path) as run:
        rows = run.rows()
        assert rows == [as_text(row(2)), as_text(row(1))]
        append(run, row(0))
        run.finish(sorted([*rows, row(0)], key=lambda r: int(r["seed"])))
    assert seeds(read_rows(tmp_path / TABLE)) == ["0", "1", "2"]
    assert sum(sample_counts(tmp_path).values()) == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == [SAMPLES, TABLE]


@pytest.mark.parametrize("tail", [b"{", b'{"rows": [{"cell', b"\0\0\0\0", b"\xe2\x80"])
def test_a_torn_journal_loses_only_its_torn_line(tmp_path: Path, tail: bytes) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(tail)
    assert seeds(peek(tmp_path)) == ["1"]
    with RunFolder(tmp_path) as run:
        append(run, row(2))  # must not become the end of the torn line
    assert seeds(peek(tmp_path)) == ["1", "2"]
    assert [seeds(e["rows"]) for e in read_journal(tmp_path / JOURNAL)] == [[1], [2]]


def test_garbage_inside_a_journal_costs_only_itself(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b"\0\0\0\n[]\n{}\nnull\n\n")
    with RunFolder(tmp_path) as run:
        append(run, row(2))
    (tmp_path / TABLE).unlink()
    assert seeds(peek(tmp_path)) == ["1", "2"]


@pytest.mark.parametrize("kept", [1, 5, 40, 200])
def test_a_torn_table_loses_only_its_torn_line(tmp_path: Path, kept: int) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1), row(2, reason="a – b"))
    (tmp_path / JOURNAL).unlink()
    data = (tmp_path / TABLE).read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    (tmp_path / TABLE).write_bytes(data[: start + min(kept, len(data) - start - 1)])
    assert seeds(read_rows(tmp_path / TABLE)) == ["1"]
    with RunFolder(tmp_path) as run:
        append(run, row(3))
    assert seeds(read_rows(tmp_path / TABLE)) == ["1", "3"]


def test_a_table_torn_inside_a_letter_is_read(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1), row(2, reason="–"))
    data = (tmp_path / TABLE).read_bytes()
    (tmp_path / TABLE).write_bytes(data[: data.rfind("–".encode()) + 1])
    assert seeds(read_rows(tmp_path / TABLE)) == ["1"]


def test_a_table_torn_inside_its_header_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("library,forw")
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    assert read_rows(tmp_path / TABLE) == [as_text(row(1))]


@pytest.mark.parametrize(
    "number", [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.inf, 1e22, 123456789]
)
def test_a_number_comes_back_to_the_last_bit(tmp_path: Path, number: float) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(root_error=number))
        first = read_rows(tmp_path / TABLE)
        run.finish(run.rows())
    (second,) = read_rows(tmp_path / TABLE)
    assert first == [second]
    assert repr(type(number)(second["root_error"])) == repr(number)


def test_none_is_an_empty_field_and_zero_is_not(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(peak_bytes=None, nonfinite=0))
    (found,) = read_rows(tmp_path / TABLE)
    assert (found["peak_bytes"], found["nonfinite"]) == ("", "0")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('a, "b", c', 'a, "b", c'),
        ('"', '"'),
        (",,,", ",,,"),
        ("two\nlines\r\nand\x85three\u2028four", "two lines and three four"),
        ("half a pair \udcff", "half a pair ?"),
        ("zero \0 byte", "zero  byte"),
        ("Müller–Σ 😀", "Müller–Σ 😀"),
    ],
)
def test_a_reason_is_one_field_on_one_line(tmp_path: Path, said: str, kept: str) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1, reason=said), row(2))
        assert [r["reason"] for r in peek(tmp_path)] == [kept, ""]
        (tmp_path / JOURNAL).rename(tmp_path / "away")
        assert [r["reason"] for r in peek(tmp_path)] == [kept, ""]
        (tmp_path / "away").rename(tmp_path / JOURNAL)
        run.finish(run.rows())
    assert [r["reason"] for r in read_rows(tmp_path / TABLE)] == [kept, ""]
    assert (tmp_path / TABLE).read_bytes().count(b"\n") == 3


def test_the_newest_row_of_a_cell_counts(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1, status="crashed"), row(2), row(1))
        assert [(r["seed"], r["status"]) for r in run.rows()] == [("1", "ok"), ("2", "ok")]


def test_a_table_of_an_older_schema_gets_todays_columns(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    lines = (tmp_path / TABLE).read_text().splitlines()
    cut = COLUMNS.index("checked")
    old = [",".join(w for i, w in enumerate(line.split(",")) if i != cut) for line in lines]
    (tmp_path / TABLE).write_text("\n".join(old) + "\n")
    (tmp_path / JOURNAL).unlink()
    with RunFolder(tmp_path) as run:
        append(run, row(2))
    found = read_rows(tmp_path / TABLE)
    assert [(r["seed"], r["checked"], r["run_id"]) for r in found] == [
        ("1", "", "r"),
        ("2", "", "r"),
    ]


# What goes wrong while writing.


class Killed(BaseException):
    """Stands for the moment at which a process is gone."""


@pytest.mark.parametrize("step", range(4))
def test_a_kill_inside_finish_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(2), row(1, status="crashed"))
        run.finish([row(1, status="crashed"), row(2)])
    steps = iter(range(100))

    def dies(call: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    with pytest.raises(Killed), RunFolder(tmp_path) as run:  # noqa: PT012
        append(run, row(1), row(3))
        with monkeypatch.context() as patch:
            # four moments: before the samples, before they take their place, before the table
            # does, before the journal goes
            patch.setattr(samples, "settle", dies(samples.settle))
            patch.setattr(Path, "replace", dies(Path.replace))
            patch.setattr(Path, "unlink", dies(Path.unlink))
            run.finish([row(1), row(2), row(3)])
    assert {(r["seed"], r["status"]) for r in peek(tmp_path)} == {(s, "ok") for s in "123"}
    with RunFolder(tmp_path) as run:
        run.finish(sorted(run.rows(), key=lambda r: r["seed"]))
    assert seeds(read_rows(tmp_path / TABLE)) == ["1", "2", "3"]
    assert set(sample_counts(tmp_path).values()) == {2}
    assert len(sample_counts(tmp_path)) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [SAMPLES, TABLE]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every write fail when half of its bytes are there."""

    def fill() -> None:
        real = os.write

        def write(fd: int, data: bytes) -> int:
            if len(data) < 8:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(fd, data[: len(data) // 2])

        monkeypatch.setattr(files.os, "write", write)
        monkeypatch.setattr(files.os, "fsync", refuse)
        monkeypatch.setattr(samples.pq, "write_table", half_a_table)

    def half_a_table(_table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"PAR1")
        refuse()

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fill


def test_a_full_disk_takes_back_half_a_line_and_says_so(tmp_path: Path, full_disk: Any) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        full_disk()
        with pytest.raises(RunError, match=r"No space left on device.*intact.*run again"):
            append(run, row(2))
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_full_disk_at_the_end_leaves_everything_as_it_was(tmp_path: Path, full_disk: Any) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
        run.finish([row(1)])
    with RunFolder(tmp_path) as run:
        append(run, row(2))
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        full_disk()
        with pytest.raises(RunError, match="No space left"):
            run.finish([row(1), row(2)])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert set(before) == {TABLE, SAMPLES, JOURNAL}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written: Permission denied"):
        RunFolder(tmp_path / "run")


def test_a_folder_whose_parent_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert peek(tmp_path / "file" / "run") == []
    with pytest.raises(RunError, match="cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "run")


def test_what_a_killed_writer_left_half_done_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / ".suite.toml.4242").write_text("na")
    with RunFolder(tmp_path) as run:
        append(run, row(1))
        run.finish([row(1)])
    assert sorted(p.name for p in tmp_path.iterdir()) == [SAMPLES, TABLE]


# What is not ours.


def test_opening_writes_nothing(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        assert run.rows() == []
    assert not (tmp_path / "run").exists()


def test_fresh_spares_the_old_run_until_the_first_row(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
        run.write_suite("name = 'old'")
        run.finish([row(1)])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with RunFolder(tmp_path, fresh=True) as run:
        assert (run.rows(), run.suite(), run.facts()["runs"]) == ([], None, {})
        assert run.spares_old
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with RunFolder(tmp_path, fresh=True) as run:
        append(run, row(2))
        assert not run.spares_old
        assert seeds(run.rows()) == ["2"]
        run.finish(run.rows())
    assert len(sample_counts(tmp_path)) == 1
    assert not (tmp_path / SUITE).exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("photo.png", "", r"contains other files \('photo.png'\) and no run"),
        (TABLE, "a,b\n1,2\n", "not a result table: it has no column"),
        (TABLE, "no line at all", "not a result table: it has no column"),
        (TABLE, "\0\1\2", "not a result table"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_stays(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    for fresh in (False, True):
        with pytest.raises(RunError, match=message):
            RunFolder(tmp_path, fresh=fresh)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_a_damaged_environment_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    (tmp_path / ENVIRONMENT).write_text('{"runs"')
    with pytest.raises(RunError, match="is damaged"):
        RunFolder(tmp_path)


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    by_name = pytest.raises(RunError, match=rf"another run, process {os.getpid()} \(")
    with RunFolder(tmp_path), by_name:
        RunFolder(tmp_path)
    with RunFolder(tmp_path):
        pass  # the first has let go


def test_a_file_system_that_cannot_lock_folders_gets_a_lock_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = locks.fcntl.flock

    def nfs(fd: int, operation: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
            raise OSError(errno.EBADF, "locks need a file that is open for writing")
        real(fd, operation)

    monkeypatch.setattr(locks.fcntl, "flock", nfs)
    with RunFolder(tmp_path) as run:
        append(run, row(1))
        with pytest.raises(RunError, match="another run"):
            RunFolder(tmp_path)
        run.finish(run.rows())
        with pytest.raises(RunError, match="another run"):
            RunFolder(tmp_path)
    with RunFolder(tmp_path) as run:
        assert seeds(run.rows()) == ["1"]


# Samples.


def entry(*rows: Row, values: tuple[float, ...] = (1.0,)) -> dict[str, Any]:
    return {
        "rows": list(rows),
        "samples": [list(values) if r["status"] == "ok" else [] for r in rows],
    }


def kept_seconds(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for each in pq.read_table(path / SAMPLES).to_pylist():
        found.setdefault(each["cell_id"], []).append(each["seconds"])
    return found


def test_newer_samples_replace_a_cells_older_ones(tmp_path: Path) -> None:
    a, b = cell(1).cell_id, cell(2).cell_id
    samples.settle(tmp_path, [entry(row(1), values=(1.0, 2.0)), entry(row(2), values=(3.0,))])
    samples.settle(tmp_path, [entry(row(1), values=(9.0,)), entry(row(1), values=(4.0, 5.0, 6.0))])
    assert kept_seconds(tmp_path) == {a: [4.0, 5.0, 6.0], b: [3.0]}


def test_a_cell_that_crashes_now_loses_the_samples_it_had(tmp_path: Path) -> None:
    samples.settle(tmp_path, [entry(row(1)), entry(row(2))])
    samples.settle(tmp_path, [entry(row(1, status="crashed"))])
    assert set(kept_seconds(tmp_path)) == {cell(2).cell_id}


def run_of(path: Path, *rows: Row, values: tuple[float, ...], settle: bool = True) -> Path:
    with RunFolder(path) as run:
        append(run, *rows, values=values)
        if settle:
            run.finish(rows)
    return path


@pytest.mark.parametrize("settle", [True, False], ids=["finished", "killed"])
def test_merged_samples_are_those_behind_the_merged_rows(tmp_path: Path, settle: bool) -> None:
    lacks = {"status": "not_installed"}
    one = run_of(
        tmp_path / "1",
        *(
            row(s, run_id="1", **more)
            for s, more in (
                (1, {}),
                (2, {"status": "crashed"}),
                (3, {"status": "interrupted"}),
                (5, lacks),
            )
        ),
        values=(1.0,),
        settle=settle,
    )
    two = run_of(
        tmp_path / "2",
        *(row(s, run_id="2") for s in (1, 2, 3, 4, 5)),
        values=(2.0, 2.5),
        settle=settle,
    )
    copy = tmp_path / "copy"
    shutil.copytree(two, copy)
    merge.merge([one, two, copy], tmp_path / "all", mixed=True)
    first, _, third, fourth, fifth = (cell(s).cell_id for s in (1, 2, 3, 4, 5))
    # 2: the row that stands is the first run's crash, which has no samples
    assert kept_seconds(tmp_path / "all") == {first: [1.0]} | {
        each: [2.0, 2.5] for each in (third, fourth, fifth)
    }


def test_samples_are_counted_as_their_rows_say(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.append([row(1)], [[0.1, 0.2, 0.3]])
        run.finish([row(1)])
    assert due_samples(read_rows(tmp_path / TABLE)) == sample_counts(tmp_path)


# Locks.


def test_a_lock_is_waited_for_and_its_holder_named(tmp_path: Path) -> None:
    path = tmp_path / "gpu"
    path.touch()
    fd, ours = locks.hold(path)
    assert ours
    heard: list[str] = []

    def wait(who: str) -> bool:
        heard.append(who)
        if len(heard) == 2:
            os.close(fd)
        return True

    second = locks.wait_for(path, wait)
    assert second is not None
    os.close(second)
    assert len(heard) == 2
    assert heard[0].startswith(f"process {os.getpid()} (")


def test_waiting_for_a_lock_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "gpu"
    path.touch()
    fd, _ = locks.hold(path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert locks.wait_for(path, lambda _: False) is None
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    os.close(fd)


def test_a_lock_outlives_its_taker_in_who_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "gpu"
    path.touch()
    code = (
        "import fcntl, os, subprocess, sys\n"
        f"fd = os.open({str(path)!r}, os.O_RDONLY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "child = subprocess.Popen(['sleep', '60'], pass_fds=[fd], stdout=-3, stderr=-3)\n"
        "print(os.getpid(), child.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    taker, child = map(int, done.stdout.split())
    try:
        fd, ours = locks.hold(path)
        assert not ours
        who = f"process {child} (sleep), left behind by process {taker}, which is gone"
        assert locks.holder(fd) == f"{who} (`kill {child}` frees the device)"
        os.close(fd)
    finally:
        os.kill(child, 9)


def listing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have the kernel list these locks."""
    real = Path.read_text

    def read_text(path: Path, *arguments: Any, **more: Any) -> str:
        return text if str(path) == "/proc/locks" else real(path, *arguments, **more)

    monkeypatch.setattr(Path, "read_text", read_text)


def test_attack_a_file_of_the_same_number_on_another_file_system_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu"
    path.touch()
    fd, _ = locks.hold(path)
    (own,) = [
        line
        for line in Path("/proc/locks").read_text().splitlines()
        if f":{os.fstat(fd).st_ino} " in line
    ]
    device = own.split()[-3].rpartition(":")[0]
    other = own.replace(device, "0f:fe").replace(f" {os.getpid()} ", f" {os.getppid()} ")
    listing(monkeypatch, f"{other}\n{own}\n")
    assert locks.holder(fd).startswith(f"process {os.getpid()} (")
    listing(monkeypatch, f"{other}\n")
    assert not locks.held(path)
    assert locks.holder(fd) == "another process"
    locks.release(fd)


def test_attack_a_taker_that_lives_is_not_called_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gave its lock to another process: nobody is advised to kill that one."""
    path = tmp_path / "gpu"
    path.touch()
    fd, _ = locks.hold(path)
    who = locks.holder(fd)
    own = Path("/proc/locks").read_text()
    listing(monkeypatch, own.replace(f" {os.getpid()} ", f" {os.getppid()} "))
    assert locks.holder(fd) == who
    # a number that another process has by now is that of one that is gone
    with subprocess.Popen(["sleep", "60"]) as later:
        listing(monkeypatch, own.replace(f" {os.getpid()} ", f" {later.pid} "))
        said = locks.holder(fd)
        later.kill()
    assert f"left behind by process {later.pid}, which is gone" in said
    locks.release(fd)


def test_attack_a_lock_that_was_let_go_closes_nothing_in_a_child(tmp_path: Path) -> None:
    """The folder is opened again, and the descriptor has the number of the lock."""
    with RunFolder(tmp_path) as run:
        number = run._lock
    again = os.open(tmp_path, os.O_RDONLY)
    assert again == number
    child = os.fork()
    if child == 0:
        try:
            os.fstat(again)
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(again)
    assert status == 0


def test_a_child_closes_each_lock_of_its_parent_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs after a fork, run here: one lock, one that is closed, one number that is reused."""
    lock, gone, reused = (os.open(tmp_path, os.O_RDONLY) for _ in range(3))
    monkeypatch.setattr(locks, "_ours", {})
    for fd in (gone, reused, lock):
        locks.keep_from_children(fd)
    os.close(reused)
    (tmp_path / "file").touch()
    file = os.open(tmp_path / "file", os.O_RDONLY)
    os.dup2(file, reused)
    os.close(gone)
    locks._close_in_child()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lock)
    assert os.fstat(reused).st_ino == (tmp_path / "file").stat().st_ino
    assert locks._ours == {}  # or its own children would close what it opens
    for fd in {file, reused}:
        os.close(fd)


def test_where_the_descriptors_of_a_taker_are_hidden_the_list_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of another user's process: it is named while it lives."""
    path = tmp_path / "gpu"
    path.touch()
    fd, _ = locks.hold(path)
    own = Path("/proc/locks").read_text()
    monkeypatch.setattr(locks, "_holders", lambda _: iter(()))
    with subprocess.Popen(["sleep", "60"]) as taker:
        listing(monkeypatch, own.replace(f" {os.getpid()} ", f" {taker.pid} "))
        said = locks.holder(fd)
        taker.kill()
    assert said == f"process {taker.pid} (sleep)"
    assert locks.holder(fd) == f"a worker that process {taker.pid} left behind"
    locks.release(fd)


def test_a_taker_that_has_ended_unheard_is_gone(tmp_path: Path) -> None:
    """Its number is its own until its parent asks, and its child holds the lock."""
    path = tmp_path / "gpu"
    path.touch()
    code = (
        "import fcntl, os, subprocess\n"
        f"fd = os.open({str(path)!r}, os.O_RDONLY)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "child = subprocess.Popen(['sleep', '60'], pass_fds=[fd], stdout=-3, stderr=-3)\n"
        "print(child.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as taker:
        assert taker.stdout is not None
        child = int(taker.stdout.readline())
        try:
            os.waitid(os.P_PID, taker.pid, os.WEXITED | os.WNOWAIT)
            fd, ours = locks.hold(path)
            assert not ours
            who = f"process {child} (sleep), left behind by process {taker.pid}, which is gone"
            assert locks.holder(fd) == f"{who} (`kill {child}` frees the device)"
            os.close(fd)
        finally:
            os.kill(child, 9)


def test_a_lock_of_another_kind_on_a_file_holds_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu"
    path.touch()
    fd, _ = locks.hold(path)
    own = Path("/proc/locks").read_text()
    assert locks.held(path)
    listing(monkeypatch, own.replace(" FLOCK ", " POSIX "))
    assert not locks.held(path)
    locks.release(fd)


def test_a_holder_in_another_container_has_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    line = f"1: FLOCK  ADVISORY  WRITE 0 08:01:{os.fstat(fd).st_ino} 0 EOF\n"
    monkeypatch.setattr(Path, "read_text", lambda _: line)
    assert locks.holder(fd) == "another process"
    os.close(fd)


def test_a_run_goes_on_from_its_first_row_to_its_end_and_is_not_touched_by_who_asks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run"
    assert not is_going_on(path)
    with RunFolder(path) as folder:
        assert is_going_on(path)  # no row yet
        folder.append([row(1.0)], [[1.0]])
        assert is_going_on(path)
        folder.finish([row(1.0)])
    assert not is_going_on(path)
    (tmp_path / "notes.txt").touch()
    assert not is_going_on(tmp_path)  # a folder without a table, and no run's
    with RunFolder(path) as folder:  # it was not locked by anybody who asked
        folder.append([row(2.0)], [[2.0]])
    assert is_going_on(path)  # killed: its journal is there


def test_a_run_that_goes_on_with_old_rows_is_known_by_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.finish([row(1.0)])
    inode = (tmp_path / "run").stat().st_ino
    line = f"1: FLOCK  ADVISORY  WRITE 42 08:01:{inode} 0 EOF\n"
    monkeypatch.setattr(Path, "read_text", lambda _: line)
    assert is_going_on(tmp_path / "run")
    monkeypatch.setattr(Path, "read_text", lambda _: line.replace(f":{inode} ", ":1 "))
    assert not is_going_on(tmp_path / "run")


def test_appending_threads_do_not_share_a_folder(tmp_path: Path) -> None:
    taken: list[str] = []

    def attempt() -> None:
        try:
            RunFolder(tmp_path)
        except RunError as error:
            taken.append(str(error))

    with RunFolder(tmp_path):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert len(taken) == 1


def test_the_journal_is_json_that_any_tool_reads(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1, reason="Müller"), values=(0.1,))
    (line,) = (tmp_path / JOURNAL).read_text().splitlines()
    assert json.loads(line)["samples"] == [[0.1]]
    assert json.loads(line)["rows"][0]["reason"] == "Müller"


# ------------------------------------------------------------------------ what is not ours to touch


def test_a_table_of_a_newer_mssbench_is_refused_untouched(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.finish([row() | {"schema": 99}])
    table = tmp_path / TABLE
    table.write_bytes(
        table.read_bytes().replace(b"schema", b"schema,novel").replace(b"99", b"99,1")
    )
    before = table.read_bytes()
    for fresh in (False, True):
        with pytest.raises(TableError, match="has schema 99; this mssbench reads up to"):
            RunFolder(tmp_path, fresh=fresh)
    assert table.read_bytes() == before


def test_a_suite_alone_is_its_authors_and_no_run(tmp_path: Path) -> None:
    (tmp_path / SUITE).write_text('# mine\nname = "mine"\n')
    with pytest.raises(RunError, match="contains other files"):
        RunFolder(tmp_path)
    (tmp_path / ENVIRONMENT).write_text('{"not": "ours"}')
    with pytest.raises(RunError, match="contains other files"):
        RunFolder(tmp_path)
    (tmp_path / ENVIRONMENT).write_text('{"environments": {"e": {}}}')
    RunFolder(tmp_path).__exit__()  # a run that had just begun


def test_only_our_own_leftovers_are_cleared_away(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        run.finish([row()])
    editors, ours = tmp_path / f".{SUITE}.swp", tmp_path / f".{TABLE}.4711"
    editors.write_text("an unsaved thought")
    ours.write_text("half a table")
    with RunFolder(tmp_path) as run:
        run.finish([row()])
    assert editors.exists()
    assert not ours.exists()


def test_the_journal_stands_until_the_table_has_taken_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are appended to the table without a sync: a machine that fails may lose them."""
    from mssbench.results import folder

    def fails(path: Path, data: bytes) -> None:
        if path.name == TABLE:
            raise Killed
        files.replace(path, data)

    with RunFolder(tmp_path) as run:
        append(run, row(1), row(2))
        monkeypatch.setattr(folder, "replace", fails)
        with pytest.raises(Killed):
            run.finish([row(1), row(2)])
    monkeypatch.undo()
    (tmp_path / TABLE).write_bytes(b"")
    assert seeds(peek(tmp_path)) == ["1", "2"]
    with RunFolder(tmp_path) as run:
        run.finish(run.rows())
    assert seeds(read_rows(tmp_path / TABLE)) == ["1", "2"]
    assert not (tmp_path / JOURNAL).exists()
    assert set(sample_counts(tmp_path).values()) == {2}


def test_a_cell_is_in_the_journal_for_good_before_it_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, bool]] = []
    add = files.Lines.add

    def adds(lines: Any, data: bytes, *, durable: bool = False) -> None:
        written.append(("journal" if data.startswith(b"{") else "table", durable))
        add(lines, data, durable=durable)

    with RunFolder(tmp_path) as run:
        append(run, row(1))  # opens both
        monkeypatch.setattr(files.Lines, "add", adds)
        append(run, row(2))
    assert written == [("journal", True), ("table", False)]


def test_a_row_that_only_the_journal_has_stands_before_an_older_one_of_the_table(
    tmp_path: Path,
) -> None:
    with RunFolder(tmp_path) as run:
        append(run, row(1, status="crashed"))
        run.finish([row(1, status="crashed")])
    old = (tmp_path / TABLE).read_bytes()
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    (tmp_path / TABLE).write_bytes(old)  # its new line was lost with the power
    assert [(r["seed"], r["status"]) for r in peek(tmp_path)] == [("1", "ok")]


def test_a_line_of_the_journal_counts_once_it_has_its_end(tmp_path: Path) -> None:
    """Without one the next writer cuts it off, whatever stands in it."""
    with RunFolder(tmp_path) as run:
        append(run, row(1))
    with RunFolder(tmp_path) as run:
        append(run, row(2))
    (tmp_path / TABLE).unlink()
    data = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(data[:-1])
    assert seeds(peek(tmp_path)) == ["1"]
    with RunFolder(tmp_path) as run:
        append(run, row(3))
    assert sorted(seeds(peek(tmp_path))) == ["1", "3"]


def test_a_log_that_is_a_pipe_with_a_reader_is_not_written_to(tmp_path: Path) -> None:
    """Whoever put it there would have the tracebacks."""
    with RunFolder(tmp_path / "run") as run:
        append(run, row(1))
        path = run.path / LOG
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        why = run.add_to_log("Traceback of a method")
        heard = os.read(reader, 100)
        os.close(reader)
    assert why.startswith(f"{path} cannot be written: it is a pipe. ")
    assert heard == b""


def test_a_log_that_is_full_has_no_more_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_, "_MOST_LOGGED", 10)
    with RunFolder(tmp_path / "run") as run:
        said = [run.add_to_log(f"traceback {i}\n") for i in range(3)]
    assert said == ["", "", ""]
    assert (tmp_path / "run" / LOG).read_text() == "traceback 0\n"
