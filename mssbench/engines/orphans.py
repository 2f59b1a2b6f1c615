"""Processes that a worker leaves behind, found and killed after it.

A child that forks again, in a session of its own, belongs to no group that a kill of the worker
would reach, and its parent is gone. The kernel hands such a process to the worker as long as that
lives, and then to this process, instead of to process 1 (`prctl`: both are subreapers). Those of a
worker that has died by itself are known by a mark in their environment.
"""

import ctypes
import os
import sys
import threading
import uuid
from collections.abc import Iterator

import psutil

from mssbench.engines.start import TOKEN

_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37  # of prctl, see linux/prctl.h
_ROUNDS = 5  # of looking for orphans: one that forks meanwhile is found in the next
_REAP_SECONDS = 2.0  # a process that was killed takes a moment to be gone

_lock = threading.Lock()
_open = 0  # workers
_before = 0  # whether this process was a subreaper before its first worker


class Orphans:
    """Those of one worker. Close it when the worker is gone.

    token: to be in the worker's environment, under the name TOKEN.
    """

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex
        self._closed = False
        _adopt(+1)

    def kill(self) -> None:
        """Kill all that the worker left behind, and reap it. The worker must be gone."""
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
        """Be a subreaper no longer, if this was the last worker."""
        if not self._closed:
            self._closed = True
            _adopt(-1)

    def _left_behind(self) -> Iterator[psutil.Process]:
        """Living processes below this one that have the worker's mark."""
        try:
            below = psutil.Process().children(recursive=True)
        except psutil.Error:
            return
        for process in below:
            try:
                if process.environ().get(TOKEN) == self.token:
                    yield process
            except (psutil.Error, OSError):  # it has ended, or it is another user's
                continue


def _adopt(change: int) -> None:
    """Count workers; while there are any, orphans below this process become its children."""
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
    """A kernel that refuses leaves orphans to process 1: they are then found no more."""
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _forget() -> None:
    """A child of this process has no workers, and `prctl` gave it no orphans."""
    global _open
    _open = 0


os.register_at_fork(after_in_child=_forget)
