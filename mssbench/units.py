"""How numbers are written for people. Tables on disk keep plain SI values."""

from collections.abc import Callable, Mapping
from math import floor, isfinite, log10

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
# What rounds to 1.00 of a unit is written in it: 1.00 ms, never 1000 us.
_ROUNDS_UP = 0.9995


def digits(x: float, count: int = 3) -> str:
    """Three significant digits, never an exponent: 0.0422, 4.22, 42.2, 422, 4220."""
    if x == 0:
        return "0"
    leading = floor(log10(abs(float(f"{x:.{count - 1}e}"))))  # after rounding: 9.996 is 10.0
    return f"{x:.{max(count - 1 - leading, 0)}f}"


def seconds(x: float | None) -> str:
    """4.22 us, 13.0 ms, 2.00 s; a dash where nothing was measured."""
    if x is None or not isfinite(x):
        return "-"
    for unit, name in _SECONDS:
        if abs(x) >= unit * _ROUNDS_UP:
            return f"{digits(x / unit)} {name}"
    return f"{digits(x / 1e-9)} ns"


def duration(x: float) -> str:
    """A time people wait: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(x)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(x: float | None) -> str:
    """1.50 MiB; a dash where nothing was measured."""
    if x is None or not isfinite(x):
        return "-"
    for unit, name in _BYTES:
        if abs(x) >= unit * _ROUNDS_UP:
            return f"{digits(x / unit)} {name}"
    return f"{x:.0f} B"


def ratio(x: float) -> str:
    """1.42x: how many times the best; 0.44x where it may not win, so that the points align."""
    return f"{digits(x, 3 if x >= 1 else 2)}x"


def error(x: float | None) -> str:
    """One digit is all an error estimate deserves: 3e-07."""
    if x is None or not isfinite(x):
        return "-"
    return f"{x:.0e}" if x else "0"


def number(x: float | None) -> str:
    """A plain number with three digits that count."""
    if x is None or not isfinite(x):
        return "-"
    if x != 0 and not 1e-3 <= abs(x) < 1e6:
        return f"{x:.2e}"
    return digits(x)


def count(n: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


# What a terminal takes as a command, and what turns the direction of a text around. Line breaks and
# tabs are neither; a carriage return would let a line be written over.
_CONTROLS = (c for c in (*range(32), *range(0x7F, 0xA0)) if chr(c) not in "\n\t")
_TURNS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_COMMANDS: dict[int, None] = dict.fromkeys((*_CONTROLS, *_TURNS))


def harmless(text: str) -> str:
    r"""The text without what a terminal would obey instead of showing it.

    >>> harmless("\x1b[31mred\x1b[0m")
    '[31mred[0m'
    """
    return text if text.isascii() and text.isprintable() else text.translate(_COMMANDS)


# What stands for a character where the terminal or the pipe has ASCII only.
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
    """The same text in ASCII; a question mark for a character that has no other."""
    return text.translate(ASCII).encode("ascii", "replace").decode()


# By the names under which the columns of a table ask for them, see records/schema.py.
WRITERS: Mapping[str, Callable[[float | None], str]] = {
    "seconds": seconds,
    "size": size,
    "error": error,
    "number": number,
}
