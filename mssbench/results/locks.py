"""Advisory locks that the kernel frees when their holder is gone, killed or not."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil


def hold(path: Path, flags: int = os.O_RDONLY) -> tuple[int, bool]:
    """Try to lock an existing file or folder: its descriptor, and whether the lock is ours.

    Raises OSError where the file system has no such locks.
    """
    fd = os.open(path, flags)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return fd, False
    except OSError:
        os.close(fd)
        raise
    return fd, True


def wait_for(path: Path, wait: Callable[[str], bool]) -> int | None:
    """Lock a file however long it takes; None if told to stop waiting.

    wait: called with who holds it after every attempt that failed; False gives up.
    """
    while True:
        fd, ours = hold(path)
        if ours:
            return fd
        who = holder(fd)
        os.close(fd)
        if not wait(who):
            return None


def held(path: Path) -> bool:
    """Whether the kernel says that somebody holds the lock of a file or folder.

    The lock itself is not touched, so that nobody who wants it now is refused. False where the
    kernel tells nothing.
    """
    try:
        inode = path.stat().st_ino
    except OSError:
        return False
    return any(_entries(inode))


def holder(fd: int) -> str:
    """Who holds the lock on this open file: `process 4242 (python)`, as far as the kernel tells.

    The kernel names the process that took the lock. A worker may hold it still when that one is
    gone; then it is named as such.
    """
    for pid in _entries(os.fstat(fd).st_ino):
        if pid <= 0:  # it lives in another container
            break
        try:
            return f"process {pid} ({psutil.Process(pid).name()})"
        except psutil.NoSuchProcess:
            return f"a worker that process {pid} left behind"
        except psutil.Error:
            return f"process {pid}"
    return "another process"


def _entries(inode: int) -> Iterator[int]:
    """The process of each lock on this inode that the kernel lists, and of each that waits."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE pid major:minor:inode start end
        # the numbers of the device are not compared: some file systems show others here than stat
        if "FLOCK" in words and words[-3].rpartition(":")[2] == str(inode):
            yield int(words[-4])
