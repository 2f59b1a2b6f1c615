"""Rows of a large table as mappings that share its columns, instead of a dictionary each.

A hundred thousand dictionaries of sixty values take a gigabyte. Readers look at a few columns, and
many rows have the same texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd


class _Columns(dict[str, list[Any]]):
    """The columns of a frame by name. One becomes a list of plain values once it is looked at."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        super().__init__()
        self.frame = frame

    def __missing__(self, name: str) -> list[Any]:
        found = self[name] = _plain(self.frame[name])
        return found


class Rows(Sequence["RowView"]):
    """The rows of a frame."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        self._columns = _Columns(frame)

    @property
    def frame(self) -> "pd.DataFrame":
        """The rows as they came."""
        return self._columns.frame

    def column(self, name: str) -> list[Any]:
        """The values of a column as Python has them; a missing one is None. Raises KeyError."""
        return self._columns[name]

    def blocks(self, most: int = 10_000) -> Iterator["Rows"]:
        """The same in parts of at most so many rows, so that a column is never whole in memory."""
        frame = self._columns.frame
        for start in range(0, len(frame), most):
            yield Rows(frame.iloc[start : start + most])

    def __len__(self) -> int:
        return len(self._columns.frame)

    def __iter__(self) -> Iterator["RowView"]:
        return (RowView(self._columns, number) for number in range(len(self)))

    @overload
    def __getitem__(self, number: int) -> "RowView": ...
    @overload
    def __getitem__(self, number: slice) -> "list[RowView]": ...
    def __getitem__(self, number: int | slice) -> "RowView | list[RowView]":
        if isinstance(number, slice):
            return [RowView(self._columns, i) for i in range(*number.indices(len(self)))]
        return RowView(self._columns, range(len(self))[number])


class RowView(Mapping[str, Any]):
    """One row. It can be read as a dictionary, and cannot be changed."""

    __slots__ = ("_columns", "_number")

    def __init__(self, columns: _Columns, number: int) -> None:
        self._columns, self._number = columns, number

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return map(str, self._columns.frame.columns)

    def __len__(self) -> int:
        return len(self._columns.frame.columns)

    def __bool__(self) -> bool:
        return True


def _plain(column: "pd.Series") -> list[Any]:
    """The values of a column; equal texts are one object."""
    if str(column.dtype).startswith(("object", "str")):
        codes, words = column.factorize(use_na_sentinel=True)
        known = [*map(_native, words.tolist()), None]  # the last for the code -1
        return [known[code] for code in codes.tolist()]
    values: list[Any] = column.to_numpy(dtype=object, na_value=None).tolist()
    return values


def _native(value: Any) -> Any:
    """A number of numpy as a number of Python."""
    return value.item() if hasattr(value, "item") else value
