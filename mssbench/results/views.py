"""`Rows`, the rows of a large table as mappings that share its columns.

One dictionary per row would take a gigabyte for a hundred thousand rows of sixty values. Readers
use only a few columns, and many rows have the same texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd


class _Columns(dict[str, list[Any]]):
    """The columns of a frame by name. Each is converted to a list when it is first used."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        super().__init__()
        self.frame = frame
        # Iterating over the columns of a frame is slow if pandas stores their names in Arrow.
        self.names = tuple(map(str, frame.columns))

    def __missing__(self, name: str) -> list[Any]:
        values = self[name] = _plain(self.frame[name])
        return values


class Rows(Sequence["RowView"]):
    """The rows of a DataFrame as a sequence of mappings from column to value."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        self._columns = _Columns(frame)

    @property
    def frame(self) -> "pd.DataFrame":
        """The frame that holds the rows."""
        return self._columns.frame

    def column(self, name: str) -> list[Any]:
        """Return a column as a list of Python objects; a missing value is None.

        Raises KeyError for a column that the frame does not have.
        """
        return self._columns[name]

    def blocks(self, most: int = 10_000) -> Iterator["Rows"]:
        """Yield parts of at most `most` rows, so that no list contains a whole column."""
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
    """One row as a read-only mapping from column to value."""

    __slots__ = ("_columns", "_number")

    def __init__(self, columns: _Columns, number: int) -> None:
        self._columns, self._number = columns, number

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.names)

    def __len__(self) -> int:
        return len(self._columns.names)

    def __bool__(self) -> bool:
        return True


def _plain(column: "pd.Series") -> list[Any]:
    """Return the values of a column as Python objects. Equal texts are the same object."""
    if str(column.dtype).startswith(("object", "str")):
        codes, words = column.factorize(use_na_sentinel=True)
        known = [*map(_native, words.tolist()), None]  # the code -1, for a missing value, is last
        return [known[code] for code in codes.tolist()]
    values: list[Any] = column.to_numpy(dtype=object, na_value=None).tolist()
    return values


def _native(value: Any) -> Any:
    """Return a NumPy number as a Python number, and any other value unchanged."""
    return value.item() if hasattr(value, "item") else value
