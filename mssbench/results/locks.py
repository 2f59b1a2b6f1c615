"""Advisory locks on devices and folders, which the kernel frees when their holder has ended.

A lock of the kernel (flock) belongs to an open file and lasts until the last descriptor of this
file is closed, also in children, which inherit descriptors. So every child that this process forks
closes them at once: a method that leaves a process behind must not keep a device for ever.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

try:
    import fcntl
except ImportError:  # on Windows, where runs are read and none is written
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

IN_FOLDER = ".lock"  # a file that is locked where a folder itself cannot be
# The locks of this process: device and inode by descriptor. The latter is looked at before a child
# closes it, as the same number may be another file's by then.
_ours: dict[int, tuple[int, int]] = {}


def hold(path: Path, flags: int = os.O_RDONLY) -> tuple[int, bool]:
    """Try to lock an existing file or folder, without waiting.

    Returns a descriptor of the file, and whether this process has the lock now. flags: for opening
    the file. Raises OSError if the file cannot be opened, or the file system has no such locks.
    """
    if not _HAS_LOCKS:
        raise OSError(errno.ENOTSUP, "this system has no flock: write runs on Linux or macOS")
    fd = os.open(path, flags)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return fd, False
    except OSError:
        os.close(fd)
        raise
    keep_from_children(fd)
    return fd, True


def hold_folder(folder: Path) -> tuple[int, bool]:
    """Try to lock a folder itself, or a file in it where the file system does not lock folders.

    Returns what `hold` does. Raises OSError if neither can be locked.
    """
    try:
        return hold(folder)
    except OSError:  # NFS locks only what is open for writing
        (folder / IN_FOLDER).touch()
        return hold(folder / IN_FOLDER, os.O_RDWR)


def keep_from_children(fd: int) -> None:
    """Let children that this process forks from now on close the descriptor of a lock at once."""
    status = os.fstat(fd)
    _ours[fd] = (status.st_dev, status.st_ino)


def release(fd: int) -> None:
    """Close the descriptor of a lock, whether the lock was ours or not."""
    _ours.pop(fd, None)
    os.close(fd)


def _close_in_child() -> None:
    for fd, file in _ours.items():
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) == file:
                os.close(fd)
        except OSError:  # it was closed long ago
            continue
    _ours.clear()


if hasattr(os, "register_at_fork"):  # where there is no fork, no child inherits anything
    os.register_at_fork(after_in_child=_close_in_child)


def wait_for(path: Path, wait: Callable[[str], bool]) -> int | None:
    """Lock a file however long that takes, and return its descriptor; None if told to give up.

    wait: called after every failed attempt with the holder of the lock, as text. It pauses, and
    returns False to give up.
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
    """Whether the kernel says that some process holds the lock of a file or folder.

    The lock itself is not touched, so that no process that wants it now is refused. False where the
    kernel tells nothing.
    """
    if not hasattr(os, "O_PATH"):  # only Linux has it, as it has the list of locks
        return False
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        return False
    try:
        return any(True for _ in _entries(fd))
    finally:
        os.close(fd)


def holder(fd: int) -> str:
    """Return who holds the lock on an open file: `process 4242 (python)`, as far as is known.

    The kernel's list names the process that took the lock. If that process has ended, or another
    process has its number by now, a child that inherited the lock still holds it. The child is
    named then, with the command that frees the lock.
    """
    takers = list(_entries(fd))
    if not takers or takers[0] <= 0:  # it lives in another container
        return "another process"

    holders = list(_holders(os.fstat(fd)))
    taker = next((pid for pid in takers if pid in holders), takers[0])
    if not holders and psutil.pid_exists(taker):  # another user's: the list is all that we may see
        return _named(taker)
    if taker in holders:
        return _named(taker)
    if holders and not _is_gone(taker, holders):  # it gave the lock away, and lives
        return " and ".join(map(_named, holders))
    if holders:
        kill = " ".join(map(str, holders))
        return (
            f"{' and '.join(map(_named, holders))}, left behind by process {taker}, which is gone "
            f"(`kill {kill}` frees the device)"
        )
    return f"a worker that process {taker} left behind"


def _named(pid: int) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"


def _is_gone(taker: int, holders: Sequence[int]) -> bool:
    """Whether the process that took a lock has ended.

    taker: its number, which another process may have by now. holders: the processes that hold the
    lock. A process that began later than a holder did not take the lock: it only has the number.
    """
    try:
        process = psutil.Process(taker)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        began = process.create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    for pid in holders:
        with suppress(psutil.Error):
            if psutil.Process(pid).create_time() < began:
                return True
    return False


def _entries(fd: int) -> Iterator[int]:
    """Yield the number of each process that holds or awaits the lock of an open file.

    The kernel lists them; one in another container has the number 0 or -1.
    """
    inode, device = os.fstat(fd).st_ino, _device(fd)
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE pid major:minor:inode start end
        if "FLOCK" not in words:
            continue
        of, _, number = words[-3].rpartition(":")
        if number == str(inode) and (device is None or of == device):
            yield int(words[-4])


def _device(fd: int) -> str | None:
    """Return the device of an open file as the kernel's list of locks writes it: `fd:01`.

    None if it is unknown. stat gives another number on some file systems, so the number is taken
    from the list of mounts.
    """
    try:
        of_file = Path(f"/proc/self/fdinfo/{fd}").read_text()
        mounts = Path("/proc/self/mountinfo").read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return None
    mount = re.search(r"^mnt_id:\s*(\d+)$", of_file, re.MULTILINE)
    for words in map(str.split, mounts):  # id parent major:minor ...
        if mount is not None and words[:1] == [mount[1]]:
            major, minor = map(int, words[2].split(":"))
            return f"{major:02x}:{minor:02x}"
    return None


def _holders(file: os.stat_result) -> Iterator[int]:
    """Yield the numbers of the processes that hold the lock of a file, of those we may look at."""
    for pid in psutil.pids():
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208  (names, not paths)
        except OSError:  # it has ended, or it is another user's
            continue
        if any(_locks(pid, number, file) for number in numbers):
            yield pid


def _locks(pid: int, number: str, file: os.stat_result) -> bool:
    """Whether a descriptor of a process, given by its number, holds the lock of a file."""
    try:
        status = Path(f"/proc/{pid}/fd/{number}").stat()
        if (status.st_dev, status.st_ino) != (file.st_dev, file.st_ino):
            return False
        return "FLOCK" in Path(f"/proc/{pid}/fdinfo/{number}").read_text()
    except OSError:
        return False
