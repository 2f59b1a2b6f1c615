"""Find and kill the processes that a worker leaves behind.

A process that was forked twice and has a new session is not in the process group that is killed
with the worker, and its parent has exited. The kernel would make it a child of process 1. Worker
and supervisor therefore declare themselves subreapers (`prctl`): such a process becomes a child of
the worker while the worker lives, and then of the supervisor, which runs this module. It is
recognized by a variable in its environment, or, if the method gave it another environment, by its
stdout or stderr, which is the file that only this worker writes to.
"""

import ctypes
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from mssbench.engines.start import TOKEN

_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37  # options of prctl, see linux/prctl.h
# Searches for orphans. A process that an orphan forks during one search is found in the next.
_ROUNDS = 5
_REAP_SECONDS = 2.0  # how long to wait for killed processes to end

_lock = threading.Lock()
_open = 0  # number of workers whose Orphans are not closed
_before = 0  # whether this process was a subreaper before its first worker


class Orphans:
    """The processes that one worker leaves behind. Call `close` when the worker has ended.

    token: value of the variable TOKEN, which the caller puts into the worker's environment.
    """

    def __init__(self, errors: int) -> None:
        """errors: descriptor of the file that will be the stderr of this worker only."""
        self._errors = _file(os.fstat(errors))
        self.token = uuid.uuid4().hex
        self._closed = False
        _adopt(+1)

    def kill(self) -> None:
        """Kill and reap every process that the worker left behind. The worker must have ended."""
        for _ in range(_ROUNDS):
            processes = list(self._left_behind())
            if not processes:
                return

            for process in processes:
                try:
                    process.kill()
                except psutil.Error:  # it has ended, or its number is another user's process now
                    continue
            psutil.wait_procs(processes, timeout=_REAP_SECONDS)

    def close(self) -> None:
        """Stop being a subreaper if this was the last worker."""
        if not self._closed:
            self._closed = True
            _adopt(-1)

    def _left_behind(self) -> Iterator[psutil.Process]:
        """Yield the living descendants of this process with the worker's token or stderr."""
        try:
            descendants = psutil.Process().children(recursive=True)
        except psutil.Error:
            return

        for process in descendants:
            try:
                if process.environ().get(TOKEN) == self.token or self._prints(process.pid):
                    yield process
            except (psutil.Error, OSError):  # it has ended, or belongs to another user
                continue

    def _prints(self, pid: int) -> bool:
        """Whether stdout or stderr of a process is the file of the worker's stderr."""
        for number in (1, 2):
            with suppress(OSError):  # the process has closed this descriptor
                if _file(Path(f"/proc/{pid}/fd/{number}").stat()) == self._errors:
                    return True
        return False


def _file(status: os.stat_result) -> tuple[int, int]:
    """Return an identifier of a file: its device and inode."""
    return status.st_dev, status.st_ino


def _adopt(change: int) -> None:
    """Add `change` to the number of workers. While there are any, this process is a subreaper."""
    global _open, _before  # noqa: PLW0603  (a process is a subreaper or not, for all of its code)
    if sys.platform != "linux":
        return

    with _lock:
        if _open == 0 and change > 0:
            was = ctypes.c_int(0)
            _prctl(_GET_CHILD_SUBREAPER, ctypes.byref(was))
            _before = was.value
            _prctl(_SET_CHILD_SUBREAPER, 1)

        _open += change
        if _open == 0:
            _prctl(_SET_CHILD_SUBREAPER, _before)


def _prctl(option: int, argument: object) -> None:
    """Call `prctl`. A failure is ignored; orphans then become children of process 1."""
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _forget() -> None:
    """Reset the count in a forked child, which has no workers and is no subreaper."""
    global _open  # noqa: PLW0603
    _open = 0


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget)
