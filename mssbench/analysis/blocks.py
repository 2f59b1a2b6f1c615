"""A table of rows -> blocks people can read: one number a cell, best marked, nothing mixed.

Times of different phase, clock, cache, device, precision, function or batch never share a block
unless they were asked for as its rows or columns, and even then they are never ranked against each
other: methods compete where everything but the method is equal. What else varies inside a number
(problems, seeds) is named, and the number is the median time with the worst error. A row that
stands for several methods has the numbers of the best of them.

Problems stand in the order of the condition that was measured, with that condition beside their
names: one name may have another condition at each size.

An input on which no method could be compared, as it has no matrices of this size, say, is no fault
of any method: it is left out where there are others, and the block says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any

from mssbench.analysis import kinds
from mssbench.analysis.entry import Entry
from mssbench.analysis.kinds import Spectrum
from mssbench.analysis.left_out import Key, LeftOut, comparable, sentences
from mssbench.errors import TableError, unknown
from mssbench.records.schema import BY_NAME, KEY, SCHEMA, SMALLER, error_column
from mssbench.results.labels import LABELS, METHOD, PHASES, deltas, spoken, with_outcomes

if TYPE_CHECKING:
    import pandas as pd

# What tables show unless something else is asked for: rows, columns and value.
USUAL = (("method",), ("size",), "seconds_median")
SPLIT = ("function", "precision", "device", "batch", "phase", "clock", "cache")


@dataclass
class Block:
    """Rows that may be compared with each other, and what they have in common."""

    common: dict[str, Any]
    value: str
    error: str | None
    columns: list[Key]
    column_names: tuple[str, ...]
    row_names: tuple[str, ...]
    entries: dict[Key, dict[Key, Entry]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)  # key column -> number of its values
    left_out: list[LeftOut] = field(default_factory=list)
    spectra: dict[Key, Spectrum] = field(default_factory=dict)  # by what `_question` makes of a key

    def spectrum(self, names: Sequence[str], key: Key) -> str:
        """What was measured of the problem that a row or column is about: `κ 42`, or nothing.

        names: of the axes of the row or column. key: their values.
        """
        found = self.spectra.get(_question(names, key)) if "problem" in names else None
        return "" if found is None else str(found)

    @property
    def title(self) -> str:
        """`step · sqrt · float32 · batch 64 · cpu · wall clock`; of the device's, its cache too."""
        order = ["phase", "function", "precision", "batch", "device", "clock"]
        if self.common.get("clock") == "gpu":
            order.append("cache")
        return " · ".join(spoken(n, self.common[n]) for n in order if n in self.common)

    @property
    def measured(self) -> bool:
        """Whether there is a number anywhere."""
        return any(e.value is not None for row in self.entries.values() for e in row.values())

    def unranked(self) -> "Block":
        """The same numbers without ratios and without a best one.

        For times of a machine that was disturbed while they were taken.
        """
        entries = {
            row: {column: replace(e, ratio=None, best=False) for column, e in of_row.items()}
            for row, of_row in self.entries.items()
        }
        return replace(self, entries=entries)

    def omissions(self) -> list[str]:
        """The problems that are in none of its numbers, in sentences."""
        return list(sentences(self.left_out, self.column_names))

    def written(self, entry: Entry) -> str:
        """`3.93 ms`; `~3.93 ms` of a time that is unstable."""
        mark = "~" if entry.unstable and self.value == "seconds_median" else ""
        return mark + self.text(entry.value)

    def text(self, x: float | None) -> str:
        """A value with its unit."""
        return BY_NAME[self.value].text(x)


def blocks(
    frame: "pd.DataFrame",
    rows: Sequence[str] = USUAL[0],
    columns: Sequence[str] = USUAL[1],
    value: str = USUAL[2],
) -> list[Block]:
    """The blocks of a result table. Raises TableError for an unknown or unfit column."""
    _check(rows, columns, value)
    if frame.empty:
        raise TableError("no row is left to show.")

    frame = with_outcomes(frame)
    if BY_NAME[value].group == "error":  # no error stands beside an error
        frame["error"] = float("nan")

    axes = (*rows, *columns)
    split = [name for name in SPLIT if name not in axes]
    shown = {*axes, *split, *(part for name in axes for part in LABELS.get(name, ()))}
    hidden = [name for name in KEY if name not in shown]
    inputs = [name for name in hidden if name not in METHOD]
    frame["_point"] = frame.groupby(inputs, dropna=False).ngroup() if inputs else 0
    competition = [*split, *(name for name in axes if _asked(name))]
    frame, left_out = comparable(frame, competition)
    rivals = frame.groupby(competition, dropna=False)
    frame = frame.assign(_points=rivals["_point"].transform("nunique"))
    counts = frame.groupby(split, sort=False, dropna=False)[hidden].nunique(dropna=False)
    by_place: dict[Key, Block] = {}
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
    for what, names in (("rows", rows), ("columns", columns)):
        if not names:
            raise TableError(f"--{what} is empty: name a key column, such as method or size.")
        for name in names:
            if name not in KEY and name not in LABELS:
                raise TableError(f"--{what}: {unknown('column', name, {*KEY, *LABELS})}")
    axes = (*rows, *columns)
    if twice := [name for i, name in enumerate(axes) if name in axes[:i]]:
        raise TableError(f"{twice[0]!r} is named twice in --rows and --columns.")
    numeric = [
        c.name for c in SCHEMA if c.kind in ("int", "float") and c.group not in ("key", "identity")
    ]
    if value not in numeric:
        raise TableError(f"--value: {unknown('value', value, numeric)}")


def _error_column(phase: str, value: str) -> str | None:
    """The column of the error that belongs beside a value, where that is no error itself."""
    return None if BY_NAME[value].group == "error" else error_column(phase)


def _entries(frame: "pd.DataFrame", keys: list[str], value: str) -> list[tuple[Key, Entry]]:
    """Every entry of every block at once: a groupby for each would take seconds."""
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
    problems = groups["problem"].nunique() if frame["_points"].max() > 1 else pooled["here"]
    pooled = pooled.assign(problems=problems)

    bad: dict[Key, list[tuple[str, int]]] = {}
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
        value_, error, n, low, high, delta, here, points, problems = row
        entry = Entry(
            _some(value_),
            _some(error),
            tuple(bad.get(key, ())),
            int(n),
            _some(low),
            _some(high),
            (int(here), int(points)),
            float(delta),
            problems=int(problems),
        )
        entries.append((key, entry))
    return entries


def _best_of(frame: "pd.DataFrame", keys: list[str], value: str) -> list[tuple[Key, Entry]]:
    """Of each row that stands for several methods the best one's entry: numbers of nobody mislead.

    That is the smallest of those that are ok, or else of those that have a number.
    """
    found: dict[Key, Entry] = {}
    for (*key, method), entry in _entries(frame, [*keys, "method"], value):
        mine = replace(entry, method=method)
        now = found.get(tuple(key))
        found[tuple(key)] = mine if now is None else min(now, mine, key=_goodness)
    return list(found.items())


def _goodness(entry: Entry) -> tuple[bool, bool, float, str]:
    return (not entry.ok, entry.value is None, entry.value or 0.0, entry.method)


def _asked(name: str) -> bool:
    """Whether an axis is part of the question; the rest are the methods that answer it."""
    return name not in (*METHOD, *LABELS)


def _tuple(key: Any) -> Key:
    """One spelling of a group's key: missing numbers are None, so that equal keys are equal."""
    import pandas as pd

    parts = key if isinstance(key, tuple) else (key,)
    return tuple(None if not isinstance(x, str) and pd.isna(x) else x for x in parts)


def _some(x: float) -> float | None:
    import pandas as pd

    return None if pd.isna(x) else float(x)


def _rank(block: Block) -> None:
    """Mark the best of each group of rivals, those that differ in their method alone, and its ties.

    Smaller is better; only what is ok may be best, and be what ratios are taken to.
    """
    names = (*block.row_names, *block.column_names)
    asked = [i for i, name in enumerate(names) if _asked(name)]
    rivals: dict[Key, list[tuple[Key, Key]]] = {}
    for row, entries in block.entries.items():
        for column in entries:
            where = (*row, *column)
            rivals.setdefault(tuple(where[i] for i in asked), []).append((row, column))
    for places in rivals.values():
        able = [e for row, column in places if (e := block.entries[row][column]).ok]
        values = [e.value for e in able if e.value is not None]
        if len(places) < 2 or not values or BY_NAME[block.value].better != SMALLER:
            continue  # alone, nothing is best; and blocks rank what is better where it is smaller
        best = min((e for e in able if e.value is not None), key=lambda e: e.value or 0.0)
        timed = block.value == "seconds_median"  # of others no interval is known
        for row, column in places:
            e = block.entries[row][column]
            if e.value is not None:
                ratio = e.value / best.value if best.value else None
                win = e.ok and (e.value == best.value or (timed and best.ties(e)))
                block.entries[row][column] = replace(e, ratio=ratio, best=win)


def _sort_rows(block: Block) -> None:
    """By what is asked of the methods, then fastest first at the last column.

    What may not win stands after what may.
    """
    last = block.columns[-1]

    def place(row: Key) -> tuple[Any, ...]:
        question = _place(block, block.row_names, row)
        entry = block.entries[row].get(last)
        if entry is None or entry.value is None:
            return (question, 2, 0.0, _sortable(row))
        return (question, 0 if entry.ok else 1, entry.value, _sortable(row))

    block.entries = {row: block.entries[row] for row in sorted(block.entries, key=place)}


def _question(names: Sequence[str], key: Key) -> Key:
    """The part of the key of a row or column that is no method."""
    return tuple(x for name, x in zip(names, key, strict=True) if _asked(name))


def _place(block: Block, names: Sequence[str], key: Key) -> tuple[Any, ...]:
    """Where a row or column stands by what it asks of the methods, its problem by the condition."""
    asked = [name for name in names if _asked(name)]
    question = _question(names, key)
    place: list[Any] = [*_sortable(question)]
    if "problem" in asked:
        i = asked.index("problem")
        spectra = [x for other, x in block.spectra.items() if other[: i + 1] == question[: i + 1]]
        hardest = max((x.hardest for x in spectra), default=inf)
        place[i] = (not spectra, hardest, question[i])
    return tuple(place)


def _sortable(key: Key) -> tuple[Any, ...]:
    """Missing first, then numbers, then words; phases in their own order."""
    places = {phase: i for i, phase in enumerate(PHASES)}
    keys = (places.get(x, x) if isinstance(x, str) else x for x in key)
    return tuple((x is not None, isinstance(x, str), x if x is not None else 0) for x in keys)
