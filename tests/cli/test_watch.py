"""`mssbench show --watch`: a run that another process measures, drawn until it ends."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.runs import heed_signals
from helpers.tables import called, row, write

from mssbench.cli import show
from mssbench.console.terminal import plain
from mssbench.results.folder import RunFolder

ASKED = (["method"], ["size"], "seconds_median", None)


class Watcher:
    """The command on a terminal of its own, and all that it has written there so far."""

    def __init__(self, *arguments: object) -> None:
        self._terminal, child = pty.openpty()
        settings = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CI")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mssbench", "show", *map(str, arguments)],
            stdin=child,
            stdout=child,
            stderr=child,
            preexec_fn=heed_signals,
            env=settings | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(child)
        self.text = ""

    def until(self, words: str) -> None:
        """Read until these words were written."""
        limit = time.monotonic() + 60
        while words not in self.text:
            assert time.monotonic() < limit, self.text
            assert self.read(), self.text

    def read(self) -> bool:
        """Read what there is, or wait for it; False where nothing more will come."""
        try:
            part = os.read(self._terminal, 65536)
        except OSError:  # Linux says so when the last writer has left
            return False
        self.text += part.decode(errors="replace")
        return bool(part)

    def end(self) -> int:
        """Read to the end; the exit code."""
        limit = time.monotonic() + 60
        while self.read():
            assert time.monotonic() < limit, self.text
        return self.process.wait(timeout=60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)


@contextmanager
def watching(*arguments: object) -> Iterator[Watcher]:
    watcher = Watcher(*arguments, "--watch", "--every", "0.1")
    try:
        yield watcher
    finally:
        watcher.close()


def test_rows_appear_as_they_are_measured_and_the_end_is_the_whole_table(tmp_path: Path) -> None:
    eigh, svd = row(1e-3, root=1e-7), row(2e-3, root=1e-7, forward="svd")
    (tmp_path / "run").mkdir()
    with watching(tmp_path / "run") as watcher:
        with RunFolder(tmp_path / "run") as folder:  # holds the lock, as a run does
            watcher.until("no row yet")
            folder.append([eigh], [[1e-3]])
            watcher.until("1 row so far")
            assert "torch/svd" not in watcher.text
            files = {path: path.read_bytes() for path in folder.path.iterdir()}
            folder.append([svd], [[2e-3]])
            watcher.until("torch/svd")
            changed = {path for path in files if path.read_bytes() != files[path]}
            assert {path.name for path in changed} == {"table.csv", "journal.jsonl"}  # by us
            assert set(folder.path.iterdir()) == set(files)
            folder.finish([eigh, svd])
        assert watcher.end() == 0
    _, _, final = watcher.text.rpartition("\x1b[?25h")  # after the last drawing has gone
    assert "torch/eigh" in final
    assert "torch/svd" in final
    assert "so far" not in final


@pytest.mark.slow
def test_ctrl_c_ends_it_with_what_there_is(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.append([row(1e-3, root=1e-7)], [[1e-3]])
    with watching(tmp_path / "run") as watcher:  # its journal is there
        watcher.until("1 row so far")
        watcher.process.send_signal(signal.SIGINT)
        assert watcher.end() == 130
    _, _, final = watcher.text.rpartition("\x1b[?25h")
    assert "torch/eigh" in final
    assert "Traceback" not in watcher.text


@pytest.mark.slow
def test_a_run_that_has_ended_is_shown_once(tmp_path: Path) -> None:
    with watching(write(tmp_path / "run", row(1e-3, root=1e-7))) as watcher:
        assert watcher.end() == 0
    assert "torch/eigh" in watcher.text


def test_what_is_no_run_is_misuse_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "nowhere"):
        with watching(path) as watcher:
            assert watcher.end() == 2
        assert "there is no run in" in watcher.text


@pytest.mark.parametrize(
    ("words", "why"),
    [([], "which stdout is not: leave out --watch"), (["--json"], "leave out --json")],
)
def test_where_nothing_can_be_drawn_it_is_refused(tmp_path: Path, capsys, words, why) -> None:
    run = write(tmp_path / "run", row(1e-3))
    code, out, err = called(capsys, "show", run, "--watch", *words)
    assert (code, out) == (2, "")
    assert why in err


@pytest.mark.slow
def test_rows_that_a_condition_waits_for_are_no_error_but_a_wrong_column_is(
    tmp_path: Path, capsys
) -> None:
    run = write(tmp_path / "run", row(1e-3))
    asked = show.View(run, where="forward == 'svd'")
    assert plain(show.so_far(asked)) == "1 row so far, none of which is selected\n"
    assert called(capsys, "show", run, "--where", "forward == 'svd'")[0] == 2
    with watching(run, "--where", "forwar == 'svd'") as watcher:
        assert watcher.end() == 2
    assert "Did you mean 'forward'?" in watcher.text


@pytest.mark.parametrize("where", [None, "size > 16"])
def test_a_table_that_has_only_its_header_has_no_row_yet(tmp_path: Path, where: str | None) -> None:
    run = write(tmp_path / "run")
    assert plain(show.so_far(show.View(run, where=where))) == "no row yet\n"
