"""Find and kill the processes that a worker leaves behind.

A process that was forked twice and has a new session is not in the process group that is killed
with the worker, and its parent has exited. The kernel would make it a child of process 1. Worker
and supervisor therefore declare themselves subreapers (`prctl`): such a process becomes a child of
the worker while that lives, and then of the supervisor, which runs this module. A variable in its
environment tells to which worker it belonged; where the method gave it another environment, it is
told by its stdout or stderr, if that is still the file that only this worker writes to.
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
_ROUNDS = 5  # searches for orphans: what one of them forks meanwhile is found in the next search
_REAP_SECONDS = 2.0  # how long to wait for killed processes to end

_lock = threading.Lock()
_open = 0  # number of workers whose Orphans are not closed
_before = 0  # whether this process was a subreaper before its first worker


class Orphans:
    """The processes that one worker leaves behind. Call `close` when the worker is gone.

    token: to be put into the worker's environment as the value of TOKEN.
    """

    def __init__(self, errors: int) -> None:
        """errors: descriptor of the file that this worker alone will have as its stderr."""
        self._errors = _file(os.fstat(errors))
        self.token = uuid.uuid4().hex
        self._closed = False
        _adopt(+1)

    def kill(self) -> None:
        """Kill and reap every process that the worker left behind. The worker must be gone."""
        for _ in range(_ROUNDS):
            found = list(self._left_behind())
            if not found:
                return
            for process in found:
                try:
                    process.kill()
                except psutil.Error:  # it has ended by itself, or is another user's by now
                    continue
            psutil.wait_procs(found, timeout=_REAP_SECONDS)

    def close(self) -> None:
        """Stop being a subreaper if this was the last worker."""
        if not self._closed:
            self._closed = True
            _adopt(-1)

    def _left_behind(self) -> Iterator[psutil.Process]:
        """The living descendants of this process that have the worker's token, or its stderr."""
        try:
            below = psutil.Process().children(recursive=True)
        except psutil.Error:
            return
        for process in below:
            try:
                if process.environ().get(TOKEN) == self.token or self._prints(process.pid):
                    yield process
            except (psutil.Error, OSError):  # it has ended, or it is another user's
                continue

    def _prints(self, pid: int) -> bool:
        """Whether stdout or stderr of a process is the file of the worker's stderr."""
        for number in (1, 2):
            with suppress(OSError):  # it has closed that one
                if _file(Path(f"/proc/{pid}/fd/{number}").stat()) == self._errors:
                    return True
        return False


def _file(status: os.stat_result) -> tuple[int, int]:
    """What tells one file from all others."""
    return status.st_dev, status.st_ino


def _adopt(change: int) -> None:
    """Add `change` to the number of workers. While there are any, this process is a subreaper."""
    global _open, _before
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
    """Call `prctl`. A failure is ignored: orphans then go to process 1, and are not found."""
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _forget() -> None:
    """Reset the count in a forked child, which has no workers and is no subreaper."""
    global _open
    _open = 0


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget)
