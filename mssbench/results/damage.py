"""Find damage in the files of a run, and report it with the name of the file and a remedy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mssbench.errors import TableError
from mssbench.records.measurement import Status
from mssbench.records.roundoff import ROUNDOFF
from mssbench.records.schema import SCHEMA
from mssbench.results.labels import PHASES

# Columns with a fixed list of values, by which readers decide how to treat a row.
_WORDS: Mapping[str, frozenset[str]] = {
    "status": frozenset(str(status) for status in Status),
    "phase": frozenset(PHASES),
    "precision": frozenset(ROUNDOFF),
}
# Key columns that may be empty: a direct method has no iterations, and most methods have no
# options. If one of the others is empty, it is unknown to which cell the row belongs.
_OPTIONAL = ("iterations", "backward_iterations", "options")
_REQUIRED = (*(c.name for c in SCHEMA if c.group == "key" and c.name not in _OPTIONAL), "status")
# Columns that all have a value if the time was measured.
QUANTILES = tuple(f"seconds_{name}" for name in ("median", "min", "q1", "q3", "low", "high"))
CHECKED = tuple(dict.fromkeys((*_WORDS, *_REQUIRED, *QUANTILES)))  # columns that `faults` reads
_LFS = b"version https://git-lfs"


class Damaged(TableError):  # noqa: N818
    """Raised if a file that mssbench has written for a run can no longer be read."""


def refuse(file: Path, why: str) -> Damaged:
    """Return the error for a file of a run that cannot be read. It names two remedies.

    why: what is wrong with the file.
    """
    return Damaged(
        f"{file} is damaged: {why}. `mssbench merge {file.parent}` keeps what can be read, and "
        "`mssbench run` with --fresh measures everything again."
    )


def pointer(data: bytes) -> str:
    """Return what is wrong with a file that is only a pointer of Git LFS; empty for other files."""
    return "it is a pointer of Git LFS and not the file: `git lfs pull`" * data.startswith(_LFS)


def fault(columns: Mapping[str, Sequence[Any]]) -> tuple[int, str] | None:
    """Return the number of the first row that cannot be used, and what is wrong with it, or None.

    columns: as in `faults`.
    """
    return next(faults(columns), None)


def faults(columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, str]]:
    """Yield the number, from 0, of each row that cannot be used, and what is wrong with it.

    columns: values by name, as texts or as numbers. A missing value is None or the empty text.
    A row with several faults is yielded several times.
    """
    missing = ("", None)
    for name in _REQUIRED:
        values = columns.get(name, ())
        if any(nothing in values for nothing in missing):
            yield from ((i, f"{name} is missing") for i, x in enumerate(values) if x in missing)

    for name, known in _WORDS.items():
        values = columns.get(name, ())
        if other := set(values) - known:
            for i, x in enumerate(values):
                if x in other:
                    yield i, f"{name} is {x!r}, which is not a {name}"

    yield from _untimed(columns)


def _untimed(columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, str]]:
    """Yield the number of each row with an incomplete or negative time, and what is wrong."""
    medians = columns.get("seconds_median", ())

    for name in QUANTILES:
        if _is_whole(columns.get(name, ())) and _is_whole(medians):
            continue

        for i, (median, x) in enumerate(zip(medians, columns.get(name, ()), strict=False)):
            if x in ("", None):
                if median not in ("", None):
                    yield i, f"{name} is missing, and seconds_median is not"
            elif float(x) < 0:
                yield i, f"{name} is {x}, below zero"


def _is_whole(numbers: Sequence[Any]) -> bool:
    """Whether no number of a column is missing, nan or negative; fast, without a Python loop.

    A nan is found by the sum, because `min` is unreliable with one. Numbers may be texts, in which
    a nan is not noticed: a sign sorts before the decimal point and every digit.
    """
    if not numbers or None in numbers or "" in numbers:
        return not numbers
    if isinstance(numbers[0], str):
        return bool(min(numbers) >= ".")
    total = sum(numbers)
    return bool(min(numbers) >= 0 and total == total)


def duplicate(keys: Iterable[tuple[Any, ...]]) -> tuple[int, int] | None:
    """Return the numbers, from 0, of the first two rows with the same key; None if all differ."""
    first: dict[tuple[Any, ...], int] = {}
    for number, key in enumerate(keys):
        if (before := first.setdefault(key, number)) != number:
            return before, number
    return None


def twice(file: Path, rows: tuple[int, int], where: str) -> TableError:
    """Return the error for a table with two rows of the same key.

    rows: the numbers of the two rows, from 0. where: their key.
    """
    before, again = (number + 2 for number in rows)  # the header is line 1
    return TableError(
        f"{file} has one row twice, in lines {before} and {again} ({where}), possibly with "
        f"different values. Remove one, or let `mssbench merge {file.parent}` keep the last of "
        "each."
    )
