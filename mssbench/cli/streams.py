"""Make stdout and stderr safe to print to: closed, full, in another encoding, or of an odd width.

None of these changes the result of a command. Its exit code stays the same too, but an incomplete
export is an error. The command reports on stderr that output could not be written, unless the
reader of a pipe has closed it: then it has read enough.
"""

import codecs
import errno
import io
import os
import sys
from typing import TextIO

from mssbench import units

# Columns. A narrower table has no room for a name and a number; no terminal is wider.
_NARROWEST, _WIDEST = 20, 1000
_STANDARD = (0, 1, 2)  # file descriptors


class _Tolerant(io.RawIOBase):
    """Writes to a file descriptor. The first error is stored in `error` and not raised."""

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
        """Write the data, and after an error discard it; returns the number of bytes either way."""
        view = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                return os.write(self._fd, view)
            except OSError as error:
                self.error = error
        return view.nbytes


def prepare() -> None:
    """Replace the standard streams, so that printing raises no error."""
    codecs.register_error("mssbench", _in_ascii)
    _fill_gaps()
    sys.stdout = _tolerant(sys.stdout, 1)
    sys.stderr = _tolerant(sys.stderr, 2)
    _settle_width()


def lost() -> str:
    """Why output to stdout was lost; empty if it was not, or if its reader has closed the pipe."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as refused:  # by a stream that is not ours
        return str(refused)
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error: OSError | None = getattr(raw, "error", None)
    if error is None or error.errno == errno.EPIPE:
        return ""
    return error.strerror or str(error)


def _fill_gaps() -> None:
    """Open standard descriptors that are closed, so that no file opened later becomes stdout."""
    for fd in _STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free


def _tolerant(stream: TextIO | None, fd: int) -> TextIO:
    """The stream without errors: characters that its encoding lacks are written in ASCII.

    stream: standard output or error, None if it is closed. fd: its file descriptor.
    """
    if stream is not None:
        if not isinstance(stream, io.TextIOWrapper):
            return stream
        try:
            own = stream.fileno() == fd
        except (OSError, ValueError):
            own = False
        if not own:  # somebody has replaced it
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
    """The handler of an encoding error: what to write instead, and where to continue."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return units.ascii_only(error.object[error.start : error.end]), error.end


def _settle_width() -> None:
    """Delete COLUMNS and LINES if they are no positive numbers, and limit COLUMNS."""
    for name in ("COLUMNS", "LINES"):
        text = os.environ.get(name)
        if text is None:
            continue
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
        if number < 1:
            del os.environ[name]
        elif name == "COLUMNS":
            os.environ[name] = str(min(max(number, _NARROWEST), _WIDEST))
