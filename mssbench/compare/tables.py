"""Match the rows of two stored runs by key, and refuse runs that cannot be compared.

Stored runs were measured at different times, so that a difference of their times may come from the
machine. `compare` therefore only describes differences. `check` decides on numbers without noise,
and `ab` decides on times.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench import results
from mssbench.compare.judgement import RowPair
from mssbench.compare.rows import other_input
from mssbench.errors import NotComparable, TableError, unknown
from mssbench.records import units
from mssbench.records.facts import LIBRARIES, Facts, canonical, difference, releases
from mssbench.records.measurement import MEASURED, AnyRow, Status
from mssbench.records.schema import KEY
from mssbench.results import conditions, parts
from mssbench.results.labels import with_labels
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

# The words of `--across`: aspects in which two runs may differ if the user allows it. `check` knows
# all of them. `compare` does not know "versions", because its "machine" includes the versions.
ACROSS = ("machine", "problem", "versions")
_NAMED = 5  # methods that a sentence names before it counts the others
_PARAMETERS = ("iterations", "backward_iterations", "options")  # key columns with parameters
WHEN_GONE = "measure it, or save a new baseline"  # advice for a row that only base has


@dataclass(frozen=True)
class StoredRun:
    """The rows of a stored run, and the facts about its machines."""

    frame: "pd.DataFrame"  # the rows of cells that its suite has
    facts: Facts
    left_over: int = 0  # number of rows of cells that its suite no longer has

    def environments(self) -> dict[str, Any]:
        """Return the facts of the measuring machines by hash; None for facts that are lost.

        The hash is of the facts that must agree for times to be comparable.
        """
        measured = self.frame[self.frame["status"].isin(MEASURED)]
        known = self.facts["environments"]
        hashes = sorted(measured["environment"].unique())
        return {canonical(e, known.get(e)): known.get(e) for e in hashes}

    def drift(self) -> float:
        """Return how much the machine's speed changed during a run, relative; the largest change.

        0 if unknown.
        """
        runs = self.facts.get("runs", {})
        drifts = [runs.get(run_id, {}).get("drift") for run_id in self.frame["run_id"].unique()]
        return max((drift for drift in drifts if drift is not None), default=0.0)

    def judged_by(self, max_error: float) -> "StoredRun":
        """Return the run with `ok` rows whose error exceeds `max_error` set to `inaccurate`.

        The limit is that of a baseline; the suite of the run may have had a larger one.
        """
        errors = self.frame[["root_error", "gradient_error"]].max(axis=1)
        beyond = (self.frame["status"] == Status.OK) & (errors > max_error)
        if not beyond.any():
            return self

        reason = f"an error exceeds {max_error:g}, the baseline's max_error"
        status = self.frame["status"].mask(beyond, str(Status.INACCURATE))
        reasons = self.frame["reason"].mask(beyond, reason)
        return replace(self, frame=self.frame.assign(status=status, reason=reasons))


def same_machine(base: StoredRun, new: StoredRun) -> bool:
    """Whether both runs were measured in the same environments."""
    return base.environments().keys() == new.environments().keys()


def matched(base: StoredRun, new: StoredRun) -> list[RowPair]:
    """Match rows by key: first those of base in its order, then those that only new has.

    Raises NotComparable if no key is in both tables, and TableError if one of them is empty.
    """
    old_rows, new_rows = _by_key(base.frame, "base"), _by_key(new.frame, "new")
    if not old_rows.keys() & new_rows.keys():
        raise NotComparable(f"the tables have no row in common: {_apart(base.frame, new.frame)}.")

    of_base = [RowPair(row, new_rows.get(key)) for key, row in old_rows.items()]
    of_new_alone = [RowPair(None, row) for key, row in new_rows.items() if key not in old_rows]
    return of_base + of_new_alone


def _by_key(frame: "pd.DataFrame", name: str) -> dict[tuple[Any, ...], AnyRow]:
    """Return the rows of a table by the values of their key columns.

    name: `base` or `new`, for messages. Raises TableError if there are no rows.
    """
    if frame.empty:
        raise TableError(f"the table of {name} has no row.")
    rows = Rows(with_labels(frame))
    keys = zip(*(rows.column(name) for name in KEY), strict=True)
    return dict(zip(keys, rows, strict=True))


def _apart(base: "pd.DataFrame", new: "pd.DataFrame") -> str:
    """Say in which key column two tables share no value: `size is 16, 32 in base and 64 in new`."""
    for name in KEY:
        values = [sorted(map(str, frame[name].dropna().unique())) for frame in (base, new)]
        if not {*values[0]} & {*values[1]} and any(values):
            first, second = (", ".join(v[:3]) + (" ..." if len(v) > 3 else "") for v in values)
            return f"{name} is {first or 'nothing'} in base and {second or 'nothing'} in new"

    return "no column alone tells them apart, but their combinations do"


def refuse(
    pairs: Sequence[RowPair],
    base: StoredRun,
    new: StoredRun,
    across: Collection[str],
    what: Collection[str],
    known: Collection[str] = ACROSS,
) -> None:
    """Raise NotComparable if the runs differ in an aspect that must be equal.

    across: aspects that the user allows to differ. what: aspects to check. known: the words that
    `across` may have; another one raises TableError. All are words of ACROSS.
    """
    for word in across:
        if word not in known:
            raise TableError(f"--across: {unknown('aspect', word, known)}")

    for word in what:
        if word not in across and (why := _DIFFERS[word](pairs, base, new)):
            raise NotComparable(f"{why}. To compare them nevertheless: --across {word}.")


def _other_machine(_: Sequence[RowPair], base: StoredRun, new: StoredRun) -> str:
    """Say how the environments of the runs differ; empty if they do not."""
    then, now = base.environments(), new.environments()
    if then.keys() == now.keys() or not (then and now):
        return ""

    first_then, first_now = (next(iter(facts.values()), None) for facts in (then, now))
    differ = difference(first_then, first_now)
    return f"base and new were measured in different environments ({differ})"


def _other_versions(_: Sequence[RowPair], base: StoredRun, new: StoredRun) -> str:
    """Say which library has different releases in the runs; empty if none has.

    With another release a call may consist of other operations.
    """

    def versions(run: StoredRun) -> dict[str, set[Any]]:
        known = [facts for facts in run.environments().values() if facts]
        return {k: {releases(facts)[k] for facts in known} or {"unknown"} for k in LIBRARIES}

    # If one run measured nothing, the verdicts on its rows say so.
    if not (base.environments() and new.environments()):
        return ""

    then, now = versions(base), versions(new)
    for name in LIBRARIES:
        if then[name] != now[name]:
            was, is_ = (", ".join(sorted(releases_)) for releases_ in (then[name], now[name]))
            return f"{name} is {was} in base and {is_} in new: a call may do different work"
    return ""


def _other_problem(pairs: Sequence[RowPair], _base: StoredRun, _new: StoredRun) -> str:
    """Say how many rows were measured on different inputs; empty if none was."""
    differ = [pair for pair in pairs if both_measured(pair) and other_input(pair)]
    if not differ:
        return ""
    return f"the input of {units.count(len(differ), 'row')} is different, {_first(differ)}"


_DIFFERS: dict[str, Callable[[Sequence[RowPair], StoredRun, StoredRun], str]] = {
    "machine": _other_machine,
    "versions": _other_versions,
    "problem": _other_problem,
}


def changed_code(pairs: Sequence[RowPair]) -> str:
    """Return a sentence on the methods whose code differs between base and new; empty if none.

    Comparing different code is a common purpose of a comparison, so it is reported, not refused.
    """
    measured = [pair for pair in pairs if both_measured(pair)]
    differ = [pair.row["method"] for pair in measured if _has_other_code(pair)]
    if not differ:
        return ""

    methods = list(dict.fromkeys(differ))
    more = f" and {len(methods) - _NAMED} more" if len(methods) > _NAMED else ""
    rows = units.count(len(measured), "row")
    return f"the code of {len(differ)} of {rows} differs: {', '.join(methods[:_NAMED])}{more}"


def changed_parameters(pairs: Sequence[RowPair]) -> list[str]:
    """Return a sentence on each method whose parameters differ between base and new.

    Parameters are key columns, so such rows do not match: those of base have the verdict "gone",
    and those of new "added". The sentence explains this to a reader who has changed a default.
    """
    gone: dict[tuple[Any, ...], dict[str, None]] = {}
    added: dict[tuple[Any, ...], dict[str, None]] = {}
    for pair in pairs:
        if pair.base is None or pair.new is None:
            side = gone if pair.new is None else added
            rest = tuple(pair.row[name] for name in KEY if name not in _PARAMETERS)
            side.setdefault(rest, {})[_parameters(pair.row)] = None

    changes: dict[str, int] = {}
    for rest, before in gone.items():
        if rest in added:
            names = dict(zip([name for name in KEY if name not in _PARAMETERS], rest, strict=True))
            was, is_ = ("; ".join(values) for values in (before, added[rest]))
            change = (
                f"{names['library']}/{names['forward']}, {names['backward']}: {was} became {is_}"
            )
            changes[change] = changes.get(change, 0) + 1

    return [
        f"the parameters differ in {units.count(rows, 'row')}, which are gone and added: {change}"
        for change, rows in changes.items()
    ]


def _parameters(row: AnyRow) -> str:
    """Return the parameters of a row: `iterations=5, options=norm=trace`."""
    words = [f"{name}={row[name]}" for name in _PARAMETERS if row[name] not in (None, "")]
    return ", ".join(words) or "no parameters"


def _has_other_code(pair: RowPair) -> bool:
    """Whether the hashes of the methods' code are known on both sides and differ."""
    hashes = {(row or {}).get("code_hash") for row in pair}
    return len(hashes) == 2 and all(hashes)


def both_measured(pair: RowPair) -> bool:
    """Whether the row was measured on both sides."""
    return all(row is not None and row["status"] in MEASURED for row in pair)


def _first(pairs: Sequence[RowPair]) -> str:
    """Name the first of some rows, as an example."""
    row = pairs[0].row
    return f"the first is {row['method']} {row['function']} n={row['size']} of {row['problem']}"


def side(path: Path, only: str | None = None) -> StoredRun:
    """Read one side of a comparison: a stored run, or the rows of it for which `only` holds.

    Raises TableError if there is no run or no such row.
    """
    run = results.open(path)
    frame = run.current
    left_over = len(run.frame) - len(frame)

    if only is not None:
        labelled = with_labels(frame)
        kept = conditions.chosen(labelled, only, "--only", none=f"no row of {path}")
        frame = frame.loc[kept.index]

    return StoredRun(frame, run.facts, left_over)


def left_over_remarks(base: StoredRun, new: StoredRun) -> list[str]:
    """Return a sentence on each side with rows that are not compared, as its suite dropped them."""
    return [
        f"{units.count(run.left_over, 'row')} of {name} {'is' if run.left_over == 1 else 'are'} "
        "not compared: an earlier run measured them, and the suite no longer has these cells"
        for name, run in (("base", base), ("new", new))
        if run.left_over
    ]


def part_remarks(base: StoredRun, new: StoredRun) -> list[str]:
    """Return a sentence on each side that is only a part of its suite, such as one shard."""
    told = [parts.sentence(run.facts, name) for name, run in (("base", base), ("new", new))]
    counted = "Rows of the cells that it does not have count as gone, or as added."
    return [f"{sentence} {counted}" for sentence in told if sentence]
