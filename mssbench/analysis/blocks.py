"""Pivot the rows of a run into blocks, the tables of `show`, with the best number marked.

An entry is one number of a block, pooled from the rows behind it; its points are the inputs
(problem and seed) of these rows.

Times of different phase, clock, cache, device, precision, function or batch share a block only if
these columns were asked for as its rows or columns. Even then they are not ranked against each
other: methods are ranked only where everything but the method is equal. Key columns that vary
inside an entry (problems, seeds) are named, and the entry has the median time with the worst error.
A row that stands for several methods has the numbers of the best of them.

Problems are sorted by their measured condition number, which is shown beside their names, since the
condition of a problem of one name may depend on the size.

An input on which no method could be compared, for example because it has no matrices of this size,
counts against no method. It is left out if there are other inputs, and the block says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any

from mssbench.analysis import kinds
from mssbench.analysis.entry import Entry
from mssbench.analysis.kinds import Spectrum
from mssbench.analysis.left_out import GroupKey, LeftOut, comparable, sentences
from mssbench.errors import TableError, unknown
from mssbench.records.cell import GPU
from mssbench.records.schema import BY_NAME, KEY, SCHEMA, SMALLER, error_column
from mssbench.results.labels import LABELS, METHOD, PHASES, deltas, spoken, with_outcomes

if TYPE_CHECKING:
    import pandas as pd

# The default rows, columns and value of a table.
USUAL = (("method",), ("size",), "seconds_median")
# Key columns of which each combination of values has a block of its own.
SPLIT = ("function", "precision", "device", "batch", "phase", "clock", "cache")


@dataclass
class Block:
    """Entries that may be compared with each other, and the key values that they share."""

    common: dict[str, Any]
    value: str
    error: str | None
    columns: list[GroupKey]
    column_names: tuple[str, ...]
    row_names: tuple[str, ...]
    entries: dict[GroupKey, dict[GroupKey, Entry]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)  # key column -> number of its values
    left_out: list[LeftOut] = field(default_factory=list)
    spectra: dict[GroupKey, Spectrum] = field(default_factory=dict)  # key: result of `_question`

    def spectrum(self, names: Sequence[str], key: GroupKey) -> str:
        """Return the measured condition of a row's or column's problem as text, `κ 42`.

        Empty if it is unknown. names: the key columns of the row or column. key: their values.
        """
        spectrum = self.spectra.get(_question(names, key)) if "problem" in names else None
        return "" if spectrum is None else str(spectrum)

    @property
    def title(self) -> str:
        """The shared key values: `step · sqrt · float32 · batch 64 · cpu · wall clock`.

        The cache is named only for times of the GPU's clock.
        """
        order = ["phase", "function", "precision", "batch", "device", "clock"]
        if self.common.get("clock") == GPU:
            order.append("cache")
        return " · ".join(spoken(n, self.common[n]) for n in order if n in self.common)

    @property
    def measured(self) -> bool:
        """Whether any entry has a number."""
        return any(e.value is not None for row in self.entries.values() for e in row.values())

    def unranked(self) -> "Block":
        """Return the block without ratios and without a best entry, but with the same numbers.

        Used for times of a machine that was disturbed during the measurement.
        """
        entries = {
            row: {column: replace(e, ratio=None, best=False) for column, e in of_row.items()}
            for row, of_row in self.entries.items()
        }
        return replace(self, entries=entries)

    def omissions(self) -> list[str]:
        """Return sentences on the problems that are left out of all numbers."""
        return list(sentences(self.left_out, self.column_names))

    def written(self, entry: Entry) -> str:
        """Return the value of an entry as text: `3.93 ms`, or `~3.93 ms` if it is unstable."""
        mark = "~" if entry.unstable and self.value == "seconds_median" else ""
        return mark + self.text(entry.value)

    def text(self, x: float | None) -> str:
        """Return a number of the block with its unit."""
        return BY_NAME[self.value].text(x)


def blocks(
    frame: "pd.DataFrame",
    rows: Sequence[str] = USUAL[0],
    columns: Sequence[str] = USUAL[1],
    value: str = USUAL[2],
) -> list[Block]:
    """Return the blocks of a run's rows.

    rows, columns: the key columns (or labels, such as `method`) whose values are the rows and the
    columns of the blocks. value: the column whose numbers are shown.
    Raises TableError for an unknown or unfit column, or if there are no rows.
    """
    _check(rows, columns, value)
    if frame.empty:
        raise TableError("no row is left to show.")

    frame = with_outcomes(frame)
    if BY_NAME[value].group == "error":  # no second error is shown beside an error
        frame["error"] = float("nan")

    axes = (*rows, *columns)
    split = [name for name in SPLIT if name not in axes]
    shown = {*axes, *split, *(part for name in axes for part in LABELS.get(name, ()))}
    hidden = [name for name in KEY if name not in shown]

    # Number the inputs inside an entry, to see which of them a method was not measured on.
    inputs = [name for name in hidden if name not in METHOD]
    frame["_point"] = frame.groupby(inputs, dropna=False).ngroup() if inputs else 0
    competition = [*split, *(name for name in axes if _asked(name))]
    frame, left_out = comparable(frame, competition)
    rivals = frame.groupby(competition, dropna=False)
    frame = frame.assign(_points=rivals["_point"].transform("nunique"))

    counts = frame.groupby(split, sort=False, dropna=False)[hidden].nunique(dropna=False)
    by_place: dict[GroupKey, Block] = {}
    for key, names in zip(counts.index, counts.itertuples(index=False, name=None), strict=True):
        common = dict(zip(split, _tuple(key), strict=True))
        varying = {name: n for name, n in zip(hidden, names, strict=True) if n > 1}
        error = _error_column(str(common.get("phase", "")), value)
        by_place[_tuple(key)] = Block(
            common, value, error, [], tuple(columns), tuple(rows), {}, varying
        )

    for (_, out), row in zip(left_out.iterrows(), left_out.to_dict("records"), strict=True):
        key, column = (_tuple(tuple(row[name] for name in names)) for names in (split, columns))
        spectrum = kinds.spectrum(out.to_frame().T)
        words = "" if spectrum is None else str(spectrum)
        by_place[key].left_out.append(LeftOut(column, row["problem"], row["ended"], words))

    for names in (rows, columns):
        if "problem" in names:
            for key, part in frame.groupby([*split, *filter(_asked, names)], dropna=False):
                if (spectrum := kinds.spectrum(part)) is not None:
                    place = _tuple(key)
                    by_place[place[: len(split)]].spectra[place[len(split) :]] = spectrum

    several = any(name in METHOD for name in hidden)
    keys = [*split, *axes]
    for key, entry in _best_of(frame, keys, value) if several else _entries(frame, keys, value):
        block, rest = by_place[key[: len(split)]], key[len(split) :]
        row, column = rest[: len(rows)], rest[len(rows) :]
        block.entries.setdefault(row, {})[column] = entry

    for block in by_place.values():
        unique = {column for row in block.entries.values() for column in row}
        block.columns = sorted(
            unique, key=lambda key: (_place(block, block.column_names, key), _sortable(key))
        )
        _rank(block)
        _sort_rows(block)
    return sorted(by_place.values(), key=lambda b: _sortable((b.common.get("phase"),)))


def _check(rows: Sequence[str], columns: Sequence[str], value: str) -> None:
    """Raise TableError unless rows and columns are key columns or labels, and value is numeric."""
    for option, names in (("rows", rows), ("columns", columns)):
        if not names:
            raise TableError(f"--{option} is empty: name a key column, such as method or size.")
        for name in names:
            if name not in KEY and name not in LABELS:
                raise TableError(f"--{option}: {unknown('column', name, {*KEY, *LABELS})}")

    axes = (*rows, *columns)
    if twice := [name for i, name in enumerate(axes) if name in axes[:i]]:
        raise TableError(f"{twice[0]!r} is named twice in --rows and --columns.")

    numeric = [
        c.name for c in SCHEMA if c.kind in ("int", "float") and c.group not in ("key", "identity")
    ]
    if value in BY_NAME or value in LABELS:
        if value not in numeric:
            raise TableError(
                f"--value: the column {value!r} holds no measured number. Name one that does, such "
                "as seconds_median, or group by a key column with --rows or --columns."
            )
    elif value not in numeric:
        raise TableError(f"--value: {unknown('value', value, numeric)}")


def _error_column(phase: str, value: str) -> str | None:
    """Return the error column shown beside a value; None if the value is itself an error."""
    return None if BY_NAME[value].group == "error" else error_column(phase)


def _entries(frame: "pd.DataFrame", keys: list[str], value: str) -> list[tuple[GroupKey, Entry]]:
    """Return every entry of every block with its key, the values of the columns `keys`.

    All come from one groupby, since one for each entry would take seconds.
    """
    frame = frame.assign(_value=frame[value].astype("float64"), _delta=deltas(frame))
    groups = frame.groupby(keys, sort=False, dropna=False)
    middle = "median" if BY_NAME[value].pooled == "median" else "max"
    pooled = groups.agg(
        value=("_value", middle),
        error=("error", "max"),
        rows=("_value", "size"),
        low=("seconds_low", "median"),
        high=("seconds_high", "median"),
        delta=("_delta", "max"),
        here=("_point", "nunique"),
        points=("_points", "max"),
    )

    # If there is a single point, there is a single problem; counting again would be slow.
    problems = groups["problem"].nunique() if frame["_points"].max() > 1 else pooled["here"]
    pooled = pooled.assign(problems=problems)

    bad: dict[GroupKey, list[tuple[str, int]]] = {}
    failed = frame[~frame["usable"]]
    if len(failed):
        counted = failed.groupby([*keys, "ended"], sort=False, dropna=False).size()
        for key, n in sorted(counted.items(), key=lambda item: (-item[1], item[0][-1])):
            bad.setdefault(key[:-1], []).append((str(key[-1]), int(n)))

    entries = []
    for pooled_key, row in zip(
        pooled.index, pooled.itertuples(index=False, name=None), strict=True
    ):
        key = _tuple(pooled_key)
        value_, error, n, low, high, delta, points_here, points, problems = row

        entry = Entry(
            _some(value_),
            _some(error),
            tuple(bad.get(key, ())),
            int(n),
            _some(low),
            _some(high),
            (int(points_here), int(points)),
            float(delta),
            problems=int(problems),
        )
        entries.append((key, entry))
    return entries


def _best_of(frame: "pd.DataFrame", keys: list[str], value: str) -> list[tuple[GroupKey, Entry]]:
    """Return the entries of blocks whose rows stand for several methods: those of the best method.

    A number pooled over methods would belong to none of them. The best entry is the smallest one
    that is ok, or if none is ok the smallest number.
    """
    best: dict[GroupKey, Entry] = {}
    for (*key, method), entry in _entries(frame, [*keys, "method"], value):
        candidate = replace(entry, method=method)
        current = best.get(tuple(key))
        best[tuple(key)] = candidate if current is None else min(current, candidate, key=_goodness)
    return list(best.items())


def _goodness(entry: Entry) -> tuple[bool, bool, float, str]:
    """Return a sort key that puts ok entries first, then those with a number, smallest first."""
    return (not entry.ok, entry.value is None, entry.value or 0.0, entry.method)


def _asked(name: str) -> bool:
    """Whether an axis says what is computed, such as size or problem, and not by which method."""
    return name not in (*METHOD, *LABELS)


def _tuple(key: Any) -> GroupKey:
    """Return a groupby key as a tuple with None for missing numbers, as NaN is unequal to NaN."""
    import pandas as pd

    parts = key if isinstance(key, tuple) else (key,)
    return tuple(None if not isinstance(x, str) and pd.isna(x) else x for x in parts)


def _some(x: float) -> float | None:
    """Return a number, or None for a missing one."""
    import pandas as pd

    return None if pd.isna(x) else float(x)


def _rank(block: Block) -> None:
    """Mark the best of the entries that differ only in the method, and entries tied with it.

    Smaller is better. Only entries that are ok may be best, and ratios are relative to the best.
    The entries of the block are replaced.
    """
    names = (*block.row_names, *block.column_names)
    question_axes = [i for i, name in enumerate(names) if _asked(name)]
    rivals: dict[GroupKey, list[tuple[GroupKey, GroupKey]]] = {}
    for row, entries in block.entries.items():
        for column in entries:
            where = (*row, *column)
            rivals.setdefault(tuple(where[i] for i in question_axes), []).append((row, column))

    for places in rivals.values():
        able = [e for row, column in places if (e := block.entries[row][column]).ok]
        values = [e.value for e in able if e.value is not None]
        if len(places) < 2 or not values or BY_NAME[block.value].better != SMALLER:
            continue  # an entry without rivals is not best, and larger-is-better is not ranked

        best = min((e for e in able if e.value is not None), key=lambda e: e.value or 0.0)
        timed = block.value == "seconds_median"  # only times have a confidence interval
        for row, column in places:
            e = block.entries[row][column]
            if e.value is not None:
                ratio = e.value / best.value if best.value else None
                win = e.ok and (e.value == best.value or (timed and best.ties(e)))
                block.entries[row][column] = replace(e, ratio=ratio, best=win)


def _sort_rows(block: Block) -> None:
    """Sort the rows of a block by size, problem and the like, then by the value in the last column.

    Rows that are not ok in the last column stand after the others, and rows without a value last.
    """
    last = block.columns[-1]

    def place(row: GroupKey) -> tuple[Any, ...]:
        question = _place(block, block.row_names, row)
        entry = block.entries[row].get(last)
        if entry is None or entry.value is None:
            return (question, 2, 0.0, _sortable(row))
        return (question, 0 if entry.ok else 1, entry.value, _sortable(row))

    block.entries = {row: block.entries[row] for row in sorted(block.entries, key=place)}


def _question(names: Sequence[str], key: GroupKey) -> GroupKey:
    """Return the key of a row or column of a table, without the values that name a method.

    names: the columns that the values of the key belong to, in their order.
    """
    return tuple(x for name, x in zip(names, key, strict=True) if _asked(name))


def _place(block: Block, names: Sequence[str], key: GroupKey) -> tuple[Any, ...]:
    """Return the sort key of a row or column without its method; problems sort by condition."""
    question_axes = [name for name in names if _asked(name)]
    question = _question(names, key)
    place: list[Any] = [*_sortable(question)]
    if "problem" in question_axes:
        i = question_axes.index("problem")
        spectra = [x for other, x in block.spectra.items() if other[: i + 1] == question[: i + 1]]
        hardest = max((x.hardest for x in spectra), default=inf)
        place[i] = (not spectra, hardest, question[i])
    return tuple(place)


def _sortable(key: GroupKey) -> tuple[Any, ...]:
    """Return a sort key: missing values first, then numbers, then words; phases as in PHASES."""
    places = {phase: i for i, phase in enumerate(PHASES)}
    keys = (places.get(x, x) if isinstance(x, str) else x for x in key)
    return tuple((x is not None, isinstance(x, str), x if x is not None else 0) for x in keys)
