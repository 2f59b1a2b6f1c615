"""What can be wrong with the files of a run, as sentences that name the file and the remedy."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mssbench.errors import TableError
from mssbench.records.measurement import Status
from mssbench.records.roundoff import ROUNDOFF
from mssbench.records.schema import SCHEMA
from mssbench.results.labels import PHASES

# The words of columns in which readers look up what a row means.
_WORDS: Mapping[str, frozenset[str]] = {
    "status": frozenset(str(status) for status in Status),
    "phase": frozenset(PHASES),
    "precision": frozenset(ROUNDOFF),
}
# A row without one of these cannot be placed. A direct method has no iterations, and most methods
# have no options.
_OPTIONAL = ("iterations", "backward_iterations", "options")
_REQUIRED = (*(c.name for c in SCHEMA if c.group == "key" and c.name not in _OPTIONAL), "status")
# Where a time was measured all of these are known.
QUANTILES = tuple(f"seconds_{name}" for name in ("median", "min", "q1", "q3", "low", "high"))
CHECKED = tuple(dict.fromkeys((*_WORDS, *_REQUIRED, *QUANTILES)))  # what `fault` looks at
_LFS = b"version https://git-lfs"


class Damaged(TableError):  # noqa: N818
    """A file of a run is ours, and cannot be read."""


def refuse(file: Path, why: str) -> Damaged:
    """The error for a file that cannot be read, with both remedies."""
    return Damaged(
        f"{file} is damaged: {why}. `mssbench merge {file.parent}` keeps what can be read, and "
        "`mssbench run` with --fresh measures all of it again."
    )


def pointer(data: bytes) -> str:
    """What to say of a file that Git LFS has not replaced by its contents; empty for any other."""
    return "it is a pointer of Git LFS and not the file: `git lfs pull`" * data.startswith(_LFS)


def fault(columns: Mapping[str, Sequence[Any]]) -> tuple[int, str] | None:
    """The first row that readers of a table cannot take: its number from 0, and what is wrong.

    columns: values by name, as texts or as numbers. A missing value is None, or empty.
    """
    missing = ("", None)
    for name in _REQUIRED:
        values = columns.get(name, ())
        if any(nothing in values for nothing in missing):
            return next(i for i, x in enumerate(values) if x in missing), f"{name} is missing"

    for name, known in _WORDS.items():
        values = columns.get(name, ())
        if other := set(values) - known:
            number = next(i for i, x in enumerate(values) if x in other)
            return number, f"{name} is {values[number]!r}, which is no {name}"

    return _untimed(columns)


def _untimed(columns: Mapping[str, Sequence[Any]]) -> tuple[int, str] | None:
    """The first row that has a time in part, or one below zero."""
    medians = columns.get("seconds_median", ())
    for name in QUANTILES:
        if _is_whole(columns.get(name, ())) and _is_whole(medians):
            continue
        for i, (median, x) in enumerate(zip(medians, columns.get(name, ()), strict=False)):
            if x in ("", None):
                if median not in ("", None):
                    return i, f"{name} is missing, and seconds_median is not"
            elif float(x) < 0:
                return i, f"{name} is {x}, below zero"
    return None


def _is_whole(numbers: Sequence[Any]) -> bool:
    """Whether every number of a column is there and not negative, seen without a loop of our own.

    One that is nan may hide a negative one from it, so that it is not seen as whole. Of texts a
    sign comes before every digit.
    """
    if not numbers or None in numbers or "" in numbers:
        return not numbers
    if isinstance(numbers[0], str):
        return bool(min(numbers) >= ".")
    total = sum(numbers)
    return bool(min(numbers) >= 0 and total == total)


def duplicate(keys: Iterable[tuple[Any, ...]]) -> tuple[int, int] | None:
    """The numbers, from 0, of the first two rows that have one key; None where there are none."""
    first: dict[tuple[Any, ...], int] = {}
    for number, key in enumerate(keys):
        if (before := first.setdefault(key, number)) != number:
            return before, number
    return None


def twice(file: Path, rows: tuple[int, int], where: str) -> TableError:
    """The error for a table that has one row twice."""
    before, again = (number + 2 for number in rows)  # the header is line 1
    return TableError(
        f"{file} has one row twice, in lines {before} and {again} ({where}): they may not say the "
        f"same. Remove one, or let `mssbench merge {file.parent}` keep the last of each."
    )
