"""Advisory locks that the kernel frees when their holder is gone, killed or not."""

import fcntl
import os
from collections.abc import Callable
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


def holder(fd: int) -> str:
    """Who holds the lock on this open file: `process 4242 (python)`, as far as the kernel tells.

    The kernel names the process that took the lock. A worker may hold it still when that one is
    gone; then it is named as such.
    """
    inode = str(os.fstat(fd).st_ino)
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return "another process"
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE pid major:minor:inode start end
        # the numbers of the device are not compared: some file systems show others here than stat
        if "FLOCK" not in words or words[-3].rpartition(":")[2] != inode:
            continue
        pid = int(words[-4])
        if pid <= 0:  # it lives in another container
            break
        try:
            return f"process {pid} ({psutil.Process(pid).name()})"
        except psutil.NoSuchProcess:
            return f"a worker that process {pid} left behind"
        except psutil.Error:
            return f"process {pid}"
    return "another process"
