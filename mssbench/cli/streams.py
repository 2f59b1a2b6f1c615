"""Make printing to stdout and stderr safe, even if they are closed, full or not in UTF-8.

If stdout cannot be written, a command keeps its result and its exit code, and reports the loss on
stderr. Two cases differ: an incomplete export is an error, and a pipe that its reader has closed is
not reported, since that reader has read enough.
"""

import codecs
import errno
import io
import os
import sys
from typing import TextIO

from mssbench.records import units

# Limits of COLUMNS. A narrower table has no room for a name and a number; no terminal is wider.
_NARROWEST, _WIDEST = 20, 1000
_STANDARD = (0, 1, 2)  # file descriptors


class _Tolerant(io.RawIOBase):
    """A raw stream on a file descriptor that raises no error but stores the first in `error`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: object) -> int:
        """Write the data, or discard it after an error. Returns its length in both cases."""
        view = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                return os.write(self._fd, view)
            except OSError as error:
                self.error = error
        return view.nbytes


def prepare() -> None:
    """Replace the standard streams by streams that raise no error when printed to."""
    codecs.register_error("mssbench", _in_ascii)
    _fill_gaps()
    sys.stdout = _tolerant(sys.stdout, 1)
    sys.stderr = _tolerant(sys.stderr, 2)
    _settle_width()


def lost() -> str:
    """Return why output to stdout was lost; empty if none was, or if its reader closed the pipe."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as refused:  # from a stream that prepare() did not replace
        return str(refused)

    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error: OSError | None = getattr(raw, "error", None)
    if error is None or error.errno == errno.EPIPE:
        return ""
    return error.strerror or str(error)


def _fill_gaps() -> None:
    """Open those of the standard descriptors (0, 1 and 2) that are closed on /dev/null.

    Otherwise a file that is opened later could get the number of stdout, and be printed into.
    """
    for fd in _STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives it the lowest free number, this one


def _tolerant(stream: TextIO | None, fd: int) -> TextIO:
    """Return a stream that raises no errors and writes unencodable characters in ASCII.

    stream: standard output or error, None if it is closed. fd: its file descriptor.
    """
    if stream is not None:
        if not isinstance(stream, io.TextIOWrapper):
            return stream
        try:
            is_standard = stream.fileno() == fd
        except (OSError, ValueError):
            is_standard = False
        if not is_standard:  # a test or an embedding program has replaced it
            stream.reconfigure(errors="mssbench")
            return stream
        if isinstance(getattr(stream.buffer, "raw", None), _Tolerant):
            return stream
        stream.flush()

    return io.TextIOWrapper(
        io.BufferedWriter(_Tolerant(fd)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="mssbench",
        line_buffering=fd == 2 or os.isatty(fd),
        newline="\n",
    )


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Handle an encoding error for `codecs`: return an ASCII replacement and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return units.ascii_only(error.object[error.start : error.end]), error.end


def _settle_width() -> None:
    """Delete the variables COLUMNS and LINES unless they are positive numbers; limit COLUMNS."""
    for name in ("COLUMNS", "LINES"):
        text = os.environ.get(name)
        if text is None:
            continue
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
        if number < 1:
            del os.environ[name]
        elif name == "COLUMNS":
            os.environ[name] = str(min(max(number, _NARROWEST), _WIDEST))
