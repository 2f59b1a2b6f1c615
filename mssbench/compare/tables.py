"""Two tables -> a verdict for every row of them, from intervals and never from points alone.

Times of two runs are compared here as they were stored. That describes; it does not decide, since
minutes lie between them: `check` decides on what has no noise, and `ab` on time.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mssbench import units
from mssbench.compare.rows import Pair, other_input
from mssbench.errors import NotComparable, TableError, unknown
from mssbench.records.facts import LIBRARIES, Facts, difference, releases
from mssbench.records.measurement import MEASURED, Row
from mssbench.records.schema import KEY
from mssbench.results import conditions, table
from mssbench.results.labels import with_labels
from mssbench.results.rows import read_facts
from mssbench.results.table import records

ACROSS = ("code", "machine", "problem", "versions")  # what two tables may differ in, if told


@dataclass(frozen=True)
class Side:
    """A table with the facts beside it."""

    frame: pd.DataFrame
    facts: Facts

    def environments(self) -> dict[str, Any]:
        """Facts by hash, of the machines that measured; None where they were lost."""
        measured = self.frame[self.frame["status"].isin(MEASURED)]
        known = self.facts["environments"]
        return {e: known.get(e) for e in sorted(measured["environment"].unique())}

    def drift(self) -> float:
        """How much the machine changed during the runs of the table; 0 where nobody looked."""
        runs = self.facts.get("runs", {})
        found = [runs.get(run_id, {}).get("drift") for run_id in self.frame["run_id"].unique()]
        return max((x for x in found if x is not None), default=0.0)


def matched(base: Side, new: Side) -> list[Pair]:
    """Rows by key: those of base in its order, then what new alone has.

    Raises NotComparable where no key is in both, and TableError where one of them is empty.
    """
    ours, theirs = (_by_key(side.frame, name) for side, name in ((base, "base"), (new, "new")))
    if not ours.keys() & theirs.keys():
        raise NotComparable(f"the tables have no row in common: {_apart(base.frame, new.frame)}.")
    both = [Pair(row, theirs.get(key)) for key, row in ours.items()]
    return both + [Pair(None, row) for key, row in theirs.items() if key not in ours]


def _by_key(frame: pd.DataFrame, name: str) -> dict[tuple[Any, ...], Row]:
    if frame.empty:
        raise TableError(f"the table of {name} has no row.")
    return {tuple(row[k] for k in KEY): row for row in records(with_labels(frame))}


def _apart(base: pd.DataFrame, new: pd.DataFrame) -> str:
    """`size is 16, 32 in base and 64 in new`, of the first column that tells."""
    for name in KEY:
        values = [sorted(map(str, f[name].dropna().unique())) for f in (base, new)]
        if not {*values[0]} & {*values[1]} and any(values):
            first, second = (", ".join(v[:3]) + (" ..." if len(v) > 3 else "") for v in values)
            return f"{name} is {first or 'nothing'} in base and {second or 'nothing'} in new"
    return "no column alone tells them apart, but their combinations do"


def refuse(
    pairs: Sequence[Pair], base: Side, new: Side, across: Collection[str], what: Collection[str]
) -> None:
    """Raise NotComparable for the first of `what` in which they differ and were not told to."""
    for word in across:
        if word not in ACROSS:
            raise TableError(f"--across: {unknown('word', word, ACROSS)}")
    for word in what:
        if word not in across and (why := _DIFFERS[word](pairs, base, new)):
            raise NotComparable(f"{why}. Compare all the same: --across {word}.")


def _other_machine(_: Sequence[Pair], base: Side, new: Side) -> str:
    ours, theirs = base.environments(), new.environments()
    if ours.keys() == theirs.keys() or not (ours and theirs):
        return ""
    then, now = (next(iter(side.values()), None) for side in (ours, theirs))
    return f"base and new were measured in different environments ({difference(then, now)})"


def _other_versions(_: Sequence[Pair], base: Side, new: Side) -> str:
    """Another release of a library makes the same call of other parts."""

    def versions(side: Side) -> dict[str, set[Any]]:
        facts = [f for f in side.environments().values() if f]
        return {k: {releases(f)[k] for f in facts} or {"unknown"} for k in LIBRARIES}

    if not (base.environments() and new.environments()):
        return ""  # one side measured nothing: what became of its rows says that better
    ours, theirs = versions(base), versions(new)
    for name in LIBRARIES:
        if ours[name] != theirs[name]:
            was, now = (", ".join(sorted(v)) for v in (ours[name], theirs[name]))
            return f"{name} is {was} in base and {now} in new: a call does other work"
    return ""


def _other_code(pairs: Sequence[Pair], _base: Side, _new: Side) -> str:
    differ = [p for p in _both(pairs) if p.base["code_hash"] != p.new["code_hash"]]  # type: ignore[index]
    if not differ:
        return ""
    return f"the code of {units.count(len(differ), 'row')} has changed, {_first(differ)}"


def _other_problem(pairs: Sequence[Pair], _base: Side, _new: Side) -> str:
    differ = [p for p in _both(pairs) if other_input(p)]
    if not differ:
        return ""
    return f"the input of {units.count(len(differ), 'row')} is another one, {_first(differ)}"


_DIFFERS: dict[str, Callable[[Sequence[Pair], Side, Side], str]] = {
    "machine": _other_machine, "versions": _other_versions, "code": _other_code,
    "problem": _other_problem,
}  # fmt: skip


def _both(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Those that were measured on both sides."""
    for pair in pairs:
        if pair.base and pair.new and {pair.base["status"], pair.new["status"]} <= MEASURED:
            yield pair


def _first(pairs: Sequence[Pair]) -> str:
    row = pairs[0].row
    return f"the first is {row['method']} {row['function']} n={row['size']} of {row['problem']}"


def side(path: Path, only: str | None = None) -> Side:
    """A run's rows, or those for which `only` holds, and the facts beside them."""
    frame = table.load(path)
    if only is not None:
        labelled = with_labels(frame)
        try:
            frame = frame.loc[conditions.select(labelled, only).index]
        except TableError as error:
            raise TableError(f"--only {error}") from None
        if frame.empty:
            hint = conditions.why_empty(labelled, only)
            raise TableError(f"--only {only!r} leaves no row of {path}.{hint}")
    return Side(frame, read_facts(path.parent if path.is_file() else path))
