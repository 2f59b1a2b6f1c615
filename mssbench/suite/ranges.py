"""Expand the values of a suite: one value, a list, or a range such as "16:256:*2"."""

import math
import re
from typing import Any

from mssbench.errors import SuiteError

# Cells of one table. More are most likely a mistake, and would fill the memory before the run.
_MOST_CELLS = 1_000_000
_RANGE = re.compile(r"(\d+):(\d+):([*+]?)(\d+)")


def as_list(value: Any) -> list[Any]:
    """Return the value itself if it is a list, else a list with it."""
    return value if isinstance(value, list) else [value]


def spelt_out(value: Any) -> list[Any]:
    """Return a value or list of values as a list, with ranges such as "16:256:*2" expanded."""
    return [x for v in as_list(value) for x in (_range(v) if isinstance(v, str) else [v])]


def _range(text: str) -> list[Any]:
    """Return the values of a range, or the text itself if it is none.

    `16:64:*2` is 16, 32, 64; `8:32:+8` or `8:32:8` is 8, 16, 24, 32. Raises SuiteError for a range
    that is empty, endless or too long.
    """
    match = _RANGE.fullmatch(text)
    if not match:
        return [text]

    first, last, step = int(match[1]), int(match[2]), int(match[4])
    if step < 1 or (match[3] == "*" and (step < 2 or first < 1)):
        raise SuiteError(f"range {text!r} never ends.")
    if first > last:
        raise SuiteError(f"range {text!r} is empty: {first} is beyond {last}.")
    if match[3] != "*":
        check_count((last - first) // step + 1)

    values = []
    while first <= last:
        values.append(first)
        first = first * step if match[3] == "*" else first + step
    return values


def check_count(*lengths: int) -> None:
    """Raise SuiteError if all combinations of lists with these lengths are too many cells."""
    if (count := math.prod(lengths)) > _MOST_CELLS:
        raise SuiteError(f"{count:,} cells are too many: at most {_MOST_CELLS:,} can be measured.")
