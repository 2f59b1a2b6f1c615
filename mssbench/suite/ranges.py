"""Values of a suite spelt out: one value, a list, or a range such as "16:256:*2"."""

import math
import re
from typing import Any

from mssbench.errors import SuiteError

_MOST_CELLS = 1_000_000  # of one table; more is a slip, and would fill the memory before it ran
_RANGE = re.compile(r"(\d+):(\d+):([*+]?)(\d+)")


def as_list(value: Any) -> list[Any]:
    """The value itself if it is a list, else a list of it."""
    return value if isinstance(value, list) else [value]


def spelt_out(value: Any) -> list[Any]:
    """A value or list of values, with ranges such as "16:256:*2" spelt out."""
    return [x for v in as_list(value) for x in (_range(v) if isinstance(v, str) else [v])]


def _range(text: str) -> list[Any]:
    """`16:64:*2` is 16, 32, 64; `8:32:+8` (or `8:32:8`) is 8, 16, 24, 32; else the text itself."""
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
    found = []
    while first <= last:
        found.append(first)
        first = first * step if match[3] == "*" else first + step
    return found


def check_count(*lengths: int) -> None:
    """Raise SuiteError where a product over lists of these lengths could not be swept."""
    if (count := math.prod(lengths)) > _MOST_CELLS:
        raise SuiteError(f"its product has {count:,} cells; at most {_MOST_CELLS:,} can be swept.")
