"""stdout and stderr as they may be: closed, full, of another encoding, or of an odd width.

None of that changes what a command finds out, and so none of it changes its exit code. What cannot
be written is said on stderr; a reader that has closed its pipe has read enough.
"""

import codecs
import errno
import io
import os
import sys
from typing import TextIO

from mssbench import units

# Narrower than that a table has no room for a name and a number; wider is no terminal.
_NARROWEST, _WIDEST = 20, 1000
_STANDARD = (0, 1, 2)


class _Tolerant(io.RawIOBase):
    """A file descriptor to write to. An error is kept and not raised."""

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
        """Write what can be written; the rest is taken for written as well."""
        view = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                return os.write(self._fd, view)
            except OSError as error:
                self.error = error
        return view.nbytes


def prepare() -> None:
    """Make the standard streams such that nothing that is printed raises an error."""
    codecs.register_error("mssbench", _in_ascii)
    _fill_gaps()
    sys.stdout = _tolerant(sys.stdout, 1)
    sys.stderr = _tolerant(sys.stderr, 2)
    _settle_width()


def lost() -> str:
    """Why something that was printed to stdout is lost; empty where nothing is."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as refused:  # of a stream that is none of ours
        return str(refused)
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error: OSError | None = getattr(raw, "error", None)
    if error is None or error.errno == errno.EPIPE:
        return ""
    return error.strerror or str(error)


def _fill_gaps() -> None:
    """Open what is closed: else the next file to be opened, say a table, would be stdout."""
    for fd in _STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free


def _tolerant(stream: TextIO | None, fd: int) -> TextIO:
    """The same stream, which keeps errors and writes in ASCII what its encoding lacks."""
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
    """The handler of an encoding error: what to write instead, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return units.ascii_only(error.object[error.start : error.end]), error.end


def _settle_width() -> None:
    """Forget a width or height that is none, and keep the width within what can be drawn."""
    for name in ("COLUMNS", "LINES"):
        text = os.environ.get(name)
        if text is None:
            continue
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
        if number < 1:
            del os.environ[name]
        elif name == "COLUMNS":
            os.environ[name] = str(min(max(number, _NARROWEST), _WIDEST))
