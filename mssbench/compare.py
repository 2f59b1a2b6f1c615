"""Two tables -> a verdict for every row of them, from intervals and never from points alone.

Times of two runs are compared here as they were stored. That describes; it does not decide, since
minutes lie between them: `check` decides on what has no noise, and `ab` on time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any, NamedTuple

import pandas as pd

from mssbench import gates, units
from mssbench.environment import difference
from mssbench.errors import NotComparable, TableError, unknown
from mssbench.judgement import Verdict
from mssbench.labels import with_labels
from mssbench.limits import DRIFTED
from mssbench.noise import SHOWN_DELTA, Noise
from mssbench.records import KEY, MEASURED, Status
from mssbench.rows import Row
from mssbench.table import records

ACROSS = ("code", "machine", "problem", "versions")  # what two tables may differ in, if told
LIBRARIES = ("torch", "numpy", "cupy")  # whose versions decide what a call is made of
_SAME_INPUT = 1e-6  # of a fingerprint: rounding moves it by less, another input by more
Facts = Mapping[str, Any]


class Pair(NamedTuple):
    """The rows of one key; None on the side that has none. Each has its `method` as a label."""

    base: Row | None
    new: Row | None

    @property
    def row(self) -> Row:
        """One that is there, for what both have in common."""
        found = self.new or self.base
        assert found is not None
        return found


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


@dataclass(frozen=True)
class Change:
    """A pair with its verdict, and what that rests on. Seconds are medians; ratios new / base."""

    pair: Pair
    verdict: Verdict
    reason: str
    advice: str = ""  # what to do next, where something helps
    ratio: float | None = None
    low: float | None = None  # ends of the interval of the ratio
    high: float | None = None
    detectable: float | None = None  # the smallest slowdown that would be told, 0.05 is 5 %
    pairs: tuple[float, ...] = ()  # the ratio of each pair of processes, first those of the screen

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """Of base and of new."""
        base, new = ((row or {}).get("seconds_median") for row in self.pair)
        return base, new


@dataclass(frozen=True)
class Comparison:
    """All pairs with their verdicts."""

    changes: tuple[Change, ...]

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return Counter(str(c.verdict) for c in self.changes)

    @property
    def measured(self) -> int:
        """Rows that were measured on both sides."""
        return sum(
            c.pair.base is not None
            and c.pair.new is not None
            and {c.pair.base["status"], c.pair.new["status"]} <= MEASURED
            for c in self.changes
        )

    def means(self, by: Sequence[str]) -> dict[tuple[Any, ...], tuple[float, int]]:
        """Geometric mean of the ratios and their number, by columns; of rows ok on both sides."""
        logs: dict[tuple[Any, ...], list[float]] = {}
        for c in self.changes:
            if c.ratio is not None:
                logs.setdefault(tuple(c.pair.row[k] for k in by), []).append(log(c.ratio))
        return {k: (exp(sum(v) / len(v)), len(v)) for k, v in sorted(logs.items(), key=str)}


def compare(base: Side, new: Side, across: Collection[str] = ()) -> Comparison:
    """Every row of both tables with its verdict.

    across: in what the tables may differ, of ACROSS. Raises NotComparable where they differ in
    something else, or have no row in common.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=("machine", "code", "problem"))
    same_machine = base.environments().keys() == new.environments().keys()
    drift = max(base.drift(), new.drift())
    return Comparison(tuple(_change(pair, same_machine, drift) for pair in pairs))


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


def versions_agree(base: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two machines' facts name the same releases of the array libraries."""
    return bool(base) and bool(new) and releases(base) == releases(new)


def releases(facts: Mapping[str, Any]) -> dict[str, str]:
    """The public versions of the array libraries: 2.13.0+cpu is a build of 2.13.0."""
    known = facts.get("versions", {})
    return {k: str(known.get(k) or "none").partition("+")[0] for k in LIBRARIES}


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


def other_input(pair: Pair) -> bool:
    """Whether both have a fingerprint of their input, and not the same."""
    marks = [(row or {}).get("fingerprint") for row in pair]
    return None not in marks and abs(marks[0] - marks[1]) > _SAME_INPUT  # type: ignore[operator]


def _both(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Those that were measured on both sides."""
    for pair in pairs:
        if pair.base and pair.new and {pair.base["status"], pair.new["status"]} <= MEASURED:
            yield pair


def _first(pairs: Sequence[Pair]) -> str:
    row = pairs[0].row
    return f"the first is {row['method']} {row['function']} n={row['size']} of {row['problem']}"


def alone(pair: Pair) -> Change | None:
    """The change of a row that only one side has."""
    if pair.new is None:
        return Change(pair, Verdict.GONE, "not in new", "measure it, or save a new baseline")
    if pair.base is None:
        status = Status(pair.row["status"])
        if gates.failed(status):
            return Change(pair, Verdict.BROKEN, f"not in base, {status}: {pair.row['reason']}")
        return Change(pair, Verdict.ADDED, "not in base")
    return None


def _change(pair: Pair, same_machine: bool, drift: float) -> Change:
    if (change := alone(pair)) is not None:
        return change
    assert pair.base is not None
    assert pair.new is not None
    if found := gates.by_status(pair.base, pair.new):
        return Change(pair, *found)
    worse = list(
        gates.breaches(pair.base, pair.new, pair.new["method"], (), same_machine=same_machine,
                       counts=same_machine)
    )  # fmt: skip
    timed = by_time(pair, drift)
    if worse:
        return replace(timed, verdict=Verdict.WORSE, reason="; ".join(b.sentence for b in worse),
                       advice="")  # fmt: skip
    return timed


def by_time(pair: Pair, drift: float) -> Change:
    """The change of two measured rows, by their times. drift: of the machine, during either run."""
    base, new = pair
    assert base is not None
    assert new is not None
    ok = base["status"] == new["status"] == Status.OK
    if not ok or not base["seconds_median"] or not new["seconds_median"]:
        return Change(pair, Verdict.UNFLAGGED, f"{base['status']} in both")
    ratio = new["seconds_median"] / base["seconds_median"]
    low, high = new["seconds_low"] / base["seconds_high"], new["seconds_high"] / base["seconds_low"]
    unstable = Noise.UNSTABLE in (base["noise"], new["noise"])
    delta = max(SHOWN_DELTA.get(row["noise"], SHOWN_DELTA[Noise.QUIET]) for row in (base, new))
    needed = (base["seconds_high"] / base["seconds_median"]) * (
        new["seconds_median"] / new["seconds_low"]
    )
    detectable = max(1 + delta, needed) - 1
    change = Change(pair, Verdict.UNFLAGGED, "", "", ratio, low, high, detectable)
    word = f"{units.ratio(max(ratio, 1 / ratio))} {'slower' if ratio > 1 else 'faster'}"
    limit = f"{100 * delta:.0f} %"
    if 1 / (1 + delta) <= ratio <= 1 + delta:
        if 1 / (1 + delta) <= low and high <= 1 + delta:
            return replace(change, verdict=Verdict.SAME, reason=f"within {limit}, all of it")
        told = f"a slowdown of {100 * detectable:.0f} % would have been told"
        return replace(change, reason=f"within {limit}, its interval is not; {told}")
    if low <= 1 <= high:
        return replace(change, verdict=Verdict.UNCLEAR, reason=f"{word}, but the intervals overlap",
                       advice=_AB)  # fmt: skip
    if unstable:
        return replace(change, verdict=Verdict.UNCLEAR, reason=f"{word}, but unstable",
                       advice="stop what else is running, and measure again")  # fmt: skip
    if min(base["passes"] or 1, new["passes"] or 1) < 2:
        why = f"{word}, but measured in one pass, which nothing was held against"
        return replace(change, verdict=Verdict.UNCLEAR, reason=why, advice=_AB)
    if drift > DRIFTED:
        why = f"{word}, but the machine itself changed by {100 * drift:.0f} % during a run"
        return replace(change, verdict=Verdict.UNCLEAR, reason=why, advice=_AB)
    verdict = Verdict.SLOWER if ratio > 1 else Verdict.FASTER
    return replace(change, verdict=verdict, reason=f"{word}, and the intervals lie apart")


_AB = "`mssbench ab` measures both in turn"
