"""Read and write files. They stay whole if the writer is killed, the disk fills or power fails."""

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Not to wait for the writer of a pipe, and not to follow a link: Windows has neither. There, a file
# has to be opened as binary, or else line ends are changed while it is read.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def contents(path: Path, *, follow: bool = True) -> bytes | None:
    """Return the bytes of a file; None if there is no file.

    follow: whether the path may be a symbolic link. Raises OSError for what is not a regular file:
    reading a pipe, for example, might never end.
    """
    try:
        fd = os.open(path, os.O_RDONLY | _NO_WAIT | (0 if follow else _NO_FOLLOW))
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read()


class Lines:
    """A file to which whole lines are appended; half a line at its end is removed at the start.

    Raises OSError if it cannot be opened; a symbolic link is not followed.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_FOLLOW | _NO_WAIT
        self._fd = os.open(path, flags, 0o666)
        self.size = os.fstat(self._fd).st_size
        if self.size:  # a killed writer may have left half a line: the next must not join it
            with mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ) as data:
                whole = data.rfind(b"\n") + 1
            if whole < self.size:
                os.ftruncate(self._fd, whole)
                self.size = whole

    def add(self, data: bytes, *, durable: bool = False) -> None:
        """Append `data`, one or more whole lines. durable: whether to wait until it is on disk.

        If the disk is full, the part that was written is removed again, and OSError is raised.
        """
        try:
            left = data
            while left:
                left = left[os.write(self._fd, left) :]
            if durable:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file by `data`, as a whole or not at all.

    A reader sees the old file or the new one, even after a loss of power.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file to write, which replaces `path` at the end of the block.

    After an error in the block, the temporary file is deleted and `path` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
