"""Format numbers with units for people to read. Tables on disk contain plain SI values."""

from collections.abc import Callable, Mapping
from math import floor, isfinite, log10

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
# Values that round to 1.00 of a unit, with three digits, are written in it: 1.00 ms, not 1000 us.
_ROUNDS_UP = 0.9995


def digits(x: float, count: int = 3) -> str:
    """Return `count` significant digits without an exponent: 0.0422, 4.22, 42.2, 422, 4220."""
    if x == 0:
        return "0"
    # The exponent is that of the rounded value: 9.996 becomes 10.0.
    leading = floor(log10(abs(float(f"{x:.{count - 1}e}"))))
    return f"{x:.{max(count - 1 - leading, 0)}f}"


def seconds(x: float | None) -> str:
    """Return a time such as 4.22 us, 13.0 ms or 2.00 s; a dash if it was not measured."""
    if x is None or not isfinite(x):
        return "-"
    for unit, name in _SECONDS:
        if abs(x) >= unit * _ROUNDS_UP:
            return f"{digits(x / unit)} {name}"
    return f"{digits(x / 1e-9)} ns"


def duration(x: float) -> str:
    """Return a duration in whole seconds or minutes: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(x)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(x: float | None) -> str:
    """Return a number of bytes such as 1.50 MiB; a dash if it was not measured."""
    if x is None or not isfinite(x):
        return "-"
    for unit, name in _BYTES:
        if abs(x) >= unit * _ROUNDS_UP:
            return f"{digits(x / unit)} {name}"
    return f"{x:.0f} B"


def ratio(x: float) -> str:
    """Return a factor such as 1.42x; below 1 with two digits, 0.44x, so that the points align."""
    return f"{digits(x, 3 if x >= 1 else 2)}x"


def error(x: float | None) -> str:
    """Return an error with one digit, such as 3e-07, because errors are estimates."""
    if x is None or not isfinite(x):
        return "-"
    return f"{x:.0e}" if x else "0"


def number(x: float | None) -> str:
    """Return a number with three significant digits."""
    if x is None or not isfinite(x):
        return "-"
    if x != 0 and not 1e-3 <= abs(x) < 1e6:
        return f"{x:.2e}"
    return digits(x)


def count(n: int, noun: str) -> str:
    """Return a number with a noun: `1 cell`, `2 cells`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


# Characters that a terminal obeys as commands, or that change the direction of a text. Line breaks
# and tabs are harmless; a carriage return would let a text overwrite the line.
_CONTROLS = (c for c in (*range(32), *range(0x7F, 0xA0)) if chr(c) not in "\n\t")
_TURNS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_COMMANDS: dict[int, None] = dict.fromkeys((*_CONTROLS, *_TURNS))


def harmless(text: str) -> str:
    r"""Return the text without characters that a terminal would obey instead of showing.

    >>> harmless("\x1b[31mred\x1b[0m")
    '[31mred[0m'
    """
    return text if text.isascii() and text.isprintable() else text.translate(_COMMANDS)


# Replacements of characters where the terminal or the pipe can show ASCII only.
ASCII = str.maketrans(
    {
        "●": "*",
        "✗": "x",
        "█": "#",
        "·": "|",
        "κ": "cond",
        "×": "x",
        "–": "-",
        "—": "-",
        "…": "...",
        "≤": "<=",
        "²": "^2",
        "µ": "u",
        "σ": "sigma",
        "ε": "eps",
        "é": "e",
        "━": "-",
        "─": "-",
        "‖": "|",
        "→": "->",
    }
)


def ascii_only(text: str) -> str:
    """Return the text in ASCII; a character without a replacement becomes a question mark."""
    return text.translate(ASCII).encode("ascii", "replace").decode()


# The formatting functions by the names that `Column.written` returns, see records/schema.py.
WRITERS: Mapping[str, Callable[[float | None], str]] = {
    "seconds": seconds,
    "size": size,
    "error": error,
    "number": number,
}
